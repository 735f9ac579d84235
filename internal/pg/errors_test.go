package pg_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]pg.Outcome{
		"08000": pg.Transient, "08006": pg.Transient, "08P01": pg.Transient, "40001": pg.Transient, "40P01": pg.Transient, "53300": pg.Transient,
		"55P03": pg.Transient, "57014": pg.Transient, "57P01": pg.Transient, "57P02": pg.Transient, "57P03": pg.Transient,
		"53100": pg.Final, "54000": pg.Final, "22P02": pg.Final, "22021": pg.Final, "23505": pg.Final, "23503": pg.Final, "23514": pg.Final,
		"42501": pg.Final, "42P01": pg.Final, "28P01": pg.Final, "3D000": pg.Final, "0A000": pg.Final, "25006": pg.Final,
		"XX000": pg.Unknown, "XX001": pg.Unknown, "53200": pg.Unknown, "P0001": pg.Unknown, "55000": pg.Unknown, "58030": pg.Unknown, "": pg.Unknown, "2": pg.Unknown,
	} {
		err := fmt.Errorf("copy: %w", &pg.RelayError{Err: &pgconn.PgError{Code: code}})
		require.Equal(t, want, pg.Classify(err), code)
		require.True(t, pg.IsCode(err, code))
	}
	locks := &pgconn.PgError{Code: "53200", Message: "out of shared memory"}
	require.Equal(t, pg.Final, pg.Classify(locks))
	require.Contains(t, pg.Hint(locks), "max_locks_per_transaction")
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED,
		&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, &net.DNSError{},
	} {
		require.Equal(t, pg.Transient, pg.Classify(fmt.Errorf("x: %w", err)), "%v", err)
	}
	require.Equal(t, pg.Unknown, pg.Classify(errors.New("something")))
	require.True(t, pg.IsInterrupt(fmt.Errorf("x: %w", context.Canceled)))
	require.False(t, pg.IsInterrupt(io.EOF))
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("load: %w", &pgconn.PgError{Severity: "ERROR", Code: "23505", Message: "m", Detail: "d", Where: "COPY a, line 7\nSQL function", Hint: "h"})
	require.Equal(t, "load: ERROR: m (SQLSTATE 23505); detail: d; context: COPY a, line 7; hint: h", pg.Describe(err))
	require.Equal(t, "plain", pg.Describe(errors.New("plain")))
	require.Contains(t, pg.Hint(err), "REINDEX")
	require.Empty(t, pg.Hint(io.EOF))
}

// TestClassifyDeadSession uses a session that the server has ended.
func TestClassifyDeadSession(t *testing.T) {
	t.Parallel()
	p := newPair(t, "")
	p.dst.Exec(t, fmt.Sprintf("SELECT pg_terminate_backend(%d, 10000)", p.target.PgConn().PID()))
	_, err := p.target.Exec(t.Context(), "SELECT 1")
	require.Equal(t, pg.Transient, pg.Classify(err), "%v", err)
	_, err = p.target.Exec(t.Context(), "SELECT 1")
	require.Equal(t, pg.Transient, pg.Classify(err), "the same connection again: %v", err)
	_, err = pg.Relay(t.Context(), p.source, p.target, "COPY (SELECT 1) TO STDOUT", "COPY public.a FROM STDIN")
	require.Equal(t, pg.Transient, pg.Classify(err), "%v", err)
}
