package queue

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Requests to the API of JetStream. Each gives up after apiTimeout, however
// long the caller would wait: while a cluster elects a leader nobody answers,
// and a request of that time is lost. The caller asks again.

func (c *Conn) createStream(ctx context.Context, config jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	_, err := c.js.CreateStream(ctx, config)
	return err
}

func (c *Conn) deleteStream(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	return c.js.DeleteStream(ctx, name)
}

func (c *Conn) streamInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := c.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

func (c *Conn) purgeStream(ctx context.Context, name string, opts ...jetstream.StreamPurgeOpt) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := c.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	return stream.Purge(ctx, opts...)
}

func (c *Conn) createConsumer(ctx context.Context, stream string, config jetstream.ConsumerConfig) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	_, err := c.js.CreateConsumer(ctx, stream, config)
	return err
}

func (c *Conn) consumerInfo(ctx context.Context, stream string, stage tasks.Stage) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	consumer, err := c.js.Consumer(ctx, stream, string(stage))
	if err != nil {
		return nil, err
	}
	return consumer.CachedInfo(), nil
}
