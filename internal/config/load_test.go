package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelseyhightower/envconfig"
	"github.com/stretchr/testify/require"
)

// write puts a configuration file into a folder of its own and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "planner.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// problemsIn returns the problems of err as lines, with the hint after a bar
// and the folder of path cut away.
func problemsIn(t *testing.T, err error, path string) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	v, ok := err.(*ValidationError) //nolint:errorlint // Load promises this very type
	require.True(t, ok, "%T", err)
	var lines []string
	for message, hint := range v.Lines() {
		line := strings.ReplaceAll(message, filepath.Dir(path)+"/", "")
		if hint != "" {
			line += " | " + hint
		}
		lines = append(lines, line)
	}
	return lines
}

func TestLoadDefaults(t *testing.T) {
	t.Parallel()
	cfg, err := Load("", nil)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Default(), cfg))
	require.True(t, cfg.Embedded())
	require.True(t, cfg.RunsWorkers())
}

func TestLoadWholeFile(t *testing.T) {
	t.Parallel()
	cfg, err := Load(write(t, `
run: prod-1
source: {uri: "postgres://me@old.example/shop"}
target: &t
  uri: host=new.example dbname=shop
nats:
  url: nats://q:4222
  creds: /c
  user: u
  password: 12345
  replicas: 3
caps: {copy: 8, misc: 3}
slots: {copy: 2}
split: {larger_than: 512 MB, max_parts: 8}
bundle: {max_table: 0, max_bytes: 1048576, max_tables: 7}
verify: digest
pg_bindir: /usr/lib/postgresql/17/bin
keep_ledger: true
workers: yes
log: {level: debug, format: json}
exit_when_idle: 1m30s
grace: ~
`), nil, Config.Validate)
	require.NoError(t, err)
	want := Default()
	want.Run = "prod-1"
	want.Source.URI = "postgres://me@old.example/shop"
	want.Target.URI = "host=new.example dbname=shop"
	want.NATS = NATS{URL: "nats://q:4222", Creds: "/c", User: "u", Password: "12345", Replicas: 3}
	want.Caps.Copy, want.Caps.Misc = 8, 3
	want.Slots.Copy = 2
	want.Split = Split{LargerThan: 512 * MB, MaxParts: 8}
	want.Bundle = Bundle{MaxTable: 0, MaxBytes: MB, MaxTables: 7}
	want.Verify = VerifyDigest
	want.PGBindir = "/usr/lib/postgresql/17/bin"
	want.KeepLedger = true
	want.Workers = Yes
	want.Log = Log{Level: LevelDebug, Format: FormatJSON}
	want.ExitWhenIdle = 90 * time.Second
	require.Empty(t, cmp.Diff(want, cfg))
	require.False(t, cfg.Embedded())
	require.True(t, cfg.RunsWorkers())
}

func TestLoadEmptyFile(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "---\n", "source:\n"} {
		cfg, err := Load(write(t, text), nil)
		require.NoError(t, err, text)
		require.Empty(t, cmp.Diff(Default(), cfg), text)
	}
}

func TestLoadReportsEverythingInFile(t *testing.T) {
	t.Parallel()
	path := write(t, `run: a
larger_than: 3
caps:
  copyy: 3
  index: many
  blob: [1]
split: 5
verify: rows
verify: none
nonsense: {a: 1}
keep_ledger: perhaps
grace: 30
`)
	cfg, err := Load(path, nil)
	require.Equal(t, []string{
		`planner.yaml:2: unknown key "larger_than" | did you mean split.larger_than?`,
		`planner.yaml:4: unknown key "caps.copyy" | did you mean copy?`,
		`planner.yaml:5: caps.index: "many" is not a whole number`,
		`planner.yaml:6: caps.blob: must be a single value, not a list`,
		`planner.yaml:7: split must be a mapping, not a single value | its keys are larger_than, max_parts`,
		`planner.yaml:9: key "verify" is here again, first in line 8`,
		`planner.yaml:10: unknown key "nonsense" | known here are run, source, target, source_clones, databases, nats, caps, slots, limits, split, bundle, only, truncate, filter, tables, no_owner, no_acl, no_comments, no_tablespaces, owner_map, tablespace_map, roles, role_passwords, create_database, requirements, verify, pg_bindir, keep_ledger, reports, workers, http, webhook, log, exit_when_idle, linger, grace`,
		`planner.yaml:11: keep_ledger: "perhaps" is neither true nor false`,
		`planner.yaml:12: grace: "30" is not a duration such as 30s or 5m`,
	}, problemsIn(t, err, path))
	require.Equal(t, "a", cfg.Run, "what could be read is there for display")
	require.ErrorContains(t, err, "\n")
}

