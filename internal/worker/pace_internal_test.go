package worker

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestPacer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		began := time.Now()
		require.NoError(t, p.pay(t.Context(), 1<<40), "nobody has ordered anything")
		require.Equal(t, paceAwaited, time.Since(began), "but might have")
		require.True(t, p.slowed())
		p.set(tasks.Pace{BytesPerSecond: 1000})
		began = time.Now()
		var streams sync.WaitGroup
		for range 10 { // that take pieces larger than what comes in within a second
			streams.Go(func() {
				for range 10 {
					_ = p.pay(t.Context(), 2000)
				}
			})
		}
		streams.Wait()
		require.True(t, p.slowed())
		require.False(t, p.slowed(), "nobody has waited since")
		require.InDelta(t, 200, time.Since(began).Seconds(), 1, "200,000 bytes")
	})
}

func TestPacerObeysAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		p.set(tasks.Pace{BytesPerSecond: 1})
		began := time.Now()
		paid := make(chan error, 1)
		go func() { paid <- p.pay(t.Context(), 1000) }()
		synctest.Wait()
		require.True(t, p.slowed())
		require.True(t, p.slowed(), "somebody waits on")
		p.set(tasks.Pace{BytesPerSecond: 100})
		require.NoError(t, <-paid)
		require.InDelta(t, 10, time.Since(began).Seconds(), 0.1)

		p.set(tasks.Pace{Held: true})
		go func() { paid <- p.pay(t.Context(), 1) }()
		select {
		case err := <-paid:
			require.NoError(t, err)
			require.Fail(t, "nothing passes while copies are held")
		case <-time.After(24 * time.Hour): // of the bubble
		}
		p.set(tasks.Pace{})
		require.NoError(t, <-paid)
		began = time.Now()
		require.NoError(t, p.pay(t.Context(), 1<<40))
		require.Zero(t, time.Since(began))

		p.set(tasks.Pace{Held: true, BytesPerSecond: 5})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { paid <- p.pay(ctx, 1) }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-paid, context.Canceled)
	})
}
