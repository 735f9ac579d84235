package natstest_test

import (
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
)

func TestMain(m *testing.M) { os.Exit(natstest.Main(m)) }

func TestServersKeepFilesAndPort(t *testing.T) {
	t.Parallel()
	inProcess, process := natstest.Start(t), natstest.StartProcess(t)
	for name, s := range map[string]struct {
		url    func() string
		bounce func()
	}{
		"restart":        {inProcess.URL, inProcess.Restart},
		"stop":           {inProcess.URL, func() { inProcess.Stop(); inProcess.Restart() }},
		"kill a process": {process.URL, func() { process.Kill(); process.Start() }},
		"stop a process": {process.URL, func() { process.Stop(); process.Start() }},
	} {
		before := s.url()
		publish(t, before)
		s.bounce()
		require.Equal(t, before, s.url(), name)
		require.NotZero(t, messages(t, before), name)
	}
	require.EqualValues(t, 2, messages(t, inProcess.URL()))
	require.EqualValues(t, 2, messages(t, process.URL()))
}

func publish(t *testing.T, url string) {
	t.Helper()
	js := open(t, url)
	_, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "A", Subjects: []string{"a"}})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "a", nil)
	require.NoError(t, err)
}

func messages(t *testing.T, url string) uint64 {
	t.Helper()
	js := open(t, url)
	stream, err := js.Stream(t.Context(), "A")
	require.NoError(t, err)
	return stream.CachedInfo().State.Msgs
}

func open(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(natstest.Connect(t, url))
	require.NoError(t, err)
	return js
}

func TestClusterElectsAnotherLeader(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t)
	js := open(t, c.URL())
	// Nobody answers while the cluster has no leader.
	require.EventuallyWithT(t, func(try *assert.CollectT) {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "A", Subjects: []string{"a"}, Replicas: 3})
		require.NoError(try, err)
	}, time.Minute, 100*time.Millisecond)
	c.AwaitCurrent("A")
	first := c.Leader("A")
	first.Kill()
	require.NotEqual(t, first.URL(), c.Leader("A").URL())
	first.Start()
	c.AwaitCurrent("A")
}
