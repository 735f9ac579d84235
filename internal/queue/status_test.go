package queue_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/natstest"
	"github.com/pgconvoy/pgconvoy/internal/queue"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// An empty message with the header of a status is a message: taken for what the
// server says of the consumer, it would end the worker.
func TestMessageThatLooksLikeAStatus(t *testing.T) {
	t.Parallel()
	b := newBundle(t, overTCP(t))
	q := b.create(t, 10)
	nc := natstest.Connect(t, b.opts.URL)
	for _, status := range []string{"100", "404", "409", "503", "999"} {
		m := nats.NewMsg(queue.Subject(run.Name, "copy.public.a.all"))
		m.Header.Set("Status", status)
		m.Header.Set("Description", "Consumer Deleted")
		require.NoError(t, nc.PublishMsg(m))
		d, err := q.Fetch(t.Context(), tasks.StageCopy, soon)
		require.NoError(t, err, status)
		require.NotNil(t, d, status)
		_, err = d.Envelope()
		var malformed *queue.MalformedError
		require.ErrorAs(t, err, &malformed, status)
		require.NoError(t, d.Term("not readable"))
	}
}
