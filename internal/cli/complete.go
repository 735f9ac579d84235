package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pgconvoy/pgconvoy/internal/config"
)

// complete tells the completion of shells which words a flag takes, and that
// file names are for flags that want one.
func complete(cmd *cobra.Command) {
	note := func(f *pflag.Flag) {
		values, directive := words(f.Value), cobra.ShellCompDirectiveNoFileComp
		if name, _ := pflag.UnquoteUsage(f); name == "file" {
			directive = cobra.ShellCompDirectiveDefault
		} else if values == nil {
			return
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, directive)) // fails if it was done before
	}
	cmd.PersistentFlags().VisitAll(note)
	cmd.LocalNonPersistentFlags().VisitAll(note)
	for _, sub := range cmd.Commands() {
		complete(sub)
	}
}

// words are the values that a flag takes, if there are few.
func words(v pflag.Value) []string {
	switch f := v.(type) {
	case *Output:
		return []string{string(Table), string(JSON)}
	case *settingFlag:
		switch f.key {
		case "log.level":
			return []string{string(config.LevelDebug), string(config.LevelInfo), string(config.LevelWarn), string(config.LevelError)}
		case "log.format":
			return []string{string(config.FormatAuto), string(config.FormatText), string(config.FormatJSON)}
		case "verify":
			return []string{string(config.VerifyRows), string(config.VerifyDigest), string(config.VerifyNone)}
		case "workers":
			return []string{string(config.Auto), string(config.Yes), string(config.No)}
		}
	}
	return nil
}
