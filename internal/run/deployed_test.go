package run_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// deployments holds the configurations of NATS that people start from.
var deployments = filepath.Join("..", "..", "deployments")

// rolePasswords are what these configurations want in the environment.
func rolePasswords() []string {
	return []string{"PLANNER_PASSWORD=planner-secret", "WORKER_PASSWORD=worker-secret", "OBSERVER_PASSWORD=observer-secret"}
}

// asRole connects as a role does.
func asRole(role string) []nats.Option {
	return []nats.Option{nats.UserInfo(role, role+"-secret"), nats.CustomInboxPrefix("_INBOX." + role)}
}

// TestDeployedNATS copies a database with the servers, users and permissions of
// deployments, one server and three of them. What a user must not do is in the
// tests of internal/queue.
func TestDeployedNATS(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replicas int
		start    func(t *testing.T) (url, ca string)
	}{
		"one server": {1, func(t *testing.T) (string, string) {
			return natstest.StartConfig(t, filepath.Join(deployments, "nats-server.conf"), rolePasswords()...).URL(), ""
		}},
		"three servers with all that the comments offer": {3, fullCluster},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := pgtest.Source(t).Database(t), pgtest.Target(t).Database(t)
			src.Exec(t, `CREATE TABLE a (id int PRIMARY KEY, t text); CREATE TABLE b (a int REFERENCES a); CREATE INDEX ON a (t);
				INSERT INTO a SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 1000) i; INSERT INTO b SELECT id FROM a`)
			url, ca := c.start(t)
			o := options(t, src, dst)
			o.Config.NATS = config.NATS{URL: config.Secret(url), User: "planner", Password: "planner-secret", CA: ca, Replicas: c.replicas}
			worker := startWorker(t, build(t, "worker"), o, "PGCONVOY_NATS_USER=worker", "PGCONVOY_NATS_PASSWORD=worker-secret", "PGCONVOY_NATS_CA="+ca)
			copyAll(t, o)
			pgtest.RequireEqual(t, src, dst)
			require.Contains(t, worker.String(), "COPY", "the planner has no workers of its own")
			require.NotContains(t, worker.String(), "ermission")

			observer := asRole("observer")
			if ca != "" {
				observer = append(observer, nats.RootCAs(ca))
			}
			js, err := jetstream.New(natstest.Connect(t, url, observer...))
			require.NoError(t, err)
			var bucket jetstream.Stream
			require.Eventually(t, func() bool { // three servers may be choosing who leads it
				bucket, err = js.Stream(t.Context(), "KV_pgconvoy")
				return err == nil
			}, time.Minute, 50*time.Millisecond)
			require.Equal(t, c.replicas, bucket.CachedInfo().Config.Replicas)
			require.Equal(t, jetstream.FileStorage, bucket.CachedInfo().Config.Storage)
			if c.replicas == 3 {
				requireAdmin(t, url, ca)
			}
		})
	}
}

// fullCluster starts three servers with nats-cluster.conf, with TLS and a user for
// the system account, after the # before these was taken away.
func fullCluster(t *testing.T) (url, ca string) {
	t.Helper()
	dir := t.TempDir()
	for file, offers := range map[string][]string{
		"nats-server.conf": {"tls {", "system_account:", "SYS {"}, "nats-cluster.conf": {"tls {"}, "nats-tls.conf": nil,
	} {
		text, err := os.ReadFile(filepath.Join(deployments, file))
		require.NoError(t, err)
		full := string(text)
		for _, offer := range offers {
			require.Equal(t, 1, strings.Count(full, "# "+offer), "%s in %s", offer, file)
			full = strings.Replace(full, "# "+offer, offer, 1)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(full), 0o600))
	}
	authority := pgtest.NewAuthority(t)
	cert, key := authority.Issue(t, "nats", "127.0.0.1")
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	require.NoError(t, os.WriteFile(certFile, cert, 0o600))
	require.NoError(t, os.WriteFile(keyFile, key, 0o600))
	cluster := natstest.StartClusterConfig(t, natstest.ClusterConfig{
		File:   filepath.Join(dir, "nats-cluster.conf"),
		Env:    append(rolePasswords(), "ADMIN_PASSWORD=admin-secret", "TLS_CERT="+certFile, "TLS_KEY="+keyFile, "TLS_CA="+authority.Root),
		Client: append(asRole("planner"), nats.RootCAs(authority.Root)),
		Stream: "PGCONVOY-main",
	})
	return cluster.URL(), authority.Root
}

// requireAdmin shows that the admin is told of the servers, and of nothing else.
func requireAdmin(t *testing.T, url, ca string) {
	t.Helper()
	nc := natstest.Connect(t, url, append(asRole("admin"), nats.RootCAs(ca))...)
	_, err := nc.RequestWithContext(t.Context(), "$SYS.REQ.SERVER.PING.JSZ", nil)
	require.NoError(t, err)
	answer, err := nc.RequestWithContext(t.Context(), "$JS.API.STREAM.INFO.KV_pgconvoy", nil)
	require.NoError(t, err)
	require.Contains(t, string(answer.Data), "not enabled for account")
}
