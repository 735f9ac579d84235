package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Outcome says what trying again can do about an error.
type Outcome int

// The outcomes of [Classify].
const (
	Unknown   Outcome = iota // a few more tries are worth it
	Transient                // it passes: retry with backoff
	Final                    // it will fail in the same way every time
)

// Classify sorts an error by its SQLSTATE. The list is by code, not by class:
// 53100 (disk full) must fail at once although 53300 (too many connections),
// of the same class, passes.
func Classify(err error) Outcome {
	var pooler *PoolerError
	if errors.As(err, &pooler) {
		return Final
	}
	var credential *CredentialError
	if errors.As(err, &credential) && !IsInterrupt(err) {
		return Transient
	}
	var e *pgconn.PgError
	if errors.As(err, &e) {
		if e.Code == "53200" && strings.Contains(e.Message, "shared memory") {
			return Final // the lock table is full; memory itself may be free again in a while
		}
		if tooWide(e) {
			return Final
		}
		return classifyCode(e.Code)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &connect), errors.As(err, &network),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNREFUSED),
		pgconn.SafeToRetry(err) && !IsInterrupt(err): // nothing was sent, as the connection was closed already
		return Transient
	}
	return Unknown
}

func classifyCode(code string) Outcome {
	switch code {
	case "40001", "40P01", // serialization failure, deadlock
		"53300",                   // too many connections
		"55P03",                   // lock not available
		"57014",                   // statement cancelled
		"57P01", "57P02", "57P03": // shut down, crash, starting up
		return Transient
	case "53100", // disk full
		"54000", "54001": // program limit exceeded
		return Final
	}
	switch code[:min(2, len(code))] {
	case "08": // connection exceptions
		return Transient
	case "22", "23", "42", "0A", "3F", "3D", "28", "25", "2B", "44": // data, integrity, syntax or access, …
		return Final
	}
	return Unknown
}

// IsCode reports whether err is a server error with the SQLSTATE.
func IsCode(err error, code string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == code
}

// IsSnapshotLost reports whether err says that the exported snapshot is no
// longer there. The code differs between majors, so the text decides for the
// codes that others share.
func IsSnapshotLost(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case "22023", "42704", "55000":
		return strings.Contains(e.Message, "snapshot")
	}
	return false
}

// Describe returns the message of err for a person: for a server error its
// code, detail and place, which its Error method leaves out.
func Describe(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err.Error()
	}
	var b strings.Builder
	b.WriteString(err.Error())
	if e.Detail != "" {
		fmt.Fprintf(&b, "; detail: %s", e.Detail)
	}
	if e.Where != "" {
		fmt.Fprintf(&b, "; context: %s", firstLine(e.Where))
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "; hint: %s", e.Hint)
	}
	return b.String()
}

// Hint returns what a person can do about err, "" if nothing is known.
func Hint(err error) string {
	var pooler *PoolerError
	if errors.As(err, &pooler) {
		return pooler.Hint()
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return ""
	}
	if tooWide(e) {
		return "the row is larger in text form than the 1 GB that a server can hold at once: a bytea doubles in it; store the value in pieces, or leave the table out"
	}
	switch e.Code {
	case "53100":
		return "free or add disk space on the target, then start again"
	case "53200":
		if strings.Contains(e.Message, "shared memory") {
			return "raise max_locks_per_transaction on that server and restart it"
		}
	case "23505":
		return "the source holds rows that its own unique index would refuse; its index is probably corrupt: REINDEX it there and remove the duplicates"
	case "23503":
		return "the source holds rows that its own foreign key would refuse; mend them there, or make the constraint NOT VALID"
	case "40001":
		if strings.Contains(e.Message, "recovery") {
			return "the server is a standby, and this was in the way of its replay: hot_standby_feedback = on there, or a longer max_standby_streaming_delay, makes that rarer"
		}
	case "42501":
		return "grant the missing privilege to the role that pgconvoy connects as"
	}
	return ""
}

// tooWide reports whether the server could not hold the text form of one row.
// It says so with the code of an internal error.
func tooWide(e *pgconn.PgError) bool {
	return e.Code == "XX000" && strings.Contains(e.Message, "invalid memory alloc request size") ||
		e.Code == "54000" && strings.Contains(e.Message, "string buffer")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// IsInterrupt reports whether err comes from a cancelled context rather than
// from a server.
func IsInterrupt(err error) bool {
	return errors.Is(err, context.Canceled)
}
