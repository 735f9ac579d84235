package tasks

import (
	"encoding/json"
	"fmt"
	"time"
)

// EventVersion is the version of [Event] that this build writes. Fields may come
// to be without a new one.
const EventVersion = 1

// EventType says what happened; it is the end of the event's subject.
type EventType string

// The types of events. Those of a database are sent of each of several, and those of
// the run then of all of them together. Those of verify are of a comparison, which is a run
// of its own.
const (
	EventTaskDone    EventType = "task.done"
	EventTaskRetried EventType = "task.retried"
	EventTaskDead    EventType = "task.dead"
	EventStageDone   EventType = "stage.done"

	EventRunStarted   EventType = "run.started"
	EventRunDone      EventType = "run.done"
	EventRunFailed    EventType = "run.failed"
	EventRunCancelled EventType = "run.cancelled"
	EventRunStalled   EventType = "run.stalled"

	EventDatabaseStarted   EventType = "database.started"
	EventDatabaseDone      EventType = "database.done"
	EventDatabaseFailed    EventType = "database.failed"
	EventDatabaseCancelled EventType = "database.cancelled"

	EventVerifyStarted EventType = "verify.started"
	EventVerifyDone    EventType = "verify.done"
	EventVerifyDiffers EventType = "verify.differs"
	EventVerifyFailed  EventType = "verify.failed"
)

// Event is an announcement of what happened in a run. It may be lost, and may come
// twice: the ledger is the truth. Whoever reaches the queue can read it, so it has
// names and numbers, and neither SQL nor rows. Numbers that are zero are left out.
type Event struct {
	Version  int       `json:"v"`
	Type     EventType `json:"type"`
	Run      string    `json:"run"`
	RunUID   string    `json:"run_uid"`
	Database string    `json:"database,omitempty"` // which one, if the run is of several
	At       time.Time `json:"at"`

	Task    ID            `json:"task,omitempty"`
	Kind    Kind          `json:"kind,omitempty"`
	Stage   Stage         `json:"stage,omitempty"`
	Worker  string        `json:"worker,omitempty"`
	Attempt int           `json:"attempt,omitempty"`  // how many tries have failed
	Delay   time.Duration `json:"delay_ns,omitempty"` // until the next try
	Reason  string        `json:"reason,omitempty"`   // in words that the queue may see

	Resumed   bool           `json:"resumed,omitempty"`   // another planner had begun it
	Tasks     map[string]int `json:"tasks,omitempty"`     // how many are done, failed, and pending
	Databases map[string]int `json:"databases,omitempty"` // of several: how many are done, and open
	Level     string         `json:"level,omitempty"`     // of a comparison: rows or digest
	Tables    map[string]int `json:"tables,omitempty"`    // of a comparison: how many are compared, and how many of them differ
	Rows      int64          `json:"rows,omitempty"`
	Bytes     int64          `json:"bytes,omitempty"`   // of COPY data
	Took      time.Duration  `json:"took_ns,omitempty"` // the task, or the run up to now
}

// Event returns an event of the run, without what it is about.
func (r RunID) Event(t EventType, at time.Time) Event {
	return Event{Version: EventVersion, Type: t, Run: r.Name, RunUID: r.UID, Database: r.Database, At: at.UTC()}
}

// MarshalJSON adds the text of [Event.String], which chat tools show.
func (e Event) MarshalJSON() ([]byte, error) {
	type fields Event
	return json.Marshal(struct {
		fields
		Text string `json:"text"`
	}{fields(e), e.String()})
}

// String says in one line what happened.
func (e Event) String() string {
	who := "run " + e.Run
	if e.Database != "" {
		who += ", database " + QuoteIdent(e.Database)
	}
	return who + ": " + e.what()
}

func (e Event) what() string {
	switch e.Type {
	case EventTaskDone:
		return fmt.Sprintf("task %s is done%s", e.Task, e.amount())
	case EventTaskRetried:
		return fmt.Sprintf("task %s is tried again in %s, attempt %d failed: %s", e.Task, e.Delay, e.Attempt, e.Reason)
	case EventTaskDead:
		return fmt.Sprintf("task %s failed for good: %s", e.Task, e.Reason)
	case EventStageDone:
		return fmt.Sprintf("stage %s is done, %s", e.Stage, Plural(e.Tasks["done"], "task"))
	case EventRunStarted, EventDatabaseStarted:
		if e.Resumed {
			return "goes on"
		}
		return "begins"
	case EventRunDone, EventDatabaseDone:
		return "complete" + e.amount()
	case EventRunFailed, EventDatabaseFailed:
		return "not complete: " + e.missing() + "; planner status says more"
	case EventRunCancelled, EventDatabaseCancelled:
		return "cancelled: " + e.missing()
	case EventRunStalled:
		if e.Task != "" {
			return fmt.Sprintf("stalled: task %s on %s: %s", e.Task, e.Worker, e.Reason)
		}
		return "stalled: " + e.Reason
	case EventVerifyStarted:
		return "comparison begins"
	case EventVerifyDone, EventVerifyDiffers:
		return fmt.Sprintf("%s of %d tables compared%s: %d differ", e.Level, e.Tables["compared"], e.amount(), e.Tables["different"])
	case EventVerifyFailed:
		return "comparison is not complete; what planner verify has printed says why"
	}
	return string(e.Type)
}

func (e Event) amount() string {
	if e.Took == 0 {
		return ""
	}
	return fmt.Sprintf(", %d rows in %s", e.Rows, e.Took.Round(time.Millisecond))
}

// missing says what is not done.
func (e Event) missing() string {
	switch {
	case e.Databases != nil:
		return fmt.Sprintf("%d of %d databases are missing", e.Databases["open"], e.Databases["open"]+e.Databases["done"])
	case e.Tasks != nil:
		return fmt.Sprintf("%s failed, %d not done", Plural(e.Tasks["failed"], "task"), e.Tasks["pending"])
	}
	return "its planner could not ask what is missing"
}
