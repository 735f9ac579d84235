package pg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Side says which of the two databases a connection is for. Sessions on the
// source are read-only.
type Side string

// The two sides of a copy.
const (
	Source Side = "source"
	Target Side = "target"
)

// Options are the settings of [Connect].
type Options struct {
	Side     Side
	URI      string        // connection URI or key=value string; libpq's environment, service and password files apply
	Name     string        // application_name
	Database string        // in place of the one that the URI names, if it is not ""
	Timeout  time.Duration // bound on connecting; by default the URI's connect_timeout, or 30 s

	// Password returns the password and is asked for each connection, before it is
	// made; with nil the password is where libpq looks for it.
	Password func(ctx context.Context) (string, error)
}

// CredentialError is returned when the password that [Options.Password] is asked
// for cannot be had, or is refused. The next one may be right: the last may have
// expired a moment ago.
type CredentialError struct{ Err error }

// Error returns the text of the error beneath.
func (e *CredentialError) Error() string { return e.Err.Error() }

// Unwrap returns the error beneath.
func (e *CredentialError) Unwrap() error { return e.Err }

// Conn is a connection whose session has the settings that a faithful copy
// needs. It is not safe for concurrent use.
type Conn struct {
	*pgx.Conn
	Version int // server_version_num, for example 150020
	side    Side
	backend Backend
	moved   atomic.Int64

	// Pace, if not nil, is asked for leave whenever rows were read from the connection, and waits as long as that
	// is to take. It must be set before the connection is used.
	Pace   func(ctx context.Context, bytes int) error
	paused atomic.Bool
}

// Moved returns how many bytes of COPY data, and of large objects, went through
// the connection so far. It may be called while the connection is in use.
func (c *Conn) Moved() int64 { return c.moved.Load() }

// Move adds bytes to what [Conn.Moved] returns.
func (c *Conn) Move(bytes int) { c.moved.Add(int64(bytes)) }

// Paused reports whether the connection is not read from at the moment because
// [Conn.Pace] waits. It may be called while the connection is in use.
func (c *Conn) Paused() bool { return c.paused.Load() }

// Paid waits as long as the pace wants for the bytes that were read.
func (c *Conn) Paid(ctx context.Context, bytes int) error {
	if c.Pace == nil {
		return nil
	}
	c.paused.Store(true)
	defer c.paused.Store(false)
	return c.Pace(ctx, bytes)
}

// Backend is a server process that serves one session. A process id alone may
// be of another one by now.
type Backend struct {
	PID   int
	Start string // pg_stat_activity.backend_start, in the session's time zone, which is UTC
}

// Backend returns the server process that serves the connection.
func (c *Conn) Backend() Backend { return c.backend }

// Major returns the major version of the server.
func (c *Conn) Major() int { return c.Version / 10000 }

// Side returns which database the connection is for.
func (c *Conn) Side() Side { return c.side }

// PoolerError is returned when a connection goes through a connection pooler.
// Behind one that pools transactions, settings, snapshots and advisory locks end
// up in somebody else's session; behind one that pools sessions, nobody can tell
// that it does, and the processes that pgconvoy watches and ends are not those it
// knows.
type PoolerError struct {
	Side    Side
	Address string // host and port
}

func (e *PoolerError) Error() string {
	return fmt.Sprintf("the connection to the %s at %s goes through a connection pooler: the process id that it reported is not the server's", e.Side, e.Address)
}

// Hint says what to do about it.
func (e *PoolerError) Hint() string {
	return "connect to the server itself: another host or port (PgBouncer mostly listens on 6432, the server on 5432); a pooled address of a managed service has a direct one beside it"
}

// Connect opens a connection and prepares its session. The settings are made
// after the connection is there, so that a pooler which refuses startup
// parameters is recognised instead of by an obscure error: a pooler makes up the
// process id that it reports, and is refused with a [*PoolerError]. Errors never
// contain the password.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	cfg, err := o.config(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Side, err)
	}
	if o.Name != "" {
		cfg.RuntimeParams["application_name"] = o.Name
	}
	cfg.ConnectTimeout = cmp.Or(o.Timeout, cfg.ConnectTimeout, 30*time.Second)
	// A dead peer must free its locks within a minute or so, also when this side is the one that waits.
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}}
	cfg.DialFunc = dialer.DialContext
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", o.Side, o.refused(err))
	}
	c := &Conn{Conn: conn, side: o.Side}
	if err := c.prepareSession(ctx, o); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("prepare session on %s: %w", o.Side, err)
	}
	if uint32(c.backend.PID) != conn.PgConn().PID() {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, &PoolerError{Side: o.Side, Address: net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))}
	}
	return c, nil
}

// config parses the URI and asks for the password, if it is to be asked for.
func (o Options) config(ctx context.Context) (*pgx.ConnConfig, error) {
	cfg, err := ParseURI(o.URI)
	if err == nil && o.Database != "" {
		cfg.Database = o.Database
	}
	if err != nil || o.Password == nil {
		return cfg, err
	}
	if cfg.Password, err = o.Password(ctx); err != nil {
		return nil, &CredentialError{Err: err}
	}
	return cfg, nil
}

// refused marks the refusal of a password that was asked for.
func (o Options) refused(err error) error {
	var e *pgconn.PgError
	if o.Password != nil && errors.As(err, &e) && strings.HasPrefix(e.Code, "28") {
		return &CredentialError{Err: err}
	}
	return err
}

