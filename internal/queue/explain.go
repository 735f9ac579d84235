package queue

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// explainConnect says in an operator's words why the first connection failed,
// and what to do about it.
func explainConnect(o Options, err error) error {
	wrapped := fmt.Errorf("connect to NATS at %s: %w", o.address(), err)
	switch {
	case isAny(err, context.Canceled, context.DeadlineExceeded):
		return tasks.WithHint(wrapped, "the server did not answer in time; check address, port and firewall")
	case isAny(err, nats.ErrNoServers, nats.ErrTimeout):
		return tasks.WithHint(wrapped, "nothing accepts connections there; start nats-server with JetStream (nats-server -js), or check the address")
	case isAny(err, nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired):
		return tasks.WithHint(wrapped, "the server refuses the credentials; check the user, password, token, credentials file or NKey for NATS")
	case isTLS(err):
		return tasks.WithHint(wrapped, "check that both sides want TLS, that the CA signed the server's certificate, and that it names this host")
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return tasks.WithHint(wrapped, "the name of the server cannot be resolved; check the address")
	}
	if o.InProcess != nil {
		return tasks.WithHint(wrapped, "the server in this process refuses the connection; it may want a user and password")
	}
	return tasks.WithHint(wrapped, "check the address of the NATS server, the credentials for it, and whether it wants TLS or a client certificate")
}

// isTLS reports whether the two sides disagree about TLS or a certificate.
func isTLS(err error) bool {
	if isAny(err, nats.ErrSecureConnRequired, nats.ErrSecureConnWanted) {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.OpError](err); ok && strings.Contains(err.Error(), "tls: ") {
		return true
	}
	return strings.Contains(err.Error(), "nats: error parsing client certificate") ||
		strings.Contains(err.Error(), "nats: error loading or parsing rootCA")
}

// explainJetStream says that the server, or the account, has no JetStream.
func explainJetStream(o Options, err error) error {
	wrapped := fmt.Errorf("use JetStream of NATS at %s: %w", o.address(), err)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return tasks.WithHint(wrapped, "JetStream is not enabled for this account; enable it in the configuration of the account")
	}
	return tasks.WithHint(wrapped, "JetStream is not enabled on the server; start it with -js or a jetstream block in its configuration")
}

// explainSilence says why nobody answered, if the server has refused to pass the
// request on: it tells that beside the request, and whoever asked waits in vain.
func (c *Conn) explainSilence(err error) error {
	refused := c.nc.LastError()
	if !isAny(err, context.DeadlineExceeded, nats.ErrTimeout) || !errors.Is(refused, nats.ErrPermissionViolation) {
		return err
	}
	return tasks.WithHint(fmt.Errorf("%w (%w)", err, refused),
		"the NATS user may not do what a planner does: deployments/nats-server.conf has the permissions, there for a run called main")
}

// explainCreate adds a hint to the refusal of a stream or a consumer.
func explainCreate(o Options, run string, err error) error {
	if isAny(err, jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount) {
		return explainJetStream(o, err)
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return err
	}
	switch api.ErrorCode {
	case codeNoRoom, codeNoMemory, codeNoStorage:
		return tasks.WithHint(err, fmt.Sprintf("the stream asks for %d MiB; give the server or the account more storage, or lower the limit of the stream", o.MaxBytes>>20))
	case codeSubjectsTaken:
		return tasks.WithHint(err, fmt.Sprintf("another stream of this account takes subjects below %s or %s; remove it, or give the run another name", SubjectPrefix+run, keyPrefix))
	}
	return err
}
