package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// ConnectFinding turns an error of pg.Connect into a finding, so that both
// sides' problems can be reported together. Nothing in it holds a password.
func ConnectFinding(side pg.Side, err error) Finding {
	var pooler *pg.PoolerError
	if errors.As(err, &pooler) {
		return blocker("proxy", pooler.Hint(), "%v", pooler)
	}
	at := endpoint{side: side}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		cfg := connect.Config
		at.address, at.host, at.user, at.database = address(cfg.Host, cfg.Port), cfg.Host, cfg.User, cfg.Database
		at.noPassword = cfg.Password == ""
		at.certified = cfg.TLSConfig != nil && len(cfg.TLSConfig.Certificates) > 0
	}
	what, hint := at.explain(err)
	return blocker(string(side)+"-connection", hint, "%s", what)
}

// endpoint is what somebody tried to connect to. Without a ConnectError, only
// side is known.
type endpoint struct {
	side                          pg.Side
	address, host, user, database string
	certified                     bool // with a certificate of its own
	noPassword                    bool // was found anywhere
}

// String names the side, and the address if it is known.
func (at endpoint) String() string {
	if at.address == "" {
		return string(at.side)
	}
	return string(at.side) + " at " + at.address
}

func (at endpoint) explain(err error) (what, hint string) {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return at.explainServer(server)
	}
	var credential *pg.CredentialError
	if errors.As(err, &credential) {
		return oneLine(err), "the setting must yield the password of the role, in one line, whenever a connection is made"
	}
	if what, hint, ok := at.explainTLS(err); ok {
		return what, hint
	}
	if what, hint, ok := at.explainNetwork(err); ok {
		return what, hint
	}
	return oneLine(err), fmt.Sprintf("check %s.uri", at.side)
}

// explainServer explains what the server said while connecting.
func (at endpoint) explainServer(e *pgconn.PgError) (what, hint string) {
	role := quoteIdent(at.user)
	said := fmt.Sprintf("the %s says: %s", at, e.Message)
	switch e.Code {
	case "28P01":
		if at.noPassword {
			return fmt.Sprintf("the %s wants a password of role %s, and none was given", at, role),
				fmt.Sprintf("give it in %[1]s.password_file, a line of ~/.pgpass, PGPASSWORD or %[1]s.uri, or have %[1]s.password_command print it", at.side)
		}
		return fmt.Sprintf("the %s refuses the password of role %s", at, role),
			fmt.Sprintf("give the right one in %[1]s.uri, %[1]s.password_file, PGPASSWORD or ~/.pgpass, have %[1]s.password_command print it, or on the server: ALTER ROLE %[2]s PASSWORD '…'", at.side, role)
	case "28000":
		if strings.Contains(e.Message, "certificate") {
			return said, fmt.Sprintf("give the certificate of the role and its key: sslcert=FILE and sslkey=FILE in %s.uri; its common name must be %s, or be mapped to it in pg_ident.conf", at.side, role)
		}
		return said, fmt.Sprintf("create the role if it is missing (CREATE ROLE %s LOGIN), and let it in from this host in pg_hba.conf of that server, then SELECT pg_reload_conf()", role)
	case "3D000":
		hint := fmt.Sprintf("correct the name in %s.uri", at.side)
		if at.side == pg.Target {
			hint += fmt.Sprintf(", or on that server: CREATE DATABASE %s TEMPLATE template0; planner run makes it with create_database: true", quoteIdent(at.database))
		}
		return fmt.Sprintf("database %q does not exist on the %s", at.database, at), hint
	case "53300":
		return said, "close other sessions there, or raise the limit: max_connections of the server, CONNECTION LIMIT of the role or the database"
	case "57P03":
		return said, "wait until it is up (pg_isready says when), then start again"
	case "42501":
		return said, fmt.Sprintf("on that server: GRANT CONNECT ON DATABASE %s TO %s;", quoteIdent(at.database), role)
	case "55000":
		return said, fmt.Sprintf("on that server: ALTER DATABASE %s ALLOW_CONNECTIONS true", quoteIdent(at.database))
	case "08P01", "0A000":
		return said, "if this is a connection pooler, connect to the server itself"
	}
	hint = e.Hint
	if hint == "" {
		hint = fmt.Sprintf("check %s.uri, and the log of that server (SQLSTATE %s)", at.side, e.Code)
	}
	return said, hint
}

// explainTLS explains that no encrypted connection came about.
func (at endpoint) explainTLS(err error) (what, hint string, ok bool) {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		remote    *net.OpError
		verify    *tls.CertificateVerificationError
	)
	said := fmt.Sprintf("no TLS connection to the %s: ", at)
	switch {
	case errors.As(err, &authority):
		return said + authority.Error(), fmt.Sprintf("give the certificate of its authority: sslrootcert=FILE in %s.uri", at.side), true
	case errors.As(err, &name):
		return said + name.Error(), fmt.Sprintf("use a host name of the certificate in %s.uri, or sslmode=verify-ca", at.side), true
	case errors.As(err, &invalid), errors.As(err, &verify):
		return said + oneLine(errors.Unwrap(err)), "have the server's certificate renewed", true
	case errors.As(err, &record):
		return said + "what answers there does not speak TLS as PostgreSQL does", fmt.Sprintf("check host and port in %s.uri", at.side), true
	case errors.As(err, &remote) && (remote.Op == "remote error" || at.certified && remote.Op == "write"):
		// An alert, whose type is not exported; where it comes while the first message is written, a reset may overtake it.
		return said + "the server ends it: " + remote.Err.Error(),
			fmt.Sprintf("sslcert=FILE and sslkey=FILE in %s.uri must be a certificate, and its key, that an authority in the server's ssl_ca_file has signed", at.side), true
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return said + "the server has none", fmt.Sprintf("set ssl = on and a certificate on that server, or in a trusted network sslmode=prefer in %s.uri", at.side), true
	}
	return "", "", false
}

// explainNetwork explains that no connection came about at all.
func (at endpoint) explainNetwork(err error) (what, hint string, ok bool) {
	var lookup *net.DNSError
	uri := fmt.Sprintf("check host and port in %s.uri", at.side)
	switch {
	case errors.As(err, &lookup):
		return fmt.Sprintf("the host name of the %s, %q, cannot be resolved", at.side, lookup.Name), uri + ", and the resolver of this machine", true
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing accepts connections for the %s", at),
			uri + "; is the server running, and does its listen_addresses name that address?", true
	case errors.Is(err, os.ErrNotExist):
		return fmt.Sprintf("no server socket for the %s", at), uri + "; is the server running, and is that its unix_socket_directories?", true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("there is no route to the %s", at), uri + ", and the network between", true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), pgconn.Timeout(err):
		return fmt.Sprintf("the %s does not answer", at), uri + "; a firewall may drop packets to it", true
	}
	return "", "", false
}

// address joins host and port, or for a folder of sockets names the socket.
func address(host string, port uint16) string {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") {
		return fmt.Sprintf("%s/.s.PGSQL.%d", host, port)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// oneLine flattens the text of an error that has one line per address tried.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
