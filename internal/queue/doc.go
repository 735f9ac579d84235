// Package queue hands tasks from the planner to workers through NATS
// JetStream. One work-queue stream per run holds what is ready and not done;
// one durable consumer per stage dispatches it, and the consumer's
// MaxAckPending caps how many tasks of the stage run at once, over all workers.
//
// The queue is disposable: the ledger is the truth, so a lost, doubled or
// purged message costs time and nothing else. It gives no exclusivity either;
// an advisory lock in the target database does.
//
// Names and limits of everything on the server are in names.go. What talks to
// the server goes to the file of its noun: the connection to conn.go, the
// stream and its consumers to stream.go, what an operator does with them to
// control.go, sending to publish.go, receiving to pull.go and delivery.go,
// announcements to events.go, questions to workers and their answers to
// service.go. What all runs share is made in shared.go and read
// with stored.go: the bucket, with who holds the snapshot (keeper.go) and how
// far a run is (status.go), and the letters of tasks that failed (dead.go).
package queue
