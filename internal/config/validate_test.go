package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// good returns a configuration with which a planner can work.
func good() Config {
	cfg := Default()
	cfg.Source.URI = "postgres://me@old.example/shop"
	cfg.Target.URI = "host=new.example dbname=shop"
	return cfg
}

// TestRules breaks one rule at a time and expects that rule's problem alone.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*Config)
		where  string // "" if nothing is wrong
		worker string
	}{
		{"good", func(*Config) {}, "", ""},
		{"run empty", func(c *Config) { c.Run = "" }, "run", "run"},
		{"run upper case", func(c *Config) { c.Run = "Prod" }, "run", "run"},
		{"run too long", func(c *Config) { c.Run = "abcdefghijklmnopqrstuvwxyz-012345" }, "run", "run"},
		{"run with newline", func(c *Config) { c.Run = "a\n" }, "run", "run"},
		{"source empty", func(c *Config) { c.Source.URI = " " }, "source.uri", "source.uri"},
		{"target empty", func(c *Config) { c.Target.URI = "" }, "target.uri", "target.uri"},
		{"source no connection string", func(c *Config) { c.Source.URI = "shop" }, "source.uri", "source.uri"},
		{"source of another kind", func(c *Config) { c.Source.URI = "mysql://h/d" }, "source.uri", "source.uri"},
		{"both equal", func(c *Config) { c.Target = c.Source }, "target.uri", "target.uri"},
		{"service", func(c *Config) { c.Source.URI = "service=old" }, "", ""},
		{"password file", func(c *Config) { c.Source.PasswordFile = "f" }, "", ""},
		{"password command", func(c *Config) { c.Target.PasswordCommand = "c" }, "", ""},
		{"password file and command", func(c *Config) { c.Source.PasswordFile, c.Source.PasswordCommand = "f", "c" }, "source.password_command", "source.password_command"},
		{"password in URI and file", func(c *Config) { c.Source.URI, c.Source.PasswordFile = "postgres://me:pw@h/d", "f" }, "source.password_file", "source.password_file"},
		{"password in URI and command", func(c *Config) { c.Target.URI += " password=pw"; c.Target.PasswordCommand = "c" }, "target.password_command", "target.password_command"},
		{"clones", func(c *Config) { c.SourceClones = URIs{"postgres://me@b/d", "postgresql://me@c/d"} }, "", ""},
		{"clone in pairs", func(c *Config) { c.SourceClones = URIs{"host=b dbname=d"} }, "source_clones", "source_clones"},
		{"clone twice", func(c *Config) { c.SourceClones = URIs{"postgres://b/d", "postgres://b/d"} }, "source_clones", "source_clones"},
		{"clone with a second password", func(c *Config) { c.SourceClones, c.Source.PasswordFile = URIs{"postgres://me:pw@b/d"}, "f" }, "source_clones", "source_clones"},
		{"cap zero", func(c *Config) { c.Caps.Blob = 0 }, "caps.blob", ""},
		{"cap large", func(c *Config) { c.Caps.Copy = 1001 }, "caps.copy", ""},
		{"slots negative", func(c *Config) { c.Slots.Misc = -1 }, "slots.misc", "slots.misc"},
		{"slots large", func(c *Config) { c.Slots.Misc = 1001 }, "slots.misc", "slots.misc"},
		{"no slot for a stage", func(c *Config) { c.Slots.Misc = 0 }, "slots.misc", ""},
		{"no slot but others can join", func(c *Config) { c.Slots.Misc, c.NATS = 0, listening("127.0.0.1:4222") }, "", "nats.listen"},
		{"no slot at all", func(c *Config) { c.Slots, c.NATS = Stages{}, listening(":4222") }, "", "nats.listen,slots"},
		{"grace negative", func(c *Config) { c.Grace = -1 }, "grace", "grace"},
		{"grace long", func(c *Config) { c.Grace = 2 * time.Hour }, "grace", "grace"},
		{"split too small", func(c *Config) { c.Split.LargerThan = KB }, "split.larger_than", ""},
		{"no parts", func(c *Config) { c.Split.MaxParts = 0 }, "split.max_parts", ""},
		{"many parts", func(c *Config) { c.Split.MaxParts = 1 << 20 }, "split.max_parts", ""},
		{"bundle smaller than its table", func(c *Config) { c.Bundle.MaxBytes = MB }, "bundle.max_bytes", ""},
		{"bundle of nothing", func(c *Config) { c.Bundle.MaxTables = 0 }, "bundle.max_tables", ""},
		{"some sections", func(c *Config) { c.Only = List{"schema", "data"} }, "", ""},
		{"no section", func(c *Config) { c.Only = List{"data", "index"} }, "only", ""},
		{"a section twice", func(c *Config) { c.Only = List{"data", "data"} }, "only", ""},
		{"constraints without keys", func(c *Config) { c.Only = List{"schema", "constraints"} }, "only", ""},
		{"post-data without keys", func(c *Config) { c.Only = List{"schema", "data", "post_data"} }, "only", ""},
		{"constraints alone", func(c *Config) { c.Only = List{"constraints"} }, "", ""},
		{"truncate", func(c *Config) { c.Only, c.Truncate = List{"data", "sequences"}, true }, "", ""},
		{"truncate what is made", func(c *Config) { c.Truncate = true }, "truncate", ""},
		{"truncate without rows", func(c *Config) { c.Only, c.Truncate = List{"indexes"}, true }, "truncate", ""},
		{"rows into a new database", func(c *Config) { c.Only, c.CreateDatabase = List{"data"}, true }, "create_database", ""},
		{"no bundles", func(c *Config) { c.Bundle = Bundle{} }, "", ""},
		{"replicas odd", func(c *Config) { c.NATS.Replicas, c.NATS.URL = 2, "nats://q" }, "nats.replicas", "nats.replicas"},
		{"replicas embedded", func(c *Config) { c.NATS.Replicas = 3 }, "nats.replicas", ""},
		{"nats scheme", func(c *Config) { c.NATS.URL = "nats://a,http://b" }, "nats.url", "nats.url"},
		{"nats without scheme", func(c *Config) { c.NATS.URL = "localhost:4222, b:4222" }, "", ""},
		{"webhook", func(c *Config) { c.Webhook.URL = "https://chat.example/hooks/x" }, "", ""},
		{"webhook of another kind", func(c *Config) { c.Webhook.URL = "chat.example/hooks/x" }, "webhook.url", ""},
		{"cert without key", func(c *Config) { c.NATS.Cert = "c" }, "nats.cert", "nats.cert"},
		{"password without user", func(c *Config) { c.NATS.Password = "p" }, "nats.user", "nats.user"},
		{"listen and url", func(c *Config) { c.NATS = listening(":4222"); c.NATS.URL = "nats://q" }, "nats.listen", "nats.listen"},
		{"listen without password", func(c *Config) { c.NATS.Listen = ":4222" }, "nats.listen", "nats.listen,nats.listen"},
		{"listen without port", func(c *Config) { c.NATS = listening("localhost") }, "nats.listen", "nats.listen,nats.listen"},
		{"nobody works", func(c *Config) { c.Workers = No }, "workers", ""},
		{"workers elsewhere", func(c *Config) { c.Workers, c.NATS.URL = No, "nats://q" }, "", ""},
		{"databases", func(c *Config) { c.Databases = List{"shop", "/^t/"} }, "", ""},
		{"all databases and more", func(c *Config) { c.Databases = List{"all", "shop"} }, "databases", ""},
		{"a database called all and more", func(c *Config) { c.Databases = List{`"all"`, "shop"} }, "", ""},
		{"databases and a filter", func(c *Config) { c.Databases, c.Filter.Exclude.Tables = List{"all"}, List{"a.b"} }, "filter.exclude.tables", ""},
		{"databases and sections", func(c *Config) { c.Databases, c.Only = List{"all"}, List{"schema"} }, "only", ""},
		{"databases and tables", func(c *Config) { c.Databases, c.Tables = List{"all"}, Tables{{Name: "a.b", Parts: 2}} }, "tables", ""},
		{"databases and a server of metrics", func(c *Config) { c.Databases, c.HTTP.Listen = List{"all"}, ":8080" }, "", ""},
		{"http without port", func(c *Config) { c.HTTP.Listen = "localhost" }, "http.listen", "http.listen"},
		{"idle negative", func(c *Config) { c.ExitWhenIdle = -1 }, "", "exit_when_idle"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := good()
			tt.change(&cfg)
			require.Equal(t, tt.where, places(cfg.Validate()), "planner")
			if cfg.NATS.URL == "" {
				cfg.NATS.URL = "nats://q:4222"
			}
			require.Equal(t, tt.worker, places(cfg.ValidateWorker()), "worker")
		})
	}
}

