package run_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
)

// startGuarded starts a cluster that wants the passwords of two roles: reader
// may read everything, owner owns every database made by owned.
func startGuarded(t *testing.T, password string) *pgtest.Server {
	t.Helper()
	s := pgtest.Start(t, pgtest.Options{
		HBA:      []string{"host all reader,owner all scram-sha-256"},
		Settings: map[string]string{"log_connections": "on"},
	})
	for _, role := range []string{"reader", "owner"} {
		s.Exec(t, fmt.Sprintf("CREATE ROLE %s LOGIN", role))
		setPassword(t, s, role, password)
	}
	s.Exec(t, "GRANT pg_read_all_data TO reader")
	return s
}

func setPassword(t *testing.T, s *pgtest.Server, role, password string) {
	t.Helper()
	s.Exec(t, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, password))
}

// owned makes a database that role owner owns.
func owned(t *testing.T, s *pgtest.Server) *pgtest.Database {
	t.Helper()
	db := s.Database(t)
	s.Exec(t, fmt.Sprintf("ALTER DATABASE %s OWNER TO owner", db.Name))
	return db
}

// rewrite replaces a file at once, as whoever renews a password does: a reader
// sees the old contents or the new ones.
func rewrite(t *testing.T, file, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(file+".new", file))
}

// connections counts the sessions that the server has let in for a role.
func connections(t *testing.T, s *pgtest.Server, role string) int {
	t.Helper()
	return strings.Count(s.Log(t), "connection authorized: user="+role+" ")
}

func TestPasswordIsResolvedForEachConnection(t *testing.T) {
	t.Parallel()
	server := startGuarded(t, "monday")
	db := server.Database(t)
	file := filepath.Join(t.TempDir(), "password")
	for name, d := range map[string]config.Database{
		"file":    {PasswordFile: file},
		"command": {PasswordCommand: "cat '" + file + "'"},
	} {
		t.Run(name, func(t *testing.T) {
			c := config.Default()
			d.URI = config.Secret(db.URIAs("reader"))
			c.Source = d
			o := fleet.Database(c, pg.Source, "pgconvoy test")
			setPassword(t, server, "reader", "monday")
			rewrite(t, file, "monday\n")
			first, err := pg.Connect(t.Context(), o)
			require.NoError(t, err)
			defer first.Discard()

			setPassword(t, server, "reader", "tuesday")
			_, err = pg.Connect(t.Context(), o)
			var refused *pg.CredentialError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, pg.Transient, pg.Classify(err), "the next password may be right")
			finding := check.ConnectFinding(pg.Source, err)
			require.Contains(t, finding.What, `refuses the password of role "reader"`)
			require.Contains(t, finding.Hint, "source.password_command")

			rewrite(t, file, "tuesday\n")
			second, err := pg.Connect(t.Context(), o)
			require.NoError(t, err)
			defer second.Discard()
			require.NoError(t, first.Ping(t.Context()), "a session outlives the password that began it")

			tools, err := pg.FindTools(t.Context(), pgtest.ClientDir(t, server.Major), server.Major, server.Major)
			require.NoError(t, err)
			snapshot, err := pg.ExportSnapshot(t.Context(), second)
			require.NoError(t, err)
			require.NoError(t, tools.DumpSchema(t.Context(), o, snapshot.Name, filepath.Join(t.TempDir(), "dump"), pg.Without{}), "pg_dump has it, too")
		})
	}
}

// Every session of a run asks for its password, pg_dump's included, and none
// asks twice.
func TestPasswordCommandsOnBothSides(t *testing.T) {
	t.Parallel()
	source, target := startGuarded(t, "hush-of-the-source"), startGuarded(t, "hush-of-the-target")
	src, dst := owned(t, source), owned(t, target)
	src.Exec(t, `SET ROLE owner; CREATE TABLE a (id int PRIMARY KEY, s serial, t text); CREATE TABLE b (a int REFERENCES a); CREATE INDEX ON a (t);
		INSERT INTO a SELECT i, i, repeat(md5(i::text), 10) FROM generate_series(1, 1000) i; INSERT INTO b SELECT id FROM a`)
	asked := filepath.Join(t.TempDir(), "asked")
	o := options(t, src, dst)
	o.Config.Source = config.Database{URI: config.Secret(src.URIAs("reader")), PasswordCommand: "echo x >> '" + asked + ".source'; echo hush-of-the-source"}
	o.Config.Target = config.Database{URI: config.Secret(dst.URIAs("owner")), PasswordCommand: "echo x >> '" + asked + ".target'; echo hush-of-the-target"}
	copyAll(t, o)
	pgtest.RequireEqual(t, src, dst)
	for side, sessions := range map[string]int{"source": connections(t, source, "reader"), "target": connections(t, target, "owner")} {
		text, err := os.ReadFile(asked + "." + side)
		require.NoError(t, err)
		require.Greater(t, sessions, 2)
		require.Equal(t, sessions, strings.Count(string(text), "x"), side)
	}
}

// A token that lasts a quarter of an hour does not end a run that lasts a day:
// sessions stay, and new ones have a new token.
func TestPasswordsChangeDuringARun(t *testing.T) {
	t.Parallel()
	server := startGuarded(t, "monday")
	src, dst := server.Database(t), owned(t, server)
	release := gated(t, src, dst, 10_000)
	src.Exec(t, "ALTER TABLE big OWNER TO owner; ALTER FUNCTION gate(int8) OWNER TO owner")
	file := filepath.Join(t.TempDir(), "password")
	rewrite(t, file, "monday")
	o := options(t, src, dst)
	o.Config.Source = config.Database{URI: config.Secret(src.URIAs("reader")), PasswordFile: file}
	o.Config.Target = config.Database{URI: config.Secret(dst.URIAs("owner")), PasswordCommand: "cat '" + file + "'"}
	wait := start(t.Context(), o)
	awaitGate(t, dst, 2)
	before := connections(t, server, "owner")
	setPassword(t, server, "reader", "tuesday")
	setPassword(t, server, "owner", "tuesday")
	rewrite(t, file, "tuesday")
	dst.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgconvoy planner' AND datname = current_database()")
	release()
	_, err := wait()
	require.NoError(t, err)
	require.Greater(t, connections(t, server, "owner"), before)
	pgtest.RequireEqual(t, src, dst)
}

func TestPasswordThatCannotBeHadIsABlocker(t *testing.T) {
	t.Parallel()
	src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
	o := options(t, src, dst)
	o.Config.Source.PasswordCommand = "echo hush; echo no token today >&2; exit 7"
	o.Config.Target.PasswordFile = filepath.Join(t.TempDir(), "missing")
	err := run.Check(t.Context(), o)
	var failed *check.FailedError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Findings, 2, "both sides at once")
	require.Contains(t, failed.Findings[0].What, "source.password_command: exit status 7: no token today")
	require.Contains(t, failed.Findings[1].What, "target.password_file: open ")
	require.NotContains(t, err.Error(), "hush")
}
