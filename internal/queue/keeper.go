package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// RegisterKeeper says for the next [KeeperTTL] that a session of this process
// holds a snapshot. It is repeated to stay listed, and idempotent. It returns
// [ErrGone] when there is no bucket and a [TransientError] when the server
// cannot be reached; the work goes on then, unlisted.
func (q *Queue) RegisterKeeper(ctx context.Context, k tasks.Keeper) error {
	err := checkProcess(k.ID)
	if err == nil && k.RunUID != q.uid {
		err = fmt.Errorf("it belongs to the run with uid %s, the queue to the one with uid %s", k.RunUID, q.uid)
	}
	if err == nil {
		err = q.conn.put(ctx, keeperKey(q.run, k.ID), k, jetstream.WithMsgTTL(KeeperTTL))
	}
	if err != nil {
		return fmt.Errorf("register keeper %s of run %s: %w", clip(k.ID), q.run, err)
	}
	return nil
}

// Keepers returns who holds a snapshot of this run, in the order of their IDs.
// One that died may be listed for [KeeperTTL]. It returns [ErrGone] when there
// is no bucket and a [TransientError] when the server cannot be reached.
func (q *Queue) Keepers(ctx context.Context) ([]tasks.Keeper, error) {
	list, err := q.conn.stored(ctx, bucketStream, keeperKey(q.run, "*"))
	if err != nil {
		return nil, fmt.Errorf("list keepers of run %s: %w", q.run, err)
	}
	var keepers []tasks.Keeper
	for _, one := range list {
		var k tasks.Keeper
		if json.Unmarshal(one.data, &k) == nil && k.RunUID == q.uid && keeperKey(q.run, k.ID) == one.subject {
			keepers = append(keepers, k)
		}
	}
	slices.SortFunc(keepers, func(a, b tasks.Keeper) int { return cmp.Compare(a.ID, b.ID) })
	return keepers, nil
}

// RemoveKeeper says that the process with this ID holds no snapshot any more.
// It is idempotent, and does nothing when there is no bucket.
func (q *Queue) RemoveKeeper(ctx context.Context, id string) error {
	err := checkProcess(id)
	if err == nil {
		// The marker that tools know, which a worker may write as it may write
		// the key; taking the message out of the stream is for planners.
		m := nats.NewMsg(keeperKey(q.run, id))
		m.Header.Set("KV-Operation", "PURGE")
		err = q.conn.store(ctx, bucketStream, m, jetstream.WithMsgTTL(markerTTL))
	}
	if err == nil || errors.Is(err, ErrGone) {
		return nil
	}
	return fmt.Errorf("remove keeper %s of run %s: %w", clip(id), q.run, err)
}