// places joins where the problems of err are.
func places(err error) string {
	out := ""
	for i, p := range problemsOf(err) {
		if i > 0 {
			out += ","
		}
		out += p.Where
	}
	return out
}

func TestValidateReportsEverything(t *testing.T) {
	t.Parallel()
	err := Config{Verify: VerifyRows}.Validate()
	require.Equal(t, "run,source.uri,target.uri,"+
		"caps.copy,caps.index,caps.attach,caps.analyze,caps.fkey,caps.blob,caps.misc,"+
		"split.larger_than,split.max_parts,nats.replicas,"+
		"slots.copy,slots.index,slots.attach,slots.analyze,slots.fkey,slots.blob,slots.misc", places(err))
	require.Equal(t, "nats.url", places(func() error { c := good(); return c.ValidateWorker() }()))

	var coded interface{ ExitCode() int }
	require.ErrorAs(t, err, &coded)
	require.Equal(t, 2, coded.ExitCode())
}

func TestProblemsNeverShowSecrets(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Source.URI, cfg.Target.URI, cfg.NATS.URL, cfg.Webhook.URL = "hunter2", "mysql://hunter2@h", "http://hunter2@h", "ftp://h/hunter2"
	for message, hint := range cfg.Validate().(*ValidationError).Lines() { //nolint:errorlint // this very type
		require.NotContains(t, message+hint, "hunter2")
	}
}

func TestRunsWorkers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		workers Choice
		url     Secret
		want    bool
	}{
		{Auto, "", true}, {Auto, "nats://q", false}, {Yes, "nats://q", true}, {No, "", false}, {"", "", true},
	} {
		require.Equal(t, tt.want, Config{Workers: tt.workers, NATS: NATS{URL: tt.url}}.RunsWorkers(), tt)
	}
}

func TestStages(t *testing.T) {
	t.Parallel()
	s := Default().Caps
	require.Equal(t, 17, s.Total())
	require.Equal(t, 4, s.Of("index"))
	require.Equal(t, 2, s.Of("fkey"))
	require.Zero(t, s.Of("verify"))
	var order []string
	for stage := range s.All() {
		order = append(order, stage)
		if stage == "fkey" {
			break
		}
	}
	require.Equal(t, []string{"copy", "index", "attach", "analyze", "fkey"}, order)
}

// listening returns the settings of an embedded server that others can reach.
func listening(address string) NATS {
	n := Default().NATS
	n.Listen, n.User, n.Password = address, "fleet", "secret"
	return n
}
