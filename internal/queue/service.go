package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// WorkerService is what a worker process answers with when it is asked.
type WorkerService struct {
	ID       string            // of the process, a subject token, unique in the run
	Version  string            // of this build, in any form
	Metadata map[string]string // what tools list beside the process; the run is added

	// Status says what the process does. It is called for every question, one
	// at a time per kind of question, and must not block.
	Status func() tasks.WorkerStatus

	// Drain begins to drain the process. It must return at once, and may be
	// called more than once.
	Drain func()
}

// ServeWorker answers questions to this worker process until stop is called or
// the connection is closed. The process is found as a service of the name
// [ServiceName] by the tools of NATS, and by [Conn.Workers]. stop may be called
// more than once. What has been asked before is still answered.
func (q *Queue) ServeWorker(o WorkerService) (stop func() error, err error) {
	if err := checkProcess(o.ID); err != nil {
		return nil, fmt.Errorf("serve worker of run %s: %w", q.run, err)
	}
	if q.conn.isClosing() {
		return nil, ErrClosed
	}
	metadata := map[string]string{"run": q.run, "id": o.ID}
	maps.Copy(metadata, o.Metadata)
	service, err := micro.AddService(q.conn.nc, micro.Config{
		Name:               ServiceName,
		Version:            semver(o.Version),
		Description:        "Worker of pgconvoy",
		Metadata:           metadata,
		QueueGroupDisabled: true, // a question is for one process, or for all
		StatsHandler: func(e *micro.Endpoint) any {
			if e.Name != endpointStatus {
				return nil
			}
			return o.Status()
		},
	})
	if err != nil {
		return nil, fmt.Errorf("serve worker of run %s: %w", q.run, classify(context.Background(), err))
	}
	stop = func() error { return stopService(service) }
	status := micro.HandlerFunc(func(r micro.Request) { q.answer(r.RespondJSON(o.Status())) })
	drain := micro.HandlerFunc(func(r micro.Request) { o.Drain(); q.answer(r.Respond([]byte("draining"))) })
	err = errors.Join(
		service.AddEndpoint(endpointStatus, status, micro.WithEndpointSubject(workerSubject(q.run, o.ID, endpointStatus))),
		service.AddEndpoint(endpointDrain, drain, micro.WithEndpointSubject(workerSubject(q.run, o.ID, endpointDrain))),
		service.AddEndpoint(endpointFleet, status, micro.WithEndpointSubject(fleetSubject(q.run))),
		q.conn.nc.FlushTimeout(apiTimeout), // whoever asks after the return is answered
	)
	if err != nil {
		_ = stop() // the first error says why
		return nil, fmt.Errorf("serve worker of run %s: %w", q.run, classify(context.Background(), err))
	}
	return stop, nil
}

func stopService(service micro.Service) error {
	err := service.Stop()
	// Without a connection nobody asks any more.
	if err == nil || isAny(err, nats.ErrConnectionClosed, nats.ErrConnectionDraining, nats.ErrBadSubscription) {
		return nil
	}
	return fmt.Errorf("end the answers of this worker: %w", err)
}

// answer reports that an answer could not be sent. Who asked asks again.
func (q *Queue) answer(err error) {
	if err != nil {
		q.conn.log.Debug("question to this worker is not answered", "run", q.run, "err", err)
	}
}

// semantic matches a version as semver.org wants it.
var semantic = regexp.MustCompile(`^` + number + `\.` + number + `\.` + number +
	`(-` + label + `(\.` + label + `)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

const (
	number = `(0|[1-9]\d*)`
	label  = `(` + number + `|\d*[A-Za-z-][0-9A-Za-z-]*)`
)

// semver makes a semantic version of any version, for tools that want one. What
// is none becomes the build of version 0.0.0.
func semver(version string) string {
	version = strings.TrimPrefix(version, "v")
	if semantic.MatchString(version) {
		return version
	}
	build := strings.Map(func(r rune) rune {
		if isTokenRune(r) && r != '_' && r != '=' {
			return r
		}
		return '-'
	}, version)
	if build = strings.Trim(build, "-"); build == "" {
		return "0.0.0"
	}
	return "0.0.0+" + build
}

// Workers asks every worker process of the run what it does and returns the
// answers that come within the given time, in the order of names. A process
// that is frozen or cut off does not answer, and is missing. Without any worker
// it returns at once, with an empty list and no error.
func (c *Conn) Workers(ctx context.Context, run string, wait time.Duration) ([]tasks.WorkerStatus, error) {
	if err := checkRun(run); err != nil {
		return nil, err
	}
	var list []tasks.WorkerStatus
	err := c.gather(ctx, fleetSubject(run), nil, wait, func(m *nats.Msg) (bool, error) {
		var s tasks.WorkerStatus
		if json.Unmarshal(m.Data, &s) == nil && s.ID != "" {
			list = append(list, s)
		}
		return false, nil
	})
	if err != nil && !isAny(err, nats.ErrTimeout, nats.ErrNoResponders) {
		return nil, fmt.Errorf("ask the workers of run %s: %w", run, classify(ctx, err))
	}
	slices.SortFunc(list, func(a, b tasks.WorkerStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}
