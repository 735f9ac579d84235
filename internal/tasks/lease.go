package tasks

import "time"

// Session is a server process that works for a task. A process id alone may be
// of another session by now, so the time that it began at belongs to it.
type Session struct {
	PID   int
	Start string // pg_stat_activity.backend_start in UTC
}

// Lease is a task that a worker has in hand, as the ledger knows it.
type Lease struct {
	Task   ID
	Kind   Kind
	Weight int64 // of the task, in bytes
	Worker string
	Target Session
	Source Session       // zero if the task has none there
	Bytes  int64         // of COPY data so far
	Since  time.Duration // how long the task has been in hand
	Silent time.Duration // since the worker was last heard of
	Still  time.Duration // since bytes last grew
}

// Holder is the session that holds the lock of a task, and the lease of its
// worker if there is one.
type Holder struct {
	Worker string
	Target Session
	Source Session
	Silent time.Duration // since the worker was last heard of
}

// SnapshotRef names the snapshot that rows are to be read in.
type SnapshotRef struct {
	ID   int    // its number in the ledger
	Name string // what SET TRANSACTION SNAPSHOT takes, as long as the planner that took it lives
	Text string // pg_current_snapshot(), by which a session can tell that it has the right one

	// Timeline and LSN are where the source, a standby that stood still, had replayed to; "" of any other source.
	Timeline, LSN string
}

// Pulse is what a worker process says of itself, every few seconds.
type Pulse struct {
	Worker         string  // the name of the process
	Hand           []Lease // what it has in hand
	BytesPerSecond int64   // of rows, since the last time
	Slowed         bool    // it could have moved more, had its pace let it
}

// Orders are what a worker process is told whenever it says that it is alive.
type Orders struct {
	Run      RunState
	Snapshot SnapshotRef // to be kept alive; zero if no row will be read any more
	Pace     Pace        // of all its copies together
	Lean     bool        // no session is to be kept that no task uses
}
