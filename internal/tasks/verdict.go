package tasks

import (
	"errors"
	"time"
)

// RetryError says that the task may succeed later, and when to try again.
type RetryError struct {
	Delay time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *RetryError) Unwrap() error { return e.Err }

// DiscardError says that the task will fail in the same way every time.
type DiscardError struct{ Err error }

func (e *DiscardError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *DiscardError) Unwrap() error { return e.Err }

// Retry marks err as worth another attempt after the delay.
func Retry(delay time.Duration, err error) error { return &RetryError{Delay: delay, Err: err} }

// Discard marks err as final.
func Discard(err error) error { return &DiscardError{Err: err} }

// PostponeError says that the task could not even begin: it is handed back for a
// while, and that is no attempt.
type PostponeError struct {
	Delay time.Duration
	Err   error
}

func (e *PostponeError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *PostponeError) Unwrap() error { return e.Err }

// Postpone marks err as no fault of the task, which is to be delivered again
// after the delay.
func Postpone(delay time.Duration, err error) error { return &PostponeError{Delay: delay, Err: err} }

// HintError adds advice for a person to an error: what to do about it.
type HintError struct {
	Err    error
	Advice string
}

func (e *HintError) Error() string { return e.Err.Error() }

// Unwrap returns the error that the advice is about.
func (e *HintError) Unwrap() error { return e.Err }

// Hint returns the advice.
func (e *HintError) Hint() string { return e.Advice }

// WithHint adds advice to err; nil stays nil.
func WithHint(err error, advice string) error {
	if err == nil {
		return nil
	}
	return &HintError{Err: err, Advice: advice}
}

// ErrSnapshotLost is returned when no session holds the run's snapshot any more,
// or none that could be found.
var ErrSnapshotLost = errors.New("nobody holds the snapshot of the run any more")

// ErrBusy is returned when another worker holds the task's lock.
var ErrBusy = errors.New("task is held by another worker")

// SplitError says that the task cannot be done as a whole and that the tasks
// it is split into should be tried in its place.
type SplitError struct {
	Into []Task
	Err  error
}

func (e *SplitError) Error() string { return e.Err.Error() }

// Unwrap returns why the task could not be done as a whole.
func (e *SplitError) Unwrap() error { return e.Err }
