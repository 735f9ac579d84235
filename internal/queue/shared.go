package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// bucketSizes are the bounds of the bucket, in bytes, that are tried one after
// the other. A server sets them aside, and an account may not have that much
// left beside the tasks.
func bucketSizes() []int64 { return []int64{64 << 20, 8 << 20, 1 << 20} }

// ensureShared makes what all runs of the account share, or finds it.
func (c *Conn) ensureShared(ctx context.Context) error {
	if err := c.ensureOne(ctx, "bucket "+Bucket, bucketSizes(), c.ensureBucket); err != nil {
		return err
	}
	return c.ensureOne(ctx, "stream "+DeadStream, deadSizes(), c.ensureDead)
}

// ensureOne makes one of the shared things as large as there is room for. A
// run goes on without one that there is no room for at all: no task needs it.
func (c *Conn) ensureOne(ctx context.Context, what string, sizes []int64, ensure func(ctx context.Context, maxBytes int64) error) error {
	var err error
	for _, size := range sizes {
		if err = ensure(ctx, size); err == nil {
			return nil
		}
		if !lacksRoom(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	c.log.Warn("the account has no room for "+what+", the run goes on without it", "err", err)
	return nil
}

// ensureBucket makes the bucket, or finds it as an operator may have edited it.
func (c *Conn) ensureBucket(ctx context.Context, maxBytes int64) error {
	_, err := c.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:         Bucket,
		Description:    "How far the runs of pgconvoy are, and who holds their snapshots",
		History:        1,
		MaxBytes:       maxBytes,
		Storage:        c.storage(),
		Replicas:       c.opts.Replicas,
		LimitMarkerTTL: markerTTL,
	})
	if !errors.Is(err, jetstream.ErrBucketExists) {
		return err
	}
	info, err := c.streamInfo(ctx, bucketStream)
	if err != nil {
		return err
	}
	if !info.Config.AllowMsgTTL || !info.Config.AllowDirect {
		return tasks.WithHint(errors.New("its keys cannot expire, or it cannot be read directly: it was not made by pgconvoy"),
			"remove it with: nats kv del "+Bucket)
	}
	return nil
}

func (c *Conn) storage() jetstream.StorageType {
	if c.opts.Memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// store publishes a message that replaces the one with the same subject, and
// waits until the server has it.
func (c *Conn) store(ctx context.Context, stream string, m *nats.Msg, opts ...jetstream.PublishOpt) error {
	if c.isClosing() {
		return ErrClosed
	}
	_, err := c.js.PublishMsg(ctx, m, append(opts, jetstream.WithExpectStream(stream))...)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeStoreFailed {
		err = &FullError{Err: err}
	}
	if isAny(err, jetstream.ErrNoStreamResponse, nats.ErrNoResponders) {
		err = c.whyNobody(ctx, stream, err)
	}
	return classify(ctx, err)
}

// discard takes out what was read with [Conn.stored], and nothing that has
// replaced it since. It does nothing if the stream is gone.
func (c *Conn) discard(ctx context.Context, stream string, list []stored) error {
	if len(list) == 0 {
		return nil
	}
	s, err := c.js.Stream(ctx, stream)
	for i := 0; err == nil && i < len(list); i++ {
		// Up to, but not including, the sequence.
		err = s.Purge(ctx, jetstream.WithPurgeSubject(list[i].subject), jetstream.WithPurgeSequence(list[i].sequence+1))
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return classify(ctx, err)
}
