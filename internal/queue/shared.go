package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Share makes what all runs share, if somebody has removed it. It is idempotent.
func (c *Conn) Share(ctx context.Context) error {
	for _, k := range c.kept() {
		if err := c.ensureKept(ctx, k.config, k.sizes...); err != nil {
			return fmt.Errorf("make what runs share: %w", classify(ctx, err))
		}
	}
	return nil
}

// ensureShared makes what all runs of the account share, or finds it as an
// operator may have edited it. A run goes on without a stream that there is no
// room for at all: no task needs it.
func (c *Conn) ensureShared(ctx context.Context) error {
	for _, k := range c.kept() {
		err := c.ensureKept(ctx, k.config, k.sizes...)
		switch {
		case lacksRoom(err):
			c.log.Warn("the run goes on without a stream that there is no room for", "err", err)
		case err != nil:
			return err
		}
	}
	return nil
}

// kept is a shared stream, and the bounds in bytes that it may have.
type kept struct {
	config jetstream.StreamConfig
	sizes  []int64
}

func (c *Conn) kept() []kept {
	return []kept{{c.bucketConfig(), []int64{64 << 20, 8 << 20, 1 << 20}}, {c.deadConfig(), []int64{256 << 20, 32 << 20, 4 << 20}}}
}

// bucketConfig is what a key-value bucket of NATS is underneath, with keys that
// may expire. It is made as a stream because a bucket lets everybody who may
// write one key empty all of it, by a header that asks for a rollup. The server
// permits that with markers of expired keys, too, so there are none.
func (c *Conn) bucketConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              bucketStream,
		Description:       "How far the runs of pgconvoy are, and who holds their snapshots",
		Subjects:          []string{keyPrefix + ">"},
		Discard:           jetstream.DiscardNew,
		MaxMsgsPerSubject: 1,
		DenyDelete:        true,
		AllowDirect:       true,
		AllowMsgTTL:       true,
	}
}

// ensureKept makes one of the shared streams with the first of the bounds, in
// bytes, that there is room for: a server sets them aside, and an account may
// not have that much left beside the tasks.
func (c *Conn) ensureKept(ctx context.Context, config jetstream.StreamConfig, sizes ...int64) error {
	config.Storage, config.Replicas = c.storage(), c.opts.Replicas
	var err error
	for _, config.MaxBytes = range sizes {
		err = c.createStream(ctx, config)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			err = c.checkKept(ctx, config)
		}
		if err == nil {
			return nil
		}
		err = fmt.Errorf("stream %s: %w", config.Name, err)
		if !lacksRoom(err) {
			return err
		}
	}
	return err
}

// checkKept reports whether a shared stream that exists can be used.
func (c *Conn) checkKept(ctx context.Context, want jetstream.StreamConfig) error {
	info, err := c.streamInfo(ctx, want.Name)
	if err != nil {
		return err
	}
	if have := info.Config; have.AllowDirect && have.AllowMsgTTL == want.AllowMsgTTL && have.MaxMsgsPerSubject == 1 {
		return nil
	}
	return tasks.WithHint(errors.New("it was not made by pgconvoy"), "remove it with: nats stream rm "+want.Name)
}

func (c *Conn) storage() jetstream.StorageType {
	if c.opts.Memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// put writes the value of a key, as JSON.
func (c *Conn) put(ctx context.Context, key string, value any, opts ...jetstream.PublishOpt) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	m := nats.NewMsg(key)
	m.Data = body
	return c.store(ctx, bucketStream, m, opts...)
}

// store publishes a message that replaces the one with the same subject, and
// waits until the server has it.
func (c *Conn) store(ctx context.Context, stream string, m *nats.Msg, opts ...jetstream.PublishOpt) error {
	if c.isClosing() {
		return ErrClosed
	}
	limited, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	_, err := c.js.PublishMsg(limited, m, append(opts, jetstream.WithExpectStream(stream))...)
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
	for _, one := range list {
		// Up to, but not including, the sequence.
		err := c.purgeStream(ctx, stream, jetstream.WithPurgeSubject(one.subject), jetstream.WithPurgeSequence(one.sequence+1))
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return classify(ctx, err)
		}
	}
	return nil
}
