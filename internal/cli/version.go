package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// version is set by the linker for builds that do not see the repository
// (-X github.com/pgconvoy/pgconvoy/internal/cli.version=v1.2.3); otherwise the
// version comes from the build information. No code writes it.
var version string

// buildVersion says which build this is.
type buildVersion struct {
	Version string            `json:"version"`
	Commit  string            `json:"commit,omitempty"`
	Go      string            `json:"go"`
	Modules map[string]string `json:"modules"`
}

// Version returns the version of this build.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return readVersion(info).Version
}

// VersionCommand returns the verb version.
func (a *App) VersionCommand() *cobra.Command {
	var output Output
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and those of what it is built with",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				info = &debug.BuildInfo{}
			}
			return a.printVersion(cmd.Root().Name(), readVersion(info), output)
		},
	}
	OutputFlag(cmd, &output)
	return cmd
}

// readVersion picks what matters from the build information.
func readVersion(info *debug.BuildInfo) buildVersion {
	v := buildVersion{
		Version: cmp.Or(version, info.Main.Version, "(devel)"),
		Go:      info.GoVersion,
		Modules: map[string]string{},
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/jackc/pgx/v5", "github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2":
			v.Modules[m.Path] = m.Version
		}
	}
	return v
}

// printVersion writes the version to Out.
func (a *App) printVersion(name string, v buildVersion, output Output) error {
	if output == JSON {
		enc := json.NewEncoder(a.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\t%s\n", name, strings.TrimSpace(v.Version+" "+v.Commit))
	fmt.Fprintf(w, "go\t%s\n", v.Go)
	for _, m := range []struct{ name, path string }{
		{"pgx", "github.com/jackc/pgx/v5"},
		{"nats.go", "github.com/nats-io/nats.go"},
		{"nats-server", "github.com/nats-io/nats-server/v2"},
	} {
		if have, ok := v.Modules[m.path]; ok {
			fmt.Fprintf(w, "%s\t%s\n", m.name, have)
		}
	}
	return w.Flush()
}