func TestLoadUnreadableFile(t *testing.T) {
	t.Parallel()
	// The rules are left out: the file may well have set what they miss.
	for text, want := range map[string]string{
		"run: a\nb: [\n":      `planner.yaml:2: not valid YAML: did not find expected node content`,
		"run: *nowhere\n":     `planner.yaml: not valid YAML: unknown anchor 'nowhere' referenced`,
		"run: a\n---\nrun: [": `planner.yaml:3: not valid YAML: did not find expected node content`,
	} {
		path := write(t, text)
		_, err := Load(path, nil, Config.Validate)
		require.Equal(t, []string{want}, problemsIn(t, err, path), text)
	}
	_, err := Load("/no/such/file.yaml", nil, Config.Validate)
	require.EqualError(t, err, "/no/such/file.yaml: reading the configuration: no such file or directory")

	path := write(t, "run: a\n---\nrun: b\n")
	_, err = Load(path, nil)
	require.Equal(t, []string{`planner.yaml:2: a second YAML document begins here | keep one document in the file`}, problemsIn(t, err, path))
}

func TestPrecedence(t *testing.T) {
	path := write(t, "run: file\nverify: none\npg_bindir: /file\ncaps: {copy: 9}\n")
	t.Setenv("PGCONVOY_VERIFY", "digest")
	t.Setenv("PGCONVOY_PG_BINDIR", "/env")
	t.Setenv("PGCONVOY_GRACE", "")
	t.Setenv("PG_BINDIR", "/not/ours")
	t.Setenv("URI", "postgres://not/ours")
	cfg, err := Load(path, []Override{{"--bindir", "pg_bindir", "/flag"}})
	require.NoError(t, err)
	require.Equal(t, 4, cfg.Caps.Index, "default")
	require.Equal(t, 9, cfg.Caps.Copy, "file over default")
	require.Equal(t, VerifyDigest, cfg.Verify, "environment over file")
	require.Equal(t, "/flag", cfg.PGBindir, "flag over environment")
	require.Equal(t, 30*time.Second, cfg.Grace, "an empty variable is not set")
	require.Empty(t, cfg.Source.URI, "variables without the prefix are not ours")
}

// TestEnvironmentCoversEverySetting sets every variable and expects every
// setting to have changed, and the names to be those that envconfig derives.
func TestEnvironmentCoversEverySetting(t *testing.T) {
	var names bytes.Buffer
	require.NoError(t, envconfig.Usagef(envPrefix, new(Config), &names, "{{range .}}{{usage_key .}}\n{{end}}"))
	require.Equal(t, strings.Fields(names.String()), Variables())

	values := map[string]string{
		"PGCONVOY_SPLIT_LARGER_THAN": "3GB", "PGCONVOY_BUNDLE_MAX_TABLE": "3GB", "PGCONVOY_BUNDLE_MAX_BYTES": "3GB",
		"PGCONVOY_TRUNCATE": "true", "PGCONVOY_VERIFY": "none", "PGCONVOY_KEEP_LEDGER": "true", "PGCONVOY_WORKERS": "no",
		"PGCONVOY_NO_OWNER": "true", "PGCONVOY_NO_ACL": "true", "PGCONVOY_NO_COMMENTS": "true", "PGCONVOY_NO_TABLESPACES": "true",
		"PGCONVOY_OWNER_MAP": "a=b", "PGCONVOY_TABLESPACE_MAP": "a=b", "PGCONVOY_ROLES": "none", "PGCONVOY_ROLE_PASSWORDS": "true", "PGCONVOY_CREATE_DATABASE": "true",
		"PGCONVOY_LOG_LEVEL": "error", "PGCONVOY_LOG_FORMAT": "json",
		"PGCONVOY_TABLES": "{app.t: {parts: 7}}", "PGCONVOY_LIMITS_AUTOMATIC": "true", "PGCONVOY_EXIT_WHEN_IDLE": "77s", "PGCONVOY_GRACE": "77s", "PGCONVOY_LINGER": "true",
	}
	for _, name := range Variables() {
		value, ok := values[name]
		if !ok {
			value = "77" // good for a text and for a number
		}
		t.Setenv(name, value)
	}
	cfg, err := Load("", nil)
	require.NoError(t, err)
	fresh := Default()
	before, after := settingsOf(&fresh), settingsOf(&cfg)
	for i := range after {
		require.NotEqual(t, before[i].value.Interface(), after[i].value.Interface(), after[i].path)
	}
}

