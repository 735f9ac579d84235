package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// PutStatus says how far the run is, for those who reach the queue and not the
// databases, in its public form. Lists that make it larger than a message can be
// are cut; the counts beside them are not. It is idempotent. It returns
// [ErrGone] when there is no bucket and a [TransientError] when the server
// cannot be reached; the run goes on then, unseen.
func (q *Queue) PutStatus(ctx context.Context, s tasks.RunStatus) error {
	var err error
	if s.Run != q.run || s.RunUID != q.uid {
		err = fmt.Errorf("it is of run %s (uid %s), the queue of the run with uid %s", clip(s.Run), s.RunUID, q.uid)
	} else if s, err = fit(s.Public()); err == nil {
		err = q.conn.put(ctx, statusKey(q.run), s)
	}
	if err != nil {
		return fmt.Errorf("write status of run %s: %w", q.run, err)
	}
	return nil
}

// fit halves the longest list of the status until a message can hold it.
func fit(s tasks.RunStatus) (tasks.RunStatus, error) {
	for {
		body, err := json.Marshal(s)
		if err != nil || len(body) <= maxStatus {
			return s, err
		}
		switch most := max(len(s.Failures), len(s.Workers), len(s.Running), len(s.Warnings)); most {
		case 0, 1:
			return s, fmt.Errorf("it has %d bytes, at most %d are possible", len(body), maxStatus)
		case len(s.Failures):
			s.Failures = s.Failures[:most/2]
		case len(s.Workers):
			s.Workers = s.Workers[:most/2]
		case len(s.Running):
			s.Running = s.Running[:most/2]
		default:
			s.Warnings = s.Warnings[:most/2]
		}
	}
}

// Status returns how far a run was when its planner last said so: see its
// field At. It returns [ErrNoStatus] if none did, [ErrGone] when there is no
// bucket and a [TransientError] when the server cannot be reached.
func (c *Conn) Status(ctx context.Context, run string) (tasks.RunStatus, error) {
	if err := checkRun(run); err != nil {
		return tasks.RunStatus{}, err
	}
	list, err := c.statuses(ctx, run)
	if err == nil && len(list) == 0 {
		err = ErrNoStatus
	}
	if err != nil {
		return tasks.RunStatus{}, fmt.Errorf("read status of run %s: %w", run, err)
	}
	return list[0], nil
}

// Statuses returns how far every run is that a planner has said something of,
// in the order of their names. It returns [ErrGone] when there is no bucket and
// a [TransientError] when the server cannot be reached.
func (c *Conn) Statuses(ctx context.Context) ([]tasks.RunStatus, error) {
	list, err := c.statuses(ctx, "*")
	if err != nil {
		return nil, fmt.Errorf("read status of all runs: %w", err)
	}
	slices.SortFunc(list, func(a, b tasks.RunStatus) int { return strings.Compare(a.Run, b.Run) })
	return list, nil
}

func (c *Conn) statuses(ctx context.Context, run string) ([]tasks.RunStatus, error) {
	list, err := c.stored(ctx, bucketStream, statusKey(run))
	if err != nil {
		return nil, err
	}
	var found []tasks.RunStatus
	for _, one := range list {
		var s tasks.RunStatus
		if json.Unmarshal(one.data, &s) == nil && statusKey(s.Run) == one.subject {
			found = append(found, s)
		}
	}
	return found, nil
}

// Forget removes the status and the keepers of the run from the bucket, and
// leaves those alone that another run has written under the same name. It is
// idempotent, and does nothing when there is no bucket.
func (q *Queue) Forget(ctx context.Context) error {
	list, err := q.conn.stored(ctx, bucketStream, keyPrefix+q.run+".>")
	if err == nil {
		list = slices.DeleteFunc(list, func(one stored) bool {
			var value struct {
				RunUID string `json:"run_uid"`
			}
			return json.Unmarshal(one.data, &value) == nil && value.RunUID != q.uid
		})
		err = q.conn.discard(ctx, bucketStream, list)
	}
	if err == nil || errors.Is(err, ErrGone) {
		return nil
	}
	return fmt.Errorf("forget run %s: %w", q.run, err)
}
