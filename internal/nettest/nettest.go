// Package nettest is the network of the tests: ports that a server finds free when it
// is started again, and network namespaces for a test and the programs that it starts,
// so that several hosts can be had on one machine, each with its own addresses and
// ports, and links that a test may slow down. Namespaces need Linux, root and iproute2;
// without them the test is skipped.
package nettest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// inside tells the test binary that it runs in a namespace.
const inside = "NETTEST_INSIDE"

// Network holds the addresses of all namespaces.
const Network = "10.77.0.0/16"

// Inside reports whether the test runs in a namespace of its own, the hub. If
// it does not, it runs the test there once more, in another process, and logs
// what that says; the caller returns then:
//
//	if !nettest.Inside(t) {
//		return
//	}
func Inside(t testing.TB) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("NOT TESTED: network namespaces need iproute2: " + err.Error())
	}
	hub := namespace(t, "hub")
	Run(t, "ip", "-n", hub, "link", "set", "lo", "up")
	args := []string{"netns", "exec", hub, os.Args[0], "-test.run=^" + t.Name() + "$", "-test.v"}
	if _, measures := t.(*testing.B); measures {
		args = []string{"netns", "exec", hub, os.Args[0], "-test.run=^$", "-test.bench=^" + t.Name() + "$", "-test.benchtime=1x", "-test.timeout=1h"}
	}
	c := exec.CommandContext(t.Context(), "ip", args...)
	c.Env = append(os.Environ(), inside+"=1")
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("in namespace %s: %v", hub, err)
	}
	return false
}

// namespace makes a namespace that ends with the test.
func namespace(t testing.TB, name string) string {
	t.Helper()
	name = fmt.Sprintf("pgconvoy-%d-%s", os.Getpid(), name)
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: no network namespace can be made: %s", out)
	}
	// The test's context has ended by then.
	t.Cleanup(func() {
		_ = exec.CommandContext(context.WithoutCancel(t.Context()), "ip", "netns", "delete", name).Run()
	})
	return name
}

// Run runs a program; its failure is the test's.
func Run(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// Site is another namespace, with a link to the hub.
type Site struct {
	Namespace string // its name, for ip -n
	Link      string // the link's name in the hub; at its other end it is called hub
	Hub       string // the hub's address, as the site sees it
}

// NewSite makes the n-th namespace beside the hub, in which the test must be. It
// ends with the test.
func NewSite(t testing.TB, n int) Site {
	t.Helper()
	s := Site{Link: fmt.Sprintf("site%d", n), Hub: fmt.Sprintf("10.77.%d.1", n)}
	s.Namespace = namespace(t, s.Link)
	Run(t, "ip", "link", "add", s.Link, "type", "veth", "peer", "name", "hub", "netns", s.Namespace)
	Run(t, "ip", "addr", "add", s.Hub+"/30", "dev", s.Link)
	Run(t, "ip", "link", "set", s.Link, "up")
	Run(t, "ip", "-n", s.Namespace, "addr", "add", fmt.Sprintf("10.77.%d.2/30", n), "dev", "hub")
	Run(t, "ip", "-n", s.Namespace, "link", "set", "hub", "up")
	Run(t, "ip", "-n", s.Namespace, "link", "set", "lo", "up")
	return s
}

// Command prepares a program to run in the namespace.
func (s Site) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", s.Namespace, program}, args...)...)
}