// ParseURI parses a connection URI or key=value string as libpq would. Its
// error leaves the connection string out, as that may hold a password.
func ParseURI(uri string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(uri)
	if err == nil {
		return cfg, nil
	}
	var parse *pgconn.ParseConfigError
	if !errors.As(err, &parse) {
		return nil, errors.New("parse connection URI: not a valid URI or key=value string")
	}
	// The error starts with the connection string, and a password with an unescaped delimiter
	// makes a piece of it look like another part, which the cause may quote.
	text := parse.Error()
	text = text[strings.LastIndex(text, "`: ")+len("`: "):]
	if what, _, syntax := strings.Cut(text, " ("); syntax && strings.HasPrefix(what, "failed to parse as ") {
		return nil, errors.New("parse connection URI: not a valid URI or key=value string; write characters such as / ? # % @ of a password as %2F and so on")
	}
	return nil, fmt.Errorf("parse connection URI: %s", text)
}

// prepareSession makes the settings that a copy needs whatever the server's,
// the database's or the role's defaults are.
func (c *Conn) prepareSession(ctx context.Context, o Options) error {
	version, err := ServerVersion(c.PgConn().ParameterStatus("server_version"))
	if err != nil {
		return err
	}
	c.Version = version
	encoding := "UTF8"
	if c.PgConn().ParameterStatus("server_encoding") == "SQL_ASCII" {
		encoding = "SQL_ASCII" // its bytes have no known encoding; they pass as they are, and a target that has one checks them
	}
	settings := []string{
		"client_encoding = " + QuoteLiteral(encoding),
		"search_path = ''",
		"default_transaction_isolation = 'read committed'", // a stricter default would break the ledger's protocol
		"default_transaction_deferrable = off",
		"datestyle = 'ISO'", "intervalstyle = 'postgres'", "extra_float_digits = 3", "bytea_output = 'hex'",
		"timezone = 'UTC'", "lc_monetary = 'C'", "xmloption = content",
		"standard_conforming_strings = on", "quote_all_identifiers = off",
		"array_nulls = on", "transform_null_equals = off", // NULL in an array would become text, and = NULL in a definition IS NULL
		"statement_timeout = 0", "lock_timeout = 0", "idle_in_transaction_session_timeout = 0",
		"row_security = off", // a policy then raises an error instead of hiding rows
		"tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3",
		"client_min_messages = warning",
		"jit = off", // compiling a query of the catalogs takes longer than the query, and is worth nothing to a scan
	}
	if c.Major() >= 14 {
		settings = append(settings, "idle_session_timeout = 0")
	}
	if c.Major() >= 17 {
		settings = append(settings, "transaction_timeout = 0")
	}
	switch o.Side {
	case Source:
		// A bound on unacknowledged data would end a source that waits for a slow target.
		// The caps say how many processes read at a time; every helper of a query would read its own catalog caches, too.
		settings = append(settings, "synchronize_seqscans = off", "default_transaction_read_only = on", "tcp_user_timeout = 0", "max_parallel_workers_per_gather = 0")
	case Target:
		settings = append(settings, "default_transaction_read_only = off", "synchronous_commit = off", "tcp_user_timeout = 60000",
			"check_function_bodies = false", "default_tablespace = ''", "default_table_access_method = heap")
	}
	sql := "SET " + strings.Join(settings, "; SET ")
	if o.Side == Target {
		sql += "; " + indexMemorySQL
	}
	// In one round trip; alone, pgx would prepare it for good, or insist on UTF8. There is no row if a pooler
	// has switched the session.
	sql += "; SELECT pid, backend_start::text FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()"
	results, err := c.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return err
	}
	for _, row := range results[len(results)-1].Rows {
		c.backend.Start = string(row[1])
		if c.backend.PID, err = strconv.Atoi(string(row[0])); err != nil {
			return err
		}
	}
	if c.Major() >= 14 {
		// Servers on some systems refuse it; then a vanished client is noticed when the server next writes to it.
		_, _ = c.Exec(ctx, "SET client_connection_check_interval = '10s'")
	}
	return nil
}

// indexMemorySQL raises maintenance_work_mem to a sixteenth of shared_buffers,
// at most 1 GB, where the server has less: the default suits VACUUM on a small
// machine, not the index builds of a large one. shared_buffers is what tells how
// large the machine is, commonly a quarter of it; so the few builds of a run
// that go on together stay within some percent of its memory.
const indexMemorySQL = `SELECT pg_catalog.set_config('maintenance_work_mem', (greatest(
	pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')),
	least(1073741824, pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')) / 16)) / 1024)::text || 'kB', false)`

// ServerVersion turns the server_version parameter, for example "15.20
// (Debian 15.20-1)" or "18beta1", into the number that server_version_num has.
func ServerVersion(text string) (int, error) {
	digits := text
	for i, r := range text {
		if (r < '0' || r > '9') && r != '.' {
			digits = text[:i]
			break
		}
	}
	major, minor, _ := strings.Cut(digits, ".")
	m, err := strconv.Atoi(major)
	if err != nil {
		return 0, fmt.Errorf("unknown server version %q", text)
	}
	n, _ := strconv.Atoi(minor)
	return m*10000 + n, nil
}

// QuoteLiteral quotes a string constant for use in SQL.
func QuoteLiteral(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// Exec runs one or more statements with the simple protocol and returns the
// command tag of the last one.
func (c *Conn) Exec(ctx context.Context, sql string) (pgconn.CommandTag, error) {
	results, err := c.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	if len(results) == 0 {
		return pgconn.CommandTag{}, nil
	}
	return results[len(results)-1].CommandTag, nil
}

// Discard closes the connection without waiting for what it is doing: the
// server rolls the open transaction back. The bound keeps a dead peer from
// holding up the caller.
func (c *Conn) Discard() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}
