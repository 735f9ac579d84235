package chaos_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// settleFor is how long it may take until what a run has used is gone.
const settleFor = 30 * time.Second

// judge says whether a run that has ended did what it should: the processes and
// servers are mended by then.
func (s *scene) judge() {
	s.t.Helper()
	if s.writer != nil {
		s.writer.halt()
	}
	s.requireNoSessions("while idle workers wait for another run")
	s.stopWorkers()
	s.requireNoSessions("after the workers have ended")
	s.requireNothingQueued()
	s.requireLedger()
	s.requireEqual()
	require.Empty(s.t, s.problems)
}

// stopWorkers asks the workers to end, and expects that they do.
func (s *scene) stopWorkers() {
	s.t.Helper()
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	for _, p := range s.runningWorkers() {
		p.signal(syscall.SIGTERM)
	}
	deadline := time.After(settleFor)
	for _, p := range s.runningWorkers() {
		select {
		case <-p.ended:
			if _, status := p.end(); status != 0 {
				s.problem("%s ended with status %d: %s", p.name, status, lastLine(p.log))
			}
		case <-deadline:
			p.dump()
			s.t.Fatalf("%s did not end within %s of SIGTERM", p.name, settleFor)
		}
	}
}

// requireNoSessions waits until no session of ours is left on either server.
func (s *scene) requireNoSessions(when string) {
	s.t.Helper()
	for _, db := range []*pgtest.Database{s.src, s.dst} {
		var left string
		require.Eventually(s.t, func() bool {
			var err error
			left, err = ask[string](db, `SELECT coalesce(string_agg(format('%s (%s: %s)', application_name, state, left(query, 100)), '; '), '')
				FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgconvoy%'`)
			return err == nil && left == ""
		}, settleFor, 50*time.Millisecond, "%s has sessions %s: %s", db.Name, when, &left)
	}
}

// requireNothingQueued makes sure that the queue has forgotten the run.
func (s *scene) requireNothingQueued() {
	s.t.Helper()
	js, err := jetstream.New(natstest.Connect(s.t, s.child.NATS))
	require.NoError(s.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var left []string
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		if strings.HasSuffix(info.Config.Name, s.child.Run) {
			left = append(left, "stream "+info.Config.Name)
			continue
		}
		stream, err := js.Stream(ctx, info.Config.Name)
		require.NoError(s.t, err)
		found, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
		require.NoError(s.t, err)
		for subject := range found.State.Subjects {
			if !strings.Contains(subject, s.child.Run) {
				continue
			}
			m, err := stream.GetLastMsgForSubject(ctx, subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Header.Get("Nats-TTL") != "" {
				continue // it expires by itself: a worker let go of the snapshot after the planner had left
			}
			left = append(left, "message "+subject)
		}
	}
	require.NoError(s.t, streams.Err())
	require.Empty(s.t, left, "the queue still holds something of the run")
}

// requireLedger makes sure that the ledger is gone, or, if it is to be kept,
// consistent.
func (s *scene) requireLedger() {
	s.t.Helper()
	if !s.child.Settings.KeepLedger {
		require.Equal(s.t, "0", s.dst.Query(s.t, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgconvoy'"), "the ledger is gone")
		return
	}
	for name, sql := range map[string]string{
		"the run is complete":                "SELECT count(*) FROM pgconvoy.run WHERE state <> 'complete'",
		"nobody has made it inconsistent":    "SELECT count(*) FROM pgconvoy.run WHERE inconsistent IS NOT NULL",
		"every task is done":                 "SELECT count(*) FROM pgconvoy.task WHERE state <> 'done'",
		"tasks that count rows agree":        "SELECT count(*) FROM pgconvoy.task t WHERE kind = 'copy' AND rows <> (SELECT sum(k.rows) FROM pgconvoy.copied k WHERE k.task = t.id)",
		"what reads rows names the snapshot": "SELECT count(*) FROM pgconvoy.task WHERE kind IN ('copy', 'bundle') AND snapshot_id IS NULL AND rows > 0",
		"rows are of one snapshot": `WITH RECURSIVE first AS (SELECT id, id AS one FROM pgconvoy.snapshot WHERE same_as IS NULL
			UNION ALL SELECT s.id, f.one FROM pgconvoy.snapshot s JOIN first f ON s.same_as = f.id)
			SELECT greatest(count(DISTINCT f.one) - 1, 0) FROM pgconvoy.task t JOIN first f ON f.id = t.snapshot_id`,
		"every table was copied once": `SELECT count(*) FROM pgconvoy.planned p WHERE NOT EXISTS (SELECT FROM pgconvoy.copied k WHERE k.schema = p.schema AND k.name = p.name)`,
		"nobody has a task in hand":   "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
	} {
		require.Equal(s.t, "0", s.dst.Query(s.t, sql), name)
	}
}

// requireEqual compares the target with the source, or with what the run's
// snapshot showed.
func (s *scene) requireEqual() {
	s.t.Helper()
	ignore := pgtest.IgnoreSchemas("pgconvoy")
	require.Equal(s.t, "0", s.dst.Query(s.t, "SELECT count(*) FROM pg_index WHERE NOT indisvalid OR NOT indisready"), "invalid indexes")
	if s.lost || s.writer == nil && s.expected == nil {
		pgtest.RequireEqual(s.t, s.src, s.dst, ignore)
		return
	}
	pgtest.RequireEqual(s.t, s.src, s.dst, ignore, pgtest.SchemaOnly())
	require.NotNil(s.t, s.expected, "the run's snapshot was never seen, and yet it did not say that it was lost")
	diffs, err := s.expected.Diff(s.dst, ignore)
	require.NoError(s.t, err)
	require.Empty(s.t, diffs, "the target is not what the snapshot showed")
}
