package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// pauseYears is how long a pause lasts unless it is ended: the server wants a
// date.
const pauseYears = 10

// Stages returns what every stage has queued and in flight, in the order of
// [tasks.Stages]. It returns [ErrGone] when stream or consumer do not exist and
// a [TransientError] when the server cannot be reached.
func (q *Queue) Stages(ctx context.Context) ([]tasks.StageStatus, error) {
	var list []tasks.StageStatus
	err := q.eachStage(ctx, tasks.Stages(), func(_ context.Context, info *jetstream.ConsumerInfo) error {
		list = append(list, tasks.StageStatus{
			Stage: tasks.Stage(info.Name), Cap: info.Config.MaxAckPending, Queued: int(info.NumPending),
			Leased: info.NumAckPending, Waiting: info.NumWaiting, Paused: info.Paused,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at stages of run %s: %w", q.run, err)
	}
	return list, nil
}

// Scale changes the caps of the stages given and leaves the others as they
// are. A higher cap takes effect at once, a lower one as tasks in flight end;
// none is taken back. A pause goes on. It is idempotent; after an error some of
// the stages may have their new cap.
func (q *Queue) Scale(ctx context.Context, caps map[tasks.Stage]int) error {
	stages := slices.Sorted(maps.Keys(caps))
	err := checkSome(caps, stages)
	if err == nil {
		err = q.eachStage(ctx, stages, func(ctx context.Context, info *jetstream.ConsumerInfo) error {
			config, most := info.Config, caps[tasks.Stage(info.Name)]
			if config.MaxAckPending == most {
				return nil
			}
			config.MaxAckPending = most
			_, err := q.conn.js.UpdateConsumer(ctx, q.stream, config)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("change caps of run %s: %w", q.run, err)
	}
	return nil
}

// Pause stops handing out tasks of the stages, of every stage if none is given,
// until Unpause; it outlives planners and restarts of a server that keeps the queue
// in files. What is in flight goes on and may be answered, and tasks may be
// published. It is idempotent; after an error some stages may be paused.
func (q *Queue) Pause(ctx context.Context, stages ...tasks.Stage) error {
	until := time.Now().AddDate(pauseYears, 0, 0)
	err := q.eachStage(ctx, orAll(stages), func(ctx context.Context, info *jetstream.ConsumerInfo) error {
		_, err := q.conn.js.PauseConsumer(ctx, q.stream, info.Name, until)
		return err
	})
	if err != nil {
		return fmt.Errorf("pause run %s: %w", q.run, err)
	}
	return nil
}

// Unpause hands out tasks of the stages, or of all, again. A slot that has waited meanwhile may get one
// only with the server's next sign of life, up to five seconds later. It is
// idempotent; after an error some stages may still be paused.
func (q *Queue) Unpause(ctx context.Context, stages ...tasks.Stage) error {
	err := q.eachStage(ctx, orAll(stages), func(ctx context.Context, info *jetstream.ConsumerInfo) error {
		_, err := q.conn.js.ResumeConsumer(ctx, q.stream, info.Name)
		return err
	})
	if err != nil {
		return fmt.Errorf("unpause run %s: %w", q.run, err)
	}
	return nil
}

func orAll(stages []tasks.Stage) []tasks.Stage {
	if len(stages) == 0 {
		return tasks.Stages()
	}
	return stages
}

// eachStage does something with the consumer of each stage, after it has made
// sure that the stream is still of this run. What it does is bounded as every
// request is.
func (q *Queue) eachStage(ctx context.Context, stages []tasks.Stage, do func(context.Context, *jetstream.ConsumerInfo) error) error {
	if _, err := q.info(ctx); err != nil {
		return err
	}
	for _, stage := range stages {
		info, err := q.conn.consumerInfo(ctx, q.stream, stage)
		if err == nil {
			limited, cancel := context.WithTimeout(ctx, apiTimeout)
			err = do(limited, info)
			cancel()
		}
		if err != nil {
			return fmt.Errorf("stage %s: %w", stage, classify(ctx, err))
		}
	}
	return nil
}