func TestEnvironmentReportsEverything(t *testing.T) {
	t.Setenv("PGCONVOY_CAPS_COPY", "four")
	t.Setenv("PGCONVOY_GRACE", "30")
	t.Setenv("PGCONVOY_KEEP_LEDGER", "si")
	t.Setenv("PGCONVOY_SPLIT_LARGER_THAN", "big")
	_, err := Load("", nil)
	require.Equal(t, []string{
		`PGCONVOY_CAPS_COPY: caps.copy: "four" is not a whole number`,
		`PGCONVOY_SPLIT_LARGER_THAN: split.larger_than: "big" is not an amount of bytes such as 64MB or 1GB`,
		`PGCONVOY_KEEP_LEDGER: keep_ledger: "si" is neither true nor false`,
		`PGCONVOY_GRACE: grace: "30" is not a duration such as 30s or 5m`,
	}, problemsIn(t, err, ""))
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	_, err := Load("", []Override{
		{"--verify", "verify", "all"},
		{"--odd", "no.such", "1"},
		{"--log-level", "log.level", "WARN"},
	})
	require.Equal(t, []string{
		`--verify: verify: "all" is none of rows, digest, none`,
		`--odd: no setting is called "no.such"`,
	}, problemsIn(t, err, ""))
}

func TestRuleNamesWhereTheValueWasSet(t *testing.T) {
	path := write(t, "run: Wrong\nsource: {uri: postgres://a/b}\ntarget: {uri: postgres://c/d}\ncaps: {index: many}\n")
	t.Setenv("PGCONVOY_CAPS_COPY", "0")
	_, err := Load(path, []Override{{"--slots", "slots.copy", "-1"}}, Config.Validate)
	require.Equal(t, []string{
		`planner.yaml:4: caps.index: "many" is not a whole number`,
		`planner.yaml:1: run: "Wrong" is not a run name | use 1 to 32 of a-z, 0-9 and -`,
		`--slots: slots.copy: -1 is not between 0 and 1000`,
		`PGCONVOY_CAPS_COPY: caps.copy: 0 is not between 1 and 1000 | a stage without a cap would never run`,
	}, problemsIn(t, err, path))
}

func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	require.Equal(t, []Problem{
		{"PGCONVOY_BOGUS", "unknown environment variable, ignored", "docs/reference/configuration.md lists the variables; each is named after the setting's path in the file"},
		{"PGCONVOY_CAPS_COPYY", "unknown environment variable, ignored", "did you mean PGCONVOY_CAPS_COPY?"},
		{"PGCONVOY_NATS_PORT_4222_TCP", "unknown environment variable, ignored", "if Kubernetes injected it, set enableServiceLinks: false in the pod's spec"},
		{"PGCONVOY_SOURCE_URL", "unknown environment variable, ignored", "did you mean PGCONVOY_SOURCE_URI?"},
	}, UnknownVariables([]string{
		"PGCONVOY_SOURCE_URL=postgres://a", "PGCONVOY_RUN=x", "PATH=/bin", "PGCONVOY_TEST_PG=1",
		"PGCONVOY_CAPS_COPYY=1", "PGCONVOY_NATS_PORT_4222_TCP=tcp://10.0.0.1:4222", "PGCONVOY_BOGUS=", "PGCONVOYX=1",
	}))
}

func TestPrintReadsBack(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Run = "null"
	cfg.Source.URI = "postgres://me:hunter2@old.example/shop?sslmode=require"
	cfg.Target.URI = "host=new.example password=hunter2 dbname=shop"
	cfg.NATS.URL, cfg.NATS.User = "nats://hunter2@q:4222", "1e3"
	cfg.NATS.Token, cfg.NATS.Password = "hunter2", "hunter2"
	cfg.PGBindir = "a: b # c"
	cfg.Split.LargerThan = 1000
	cfg.ExitWhenIdle = 1500 * time.Millisecond
	var out bytes.Buffer
	require.NoError(t, cfg.Print(&out))
	require.NotContains(t, out.String(), "hunter2")

	back, err := Load(write(t, out.String()), nil)
	require.NoError(t, err)
	want := cfg
	want.Source.URI = "postgres://me:***@old.example/shop?sslmode=require"
	want.Target.URI = "host=new.example password=*** dbname=shop"
	want.NATS.URL, want.NATS.Token, want.NATS.Password = "nats://***@q:4222", "***", "***"
	require.Empty(t, cmp.Diff(want, back))
}

// FuzzYAML shows that no file makes Load panic and that each is either
// understood or refused with a place.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"run: a", "a: &a [*a]", "? [a]\n: b", "caps: {<<: {copy: 1}}", "!!binary x", "- 1", "{}", "--- |\n x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg := Default()
		l := loader{settings: settingsOf(&cfg), origins: map[string]string{}}
		l.yaml("f.yaml", []byte(text))
		for _, p := range l.problems {
			require.True(t, strings.HasPrefix(p.Where, "f.yaml"), p.Where)
		}
	})
}
