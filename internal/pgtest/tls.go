package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a certificate authority of a test.
type Authority struct {
	// Root is the path of its own certificate.
	Root string

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority whose files live as long as the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of " + t.Name()}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(t, template)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("parse certificate: %v", err)
	}
	a.cert = cert
	a.Root = a.write(t, "root.crt", pemOf("CERTIFICATE", der))
	return a
}

// Issue makes a certificate for a server with the given host names and
// addresses, or for a client whose role is the common name, and its key, both
// as PEM.
func (a *Authority) Issue(t testing.TB, commonName string, hosts ...string) (cert, key []byte) {
	t.Helper()
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: commonName},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, private := a.sign(t, template)
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatalf("encode key: %v", err)
	}
	return pemOf("CERTIFICATE", der), pemOf("EC PRIVATE KEY", keyDER)
}

// Client makes a certificate for a role and returns the paths of it and of its
// key.
func (a *Authority) Client(t testing.TB, role string) (cert, key string) {
	t.Helper()
	certPEM, keyPEM := a.Issue(t, role)
	return a.write(t, role+".crt", certPEM), a.write(t, role+".key", keyPEM)
}

// Server returns the options of a cluster that accepts TLS with a certificate
// for the given host names and addresses, and knows clients of this authority.
// TCP connections without TLS are trusted as everywhere in tests, unless the
// caller adds rules.
func (a *Authority) Server(t testing.TB, hosts ...string) Options {
	t.Helper()
	cert, key := a.Issue(t, "server", hosts...)
	return Options{
		Settings: map[string]string{"ssl": "on", "ssl_ca_file": "root.crt"},
		Files:    map[string][]byte{"server.crt": cert, "server.key": key, "root.crt": pemOf("CERTIFICATE", a.cert.Raw)},
	}
}

// sign makes a key, and a certificate for it; without a key of its own the
// authority signs for itself.
func (a *Authority) sign(t testing.TB, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make key: %v", err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatalf("make serial number: %v", err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatalf("sign certificate: %v", err)
	}
	return der, key
}

func (a *Authority) write(t testing.TB, name string, contents []byte) string {
	t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, contents, 0o600); err != nil {
		t.Fatalf("write %s: %v", name, err)
	}
	return file
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
