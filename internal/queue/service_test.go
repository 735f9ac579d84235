package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func workerStatus(id string) tasks.WorkerStatus {
	return tasks.WorkerStatus{ID: id, Name: "host/" + id, RunUID: run.UID, Slots: map[tasks.Stage]int{tasks.StageCopy: 4}, Bytes: 7}
}

// serve starts the service of a worker process on a connection of its own.
func serve(t *testing.T, o queue.Options, w queue.WorkerService) (stop func() error) {
	t.Helper()
	q, err := connect(t, o).Open(t.Context(), run.Name)
	require.NoError(t, err)
	stop, err = q.ServeWorker(w)
	require.NoError(t, err)
	return stop
}

func service(id string) queue.WorkerService {
	return queue.WorkerService{
		ID: id, Version: "dev", Metadata: map[string]string{"host": "h"},
		Status: func() tasks.WorkerStatus { return workerStatus(id) }, Drain: func() {},
	}
}

// workers asks for as long as it takes to get n answers.
func workers(t *testing.T, c *queue.Conn, n int) []tasks.WorkerStatus {
	t.Helper()
	for wait := later; ; wait *= 2 {
		list, err := c.Workers(t.Context(), run.Name, wait)
		require.NoError(t, err)
		if len(list) == n {
			return list
		}
		require.Less(t, wait, soon, "%d workers answer, not %d", len(list), n)
	}
}

func TestWorkersAnswer(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		b.create(t, 1)
		// Nobody is there to be waited for.
		list, err := b.conn.Workers(t.Context(), run.Name, time.Hour)
		require.NoError(t, err)
		require.Empty(t, list)

		serve(t, b.opts, service("b"))
		stop := serve(t, b.opts, service("a"))
		require.Equal(t, []tasks.WorkerStatus{workerStatus("a"), workerStatus("b")}, workers(t, b.conn, 2))
		list, err = b.conn.Workers(t.Context(), "another", time.Hour)
		require.NoError(t, err)
		require.Empty(t, list)

		require.NoError(t, stop())
		require.NoError(t, stop(), "a second time")
		require.Equal(t, []tasks.WorkerStatus{workerStatus("b")}, workers(t, b.conn, 1))
	})
}

func TestFrozenWorkerIsMissing(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	b.create(t, 1)
	serve(t, b.opts, service("lively"))
	frozen, thaw := service("frozen"), make(chan struct{})
	defer close(thaw)
	frozen.Status = func() tasks.WorkerStatus { <-thaw; return tasks.WorkerStatus{} }
	serve(t, b.opts, frozen)
	require.Equal(t, []tasks.WorkerStatus{workerStatus("lively")}, workers(t, b.conn, 1))
}

func TestWorkerIsTalkedToByTools(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, b *bundle) {
		b.create(t, 1)
		var drained atomic.Int32
		w := service("a")
		w.Drain = func() { drained.Add(1) }
		serve(t, b.opts, w)
		nc := b.jetStream(t).Conn()
		ask := func(subject string, answer any) {
			t.Helper()
			m, err := nc.RequestWithContext(within(t, soon), subject, nil)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(m.Data, answer))
		}
		var ping micro.Ping
		ask("$SRV.PING", &ping)
		require.Equal(t, "pgconvoy-worker", ping.Name)
		require.Equal(t, "0.0.0+dev", ping.Version)
		require.Equal(t, map[string]string{"run": "shop", "id": "a", "host": "h"}, ping.Metadata)

		var info micro.Info
		ask("$SRV.INFO.pgconvoy-worker", &info)
		var subjects []string
		for _, e := range info.Endpoints {
			subjects = append(subjects, e.Subject)
		}
		require.ElementsMatch(t, []string{"pgconvoy.shop.worker.a.status", "pgconvoy.shop.worker.a.drain", "pgconvoy.shop.worker.status"}, subjects)

		var stats micro.Stats
		ask("$SRV.STATS.pgconvoy-worker."+ping.ID, &stats)
		require.Equal(t, "status", stats.Endpoints[0].Name)
		var shown tasks.WorkerStatus
		require.NoError(t, json.Unmarshal(stats.Endpoints[0].Data, &shown))
		require.Equal(t, workerStatus("a"), shown)

		var asked tasks.WorkerStatus
		ask("pgconvoy.shop.worker.a.status", &asked)
		require.Equal(t, workerStatus("a"), asked)
		m, err := nc.RequestWithContext(within(t, soon), "pgconvoy.shop.worker.a.drain", nil)
		require.NoError(t, err)
		require.Equal(t, "draining", string(m.Data))
		require.EqualValues(t, 1, drained.Load())
	})
}

func TestWorkerAnswersAgainAfterAnOutage(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	b := newBundle(t, queue.Options{URL: s.URL()})
	b.create(t, 1)
	stop := serve(t, b.opts, service("a"))
	s.Stop()
	var transient *queue.TransientError
	require.Eventually(t, func() bool {
		_, err := b.conn.Workers(t.Context(), run.Name, later)
		return errors.As(err, &transient)
	}, soon, time.Millisecond)
	s.Restart()
	require.Eventually(t, func() bool {
		list, err := b.conn.Workers(t.Context(), run.Name, later)
		return err == nil && len(list) == 1
	}, soon, time.Millisecond)
	s.Stop()
	require.NoError(t, stop(), "without a connection")
}

func TestServeWorkerChecksItsInput(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	q := b.create(t, 1)
	for _, id := range []string{"", "a.b", "*", "a b"} {
		_, err := q.ServeWorker(service(id))
		require.ErrorContains(t, err, "token", id)
	}
	_, err := b.conn.Workers(t.Context(), "*", later)
	require.ErrorContains(t, err, "not valid")
	ctx, cancel := context.WithCancel(t.Context())
	serve(t, b.opts, service("a"))
	cancel()
	_, err = b.conn.Workers(ctx, run.Name, time.Hour)
	require.ErrorIs(t, err, context.Canceled)
}

func TestCloseEndsTheService(t *testing.T) {
	t.Parallel()
	b := newBundle(t, inProcess(t))
	b.create(t, 1)
	c, err := queue.Connect(t.Context(), b.opts)
	require.NoError(t, err)
	q, err := c.Open(t.Context(), run.Name)
	require.NoError(t, err)
	stop, err := q.ServeWorker(service("a"))
	require.NoError(t, err)
	workers(t, b.conn, 1)
	require.NoError(t, c.Close())
	require.NoError(t, stop())
	require.Empty(t, workers(t, b.conn, 0))
	_, err = q.ServeWorker(service("a"))
	require.ErrorIs(t, err, queue.ErrClosed)
	_, err = c.Workers(t.Context(), run.Name, later)
	require.ErrorIs(t, err, queue.ErrClosed)
}
