package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pgconvoy/pgconvoy/internal/config"
)

// ConfigFlag adds --config.
func (a *App) ConfigFlag(flags *pflag.FlagSet) {
	flags.StringVarP(&a.configPath, "config", "c", "", "configuration `file` (YAML)")
}

// SettingFlag adds a flag that sets the setting at path key of the
// configuration, over file and environment. Its value is checked when the
// configuration is loaded, with everything else. The back-quoted word in the
// usage names the value.
func (a *App) SettingFlag(flags *pflag.FlagSet, name, key, usage string) {
	flags.Var(&settingFlag{app: a, flag: "--" + name, key: key}, name, usage)
}

// ToggleFlag adds a flag without a value that sets the setting at path key to
// true, as [App.SettingFlag] does.
func (a *App) ToggleFlag(flags *pflag.FlagSet, name, key, usage string) {
	f := flags.VarPF(&settingFlag{app: a, flag: "--" + name, key: key}, name, "", usage)
	f.NoOptDefVal = "true"
}

// SetRun names the run by the argument of a verb, if there is one; it does what
// --run does.
func (a *App) SetRun(args []string) {
	if len(args) > 0 {
		a.overrides = append(a.overrides, config.Override{Flag: "RUN", Key: "run", Value: args[0]})
	}
}

// LogFlags adds --log-level and --log-format.
func (a *App) LogFlags(flags *pflag.FlagSet) {
	a.SettingFlag(flags, "log-level", "log.level", "least `level` that is logged: debug, info, warn, error")
	a.SettingFlag(flags, "log-format", "log.format", "`format` of the log: auto, text, json")
}

// settingFlag is a pflag.Value that collects overrides.
type settingFlag struct {
	app       *App
	flag, key string
	value     string
}

// Set notes the value.
func (f *settingFlag) Set(value string) error {
	f.value = value
	f.app.overrides = append(f.app.overrides, config.Override{Flag: f.flag, Key: f.key, Value: value})
	return nil
}

// String returns nothing: what the flag was set to may be a secret, and the
// default is in the configuration.
func (f *settingFlag) String() string { return "" }

// Type names the value for help pages.
func (f *settingFlag) Type() string { return "string" }

// Output is the form of what a verb writes to Out.
type Output string

// The forms.
const (
	Table Output = "table"
	JSON  Output = "json"
)

// OutputFlag adds -o to a verb; the default is table.
func OutputFlag(cmd *cobra.Command, dst *Output) {
	*dst = Table
	cmd.Flags().VarP(dst, "output", "o", "`form` of the output: table, json")
}

// Set accepts table and json.
func (o *Output) Set(value string) error {
	switch v := Output(strings.ToLower(value)); v {
	case Table, JSON:
		*o = v
		return nil
	default:
		return fmt.Errorf("%q is none of table, json", value)
	}
}

// String returns the form.
func (o *Output) String() string { return string(*o) }

// Type names the value for help pages.
func (o *Output) Type() string { return "string" }
