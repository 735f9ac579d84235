package queue_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/embedded"
	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// BenchmarkTask is what the queue adds to a task: it is published, leased by one
// of four slots and acknowledged with a confirmation.
func BenchmarkTask(b *testing.B) {
	const total = 5000
	servers := map[string]func(b *testing.B) queue.Options{
		"embedded": func(b *testing.B) queue.Options {
			s, err := embedded.Start(b.Context(), embedded.Options{})
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, s.Stop()) })
			return queue.Options{InProcess: s.InProcess(), Memory: true}
		},
		"server with files": func(b *testing.B) queue.Options { return queue.Options{URL: natstest.Start(b).URL()} },
	}
	for name, start := range servers {
		b.Run(name, func(b *testing.B) {
			o := start(b)
			o.Name = "bench"
			c, err := queue.Connect(b.Context(), o)
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, c.Close()) })
			q, err := c.Create(b.Context(), run, caps(4))
			require.NoError(b, err)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				list := make([]tasks.Envelope, total)
				for i := range list {
					n++
					list[i] = run.Envelope(tasks.KindCopy, tasks.NewID(tasks.KindCopy, "public", fmt.Sprintf("t%d", n), "all"))
				}
				require.NoError(b, q.Publish(b.Context(), list))
				require.NoError(b, drain(b, q, total))
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/total, "µs/task")
		})
	}
}

// drain takes and acknowledges so many tasks, four at a time.
func drain(b *testing.B, q *queue.Queue, total int) error {
	group, ctx := errgroup.WithContext(b.Context())
	for range 4 {
		group.Go(func() error {
			for range total / 4 {
				d, err := q.Fetch(ctx, tasks.StageCopy, later)
				if err != nil {
					return err
				}
				if d == nil {
					return fmt.Errorf("no task came")
				}
				if err := d.Ack(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}
