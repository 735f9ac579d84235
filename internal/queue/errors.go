package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// ErrGone is returned when the stream of the run, the consumer of a stage, the
// bucket or the stream of dead letters does not exist, or not any more: the
// run ended, somebody deleted it, or a server that keeps it in memory was
// restarted. Only [Conn.Create] brings it back.
var ErrGone = errors.New("there is no queue of the run")

// ErrNoStatus is returned when nobody has said how far the run is, or the run
// has been forgotten.
var ErrNoStatus = errors.New("the queue knows no status of the run")

// ErrClosed is returned by everything that is called after [Conn.Close].
var ErrClosed = errors.New("the connection to the queue is closed")

// TransientError is a failure of the connection or of the server that is
// expected to pass. The caller tries again after a pause.
type TransientError struct{ Err error }

func (e *TransientError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *TransientError) Unwrap() error { return e.Err }

// Temporary reports true, for callers that do not know this package.
func (e *TransientError) Temporary() bool { return true }

// BusyError says that the stream of a run still holds tasks of another run
// with the same name.
type BusyError struct {
	Run      string
	UID      string // of the run that the tasks belong to
	Messages uint64
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("queue of run %s holds %d unfinished tasks of another run (uid %s)", e.Run, e.Messages, e.UID)
}

// Hint returns the ways on.
func (e *BusyError) Hint() string {
	return fmt.Sprintf("finish or cancel that run, give this one another name, or drop its queue with: nats stream rm %s", StreamName(e.Run))
}

// FullError says that the stream refused a task because a limit is reached.
type FullError struct{ Err error }

func (e *FullError) Error() string { return "the queue is full: " + e.Err.Error() }

// Unwrap returns what the server said.
func (e *FullError) Unwrap() error { return e.Err }

// Hint returns the ways on.
func (e *FullError) Hint() string {
	return "raise the limits of the stream (nats stream edit --max-bytes) or of the NATS account"
}

// VersionError says that a message was written by a newer build: its version
// or its kind of task is unknown here. Another worker may know it.
type VersionError struct {
	Version int
	Kind    tasks.Kind
}

func (e *VersionError) Error() string {
	if e.Version != tasks.EnvelopeVersion {
		return fmt.Sprintf("message has version %d, this build knows version %d", e.Version, tasks.EnvelopeVersion)
	}
	return fmt.Sprintf("message has unknown kind %q", clip(string(e.Kind)))
}

// MalformedError says that the body of a message is not an envelope.
type MalformedError struct {
	Subject string
	Err     error
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("message on %s is not a task: %v", clip(e.Subject), e.Err)
}

// Unwrap returns the reason.
func (e *MalformedError) Unwrap() error { return e.Err }

// MismatchError says that a message was published on the subject of another
// task than the one that it names.
type MismatchError struct {
	Subject string
	Run     string
	Task    tasks.ID
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("message on %s names task %s of run %s", clip(e.Subject), clip(string(e.Task)), clip(e.Run))
}

// codeStoreFailed is the server's code for a message that a limit of the
// stream keeps out; the text says which limit.
const codeStoreFailed jetstream.ErrorCode = 10077

// codeNoRoom is the server's code for a stream that asks for more storage than
// is free, and for one that goes beyond the account's limits.
const (
	codeNoRoom        jetstream.ErrorCode = 10023
	codeNoMemory      jetstream.ErrorCode = 10028
	codeNoStorage     jetstream.ErrorCode = 10047
	codeNoPeers       jetstream.ErrorCode = 10005
	codeTooManyTotal  jetstream.ErrorCode = 10027 // streams
	codeTooLarge      jetstream.ErrorCode = 10122 // for one stream of the account
	codeSubjectsTaken jetstream.ErrorCode = 10065
)

// lacksRoom reports whether a stream was refused because of its size, or
// because the account may have no more streams.
func lacksRoom(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains([]jetstream.ErrorCode{
		codeNoRoom, codeNoMemory, codeNoStorage, codeNoPeers, codeTooManyTotal, codeTooLarge,
	}, api.ErrorCode)
}

// classify gives an error of the client or of the server its type: ErrGone,
// ErrClosed, a TransientError, or the error as it is. An error of ctx itself
// stays what it is.
func classify(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case isAny(err, jetstream.ErrStreamNotFound, jetstream.ErrConsumerNotFound, jetstream.ErrConsumerDoesNotExist):
		return fmt.Errorf("%w (%w)", ErrGone, err)
	case isAny(err, nats.ErrConnectionClosed, nats.ErrConnectionDraining):
		return ErrClosed
	case isAny(err, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrStaleConnection,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, context.DeadlineExceeded,
		jetstream.ErrAsyncPublishTimeout, jetstream.ErrTooManyStalledMsgs, jetstream.ErrNoStreamResponse):
		return &TransientError{Err: err}
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.Code == http.StatusServiceUnavailable &&
		!isAny(err, jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount) {
		return &TransientError{Err: err}
	}
	return err
}

func isAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

func isTransient(err error) bool {
	_, ok := errors.AsType[*TransientError](err)
	return ok
}
