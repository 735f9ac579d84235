package queue

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// What exists on the server. <run> is the name of the run, <id> the ID of a
// task, <stage> one of [tasks.Stages].
//
//	stream    PGCONVOY-<run>             work queue, one message per subject
//	consumer  <stage>                    durable, filter pgconvoy.<run>.task.<stage>.>
//	subject   pgconvoy.<run>.task.<id>   a task, as an envelope in JSON
//	subject   pgconvoy.<run>.event.<type>               an announcement, not stored
//	subject   pgconvoy.<run>.worker.status              asks all workers of the run
//	subject   pgconvoy.<run>.worker.<process>.status    asks one
//	subject   pgconvoy.<run>.worker.<process>.drain     tells one to drain
//	stream    PGCONVOY-DEAD              of all runs, one message per subject
//	subject   pgconvoy.<run>.dead.<id>   a task that failed for good
//	bucket    pgconvoy                   of all runs, in the stream KV_pgconvoy
//	key       <run>.run                  how far a run is
//	key       <run>.keeper.<process>     who holds the snapshot; expires
//	key       <run>.last                 the event with which it began or ended; expires
const (
	StreamPrefix  = "PGCONVOY-"
	SubjectPrefix = "pgconvoy."
	Bucket        = "pgconvoy"
	ServiceName   = "pgconvoy-worker"
	DeadStream    = StreamPrefix + "DEAD" // no run's name has capitals

	// Headers of a task, so that tools can tell messages apart without
	// decoding them. Workers trust the envelope alone.
	HeaderVersion = "Pgconvoy-V"    // v of the envelope
	HeaderKind    = "Pgconvoy-Kind" // kind of the envelope

	// Metadata of the stream.
	MetaRunUID   = "pgconvoy.run_uid"  // tells the run from others of its name
	MetaVersion  = "pgconvoy.version"  // of the planner that made it
	MetaSource   = "pgconvoy.source"   // fingerprint of the source
	MetaTarget   = "pgconvoy.target"   // fingerprint of the target
	MetaDatabase = "pgconvoy.database" // of this name on both sides, in a run of several
	MetaFollow   = "pgconvoy.follow"   // true if others come after it
)

// Limits.
const (
	// DefaultAckWait is how long a task stays leased without a heartbeat. It
	// outlasts the election of a new leader in a cluster, which takes about
	// five seconds.
	DefaultAckWait = 60 * time.Second

	// DefaultMaxBytes bounds the stream. It is far above any plan, because a
	// full stream refuses the tasks that a finished task makes ready.
	DefaultMaxBytes = 1 << 30

	// MaxTaskBytes bounds one message. An envelope has some hundred bytes.
	MaxTaskBytes = 256 << 10

	// MaxSubjectBytes bounds a subject. Four identifiers of 63 bytes, each
	// byte written as three, stay well below; near 4 KiB a server closes the
	// connection.
	MaxSubjectBytes = 2048

	// KeeperTTL is how long a keeper is listed after it was registered. A
	// holder registers again three times in it.
	KeeperTTL = 45 * time.Second

	// LastTTL is how long it is known how the last run of a name ended. A
	// container may wait that long for a machine, and come when the queue is gone.
	LastTTL = time.Hour

	markerTTL       = time.Minute // how long the bucket tells watchers that a key was removed
	maxText         = 200         // bytes of a text of unknown origin in an error
	maxReason       = 1000        // bytes of the reason in a dead letter
	maxStatus       = 512 << 10   // bytes of a status, half of what a server lets pass
	readBatch       = 256         // stored messages in one answer
	publishWindow   = 1000        // messages on the way in one Publish
	maxWaiting      = 8192        // slots that may wait on one stage; cannot be changed later
	duplicateWindow = 10 * time.Minute
	answerBuffer    = 2048 // answers to one question that wait to be read
	endBuffer       = 256  // ends of tasks that wait for a slow reader

	reconnectWait    = 500 * time.Millisecond
	pingInterval     = 20 * time.Second
	maxPingsOut      = 2
	connectTimeout   = 5 * time.Second
	drainTimeout     = 10 * time.Second
	apiTimeout       = 10 * time.Second
	probeTimeout     = 2 * time.Second
	publishTimeout   = 30 * time.Second
	heartbeatTimeout = time.Second
	ackTimeout       = 5 * time.Second

	pullHeartbeat   = 5 * time.Second  // the server's sign of life in a long pull
	pullGrace       = 2 * time.Second  // after which an unanswered pull is given up
	unsupportedWait = 30 * time.Second // until another worker may take what this build does not know
	openPollMin     = 100 * time.Millisecond
	openPollMax     = 500 * time.Millisecond // databases of a run follow each other as fast
)

// The oldest server that has everything used here.
const (
	minServerMajor = 2
	minServerMinor = 11
)

// StreamName returns the name of the stream of a run.
func StreamName(run string) string { return StreamPrefix + run }

// Subject returns the subject of a task of a run.
func Subject(run string, id tasks.ID) string { return taskPrefix(run) + string(id) }

func taskPrefix(run string) string { return SubjectPrefix + run + ".task." }
func deadPrefix(run string) string { return SubjectPrefix + run + ".dead." }

func eventSubject(run string, t tasks.EventType) string {
	return SubjectPrefix + run + ".event." + string(t)
}

// Endpoints of the service of a worker process.
const (
	endpointStatus = "status"
	endpointDrain  = "drain"
	endpointFleet  = "fleet"
)

// The bucket is a stream; a key is the tail of a subject.
const (
	bucketStream = "KV_" + Bucket
	keyPrefix    = "$KV." + Bucket + "."
)

func statusKey(run string) string     { return keyPrefix + run + ".run" }
func keeperKey(run, id string) string { return keyPrefix + run + ".keeper." + id }
func lastKey(run string) string       { return keyPrefix + run + ".last" }

func fleetSubject(run string) string { return SubjectPrefix + run + ".worker.status" }
func workerSubject(run, id, endpoint string) string {
	return SubjectPrefix + run + ".worker." + id + "." + endpoint
}

func stageFilter(run string, s tasks.Stage) string { return taskPrefix(run) + string(s) + ".>" }

// checkRun reports whether a run's name can be part of a stream's name and of
// a subject: 1 to 32 of a-z, 0-9 and -.
func checkRun(name string) error {
	if len(name) >= 1 && len(name) <= 32 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" {
		return nil
	}
	return tasks.WithHint(fmt.Errorf("run name %q is not valid", name), "use 1 to 32 of the characters a-z, 0-9 and -")
}

// checkID reports whether an ID can be the tail of a subject and is dispatched
// by one of the consumers: a stage, and at least one more token.
func checkID(id tasks.ID) error {
	first, rest, _ := strings.Cut(string(id), ".")
	if !tasks.Stage(first).Valid() {
		return fmt.Errorf("task id %q does not begin with a stage", clip(string(id)))
	}
	for token := range strings.SplitSeq(rest, ".") {
		if !isToken(token) {
			return fmt.Errorf("task id %q is not made of subject tokens", clip(string(id)))
		}
	}
	return nil
}

// checkProcess reports whether the ID of a process can be a token of a subject
// and of a key.
func checkProcess(id string) error {
	if !isToken(id) {
		return fmt.Errorf("process id %q is not a subject token", clip(id))
	}
	return nil
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isTokenRune(r) })
}

// isTokenRune reports whether [tasks.Token] may write the character.
func isTokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '='
}

// clip shortens text of unknown origin for an error message.
func clip(s string) string { return clipTo(s, maxText) }

func clipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
