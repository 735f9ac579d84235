package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// TestTutorial types the tutorial. Of what it tells to do only make build is done in
// another way, by the test.
func TestTutorial(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	scripts, err := filepath.Abs(filepath.Join(root, "scripts"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink(commands(t), filepath.Join(dir, "bin")))
	require.NoError(t, os.Symlink(scripts, filepath.Join(dir, "scripts")))
	// A planner that is killed leaves its folder behind. The servers may run as another
	// user, who has to reach theirs.
	temporary := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(temporary), 0o755))
	t.Cleanup(func() {
		cmd := exec.Command("scripts/playground", "stop") // does nothing if the tutorial came to its end
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	follow(t, page(t, "docs/tutorial/first-copy.md"), dir, "TMPDIR="+temporary)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Len(t, left, 2, "the tutorial leaves nothing behind: %v", left)
}

// guide is where a guide that is run is followed: a folder with planner.yaml, and two
// databases.
type guide struct {
	dir      string
	src, dst *pgtest.Database
}

// newGuide makes a source with 100 orders of 50 customers, and an empty target.
func newGuide(t *testing.T) guide {
	t.Helper()
	g := guide{t.TempDir(), pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)}
	g.src.Exec(t, `CREATE TABLE customers (id int PRIMARY KEY, name text);
		INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 50) i;
		CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, note text);
		INSERT INTO orders SELECT i, i % 50 + 1 FROM generate_series(1, 100) i;
		CREATE INDEX orders_customer_id ON orders (customer_id)`)
	text := "source: {uri: \"" + g.src.URI() + "\"}\ntarget: {uri: \"" + g.dst.URI() + "\"}\n"
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "planner.yaml"), []byte(text), 0o600))
	return g
}

// loadOrphans puts orders of a customer that does not exist in the place of others, as
// a load without triggers does.
func (g guide) loadOrphans(t *testing.T) {
	t.Helper()
	g.src.Exec(t, "BEGIN; SET LOCAL session_replication_role = replica; UPDATE orders SET customer_id = 999 WHERE id IN (41, 42); COMMIT")
}

// environment has what the commands of a guide need.
func (g guide) environment(t *testing.T) []string {
	t.Helper()
	return []string{"OLD=" + g.src.URI(), "NEW=" + g.dst.URI(),
		"PATH=" + commands(t) + ":" + pgtest.ClientDir(t, g.src.Server.Major) + ":" + os.Getenv("PATH")}
}

// planner runs the planner, which may end in any way.
func (g guide) planner(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(commands(t), "planner"), append(args, "--config", "planner.yaml")...)
	cmd.Dir = g.dir
	out, _ := cmd.CombinedOutput()
	return string(out)
}

func TestGuideToFailingRows(t *testing.T) {
	t.Parallel()
	g := newGuide(t)
	g.loadOrphans(t)
	follow(t, page(t, "docs/how-to/failing-rows.md"), g.dir, g.environment(t)...)
}

// The guide begins with a run whose planner was killed while one of three tables was
// on its way, and a source that was written to since.
func TestGuideToResume(t *testing.T) {
	t.Parallel()
	g := newGuide(t)
	g.src.Exec(t, `CREATE FUNCTION gate() RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN true; END';
		CREATE TABLE visits (id int CHECK (public.gate())); INSERT INTO visits SELECT generate_series(1, 10)`)
	gate := g.dst.Connect(t)
	_, err := gate.Exec(t.Context(), "SELECT pg_advisory_lock(42)")
	require.NoError(t, err)

	cmd := exec.Command(filepath.Join(commands(t), "planner"), "run", "--config", "planner.yaml")
	cmd.Dir, cmd.Env = g.dir, append(os.Environ(), "PGCONVOY_BUNDLE_MAX_TABLE=0", "TMPDIR="+t.TempDir())
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	await(t, g.dst, "t", "SELECT to_regclass('pgconvoy.task') IS NOT NULL")
	await(t, g.dst, "2", "SELECT count(*) FROM pgconvoy.task WHERE kind = 'copy' AND state = 'done'")
	await(t, g.dst, "1", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	_, err = gate.Exec(t.Context(), "SELECT pg_advisory_unlock(42)")
	require.NoError(t, err)
	await(t, g.dst, "0", "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgconvoy%' AND datname = current_database()")
	g.src.Exec(t, "INSERT INTO customers VALUES (51, 'customer 51')")

	follow(t, page(t, "docs/how-to/resume.md"), g.dir, g.environment(t)...)
}

// await waits until a query has the answer.
func await(t *testing.T, db *pgtest.Database, want, query string) {
	t.Helper()
	require.Eventually(t, func() bool { return db.Query(t, query) == want }, time.Minute, 20*time.Millisecond, query)
}

func TestGuideToVerify(t *testing.T) {
	t.Parallel()
	g := newGuide(t)
	g.src.Exec(t, `SELECT lo_from_bytea(4711, 'contents'), lo_create(4712); SELECT lo_put(4712, 5000000, 'behind a hole')`)
	require.Contains(t, g.planner(t, "run"), "run main is complete")
	g.dst.Exec(t, "UPDATE customers SET name = 'somebody else' WHERE id = 7; DROP INDEX orders_customer_id")
	follow(t, page(t, "docs/how-to/verify.md"), g.dir, g.environment(t)...)
}
