package natstest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/nettest"
)

const (
	clusterSize  = 3
	settleStep   = 100 * time.Millisecond
	settleAnswer = 2 * time.Second
	settleTime   = 2 * time.Minute
)

// Cluster is three NATS servers with JetStream in files, each in a process of
// its own that can be killed.
type Cluster struct {
	t      testing.TB
	nodes  []*Process
	client []nats.Option // how the test itself connects
}

// StartCluster starts a cluster and waits until it can keep three copies of a
// stream. The test's package must call [Main]. It is stopped when the test
// ends.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	return StartClusterConfig(t, ClusterConfig{Stream: "NATSTEST"})
}

// ClusterConfig is a configuration file of a cluster.
type ClusterConfig struct {
	File   string        // of each server, whose name is in the variable NODE; none if empty
	Env    []string      // of the servers, each NAME=value
	Client []nats.Option // how the test connects
	Stream string        // what it may make and delete, to see whether the cluster is up
}

// StartClusterConfig is [StartCluster] with a configuration file, of which
// addresses and directories are others, as with [StartConfig].
func StartClusterConfig(t testing.TB, config ClusterConfig) *Cluster {
	t.Helper()
	var ports []int // of the cluster, which has to know all of them beforehand
	var routes []string
	for range clusterSize {
		ports = append(ports, nettest.Port(t))
		routes = append(routes, fmt.Sprintf("nats://%s:%d", host, ports[len(ports)-1]))
	}
	c := &Cluster{t: t, client: config.Client}
	for i := range clusterSize {
		name := fmt.Sprintf("n%d", i)
		c.nodes = append(c.nodes, startProcess(t, childOptions{
			Config: config.File, Name: name, Route: ports[i], Routes: routes,
		}, append([]string{"NODE=" + name}, config.Env...)))
	}
	c.settle("keep three copies", func(ctx context.Context, js jetstream.JetStream) bool {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: config.Stream, Replicas: clusterSize})
		return err == nil && js.DeleteStream(ctx, config.Stream) == nil
	})
	return c
}

// URL returns where the servers listen, separated by commas.
func (c *Cluster) URL() string {
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, n.URL())
	}
	return strings.Join(urls, ",")
}

// Leader waits until the stream has a leader, and returns that server.
func (c *Cluster) Leader(stream string) *Process {
	c.t.Helper()
	var leader *Process
	c.settle("elect a leader of "+stream, func(ctx context.Context, js jetstream.JetStream) bool {
		info := clusterInfo(ctx, js, stream)
		if info == nil {
			return false
		}
		for _, n := range c.nodes {
			if n.child.Name == info.Leader && n.cmd != nil {
				leader = n
			}
		}
		return leader != nil
	})
	return leader
}

// AwaitCurrent waits until every copy of the stream has all that its leader
// has. All servers must run.
func (c *Cluster) AwaitCurrent(stream string) {
	c.t.Helper()
	c.settle("bring all copies of "+stream+" up to date", func(ctx context.Context, js jetstream.JetStream) bool {
		info := clusterInfo(ctx, js, stream)
		if info == nil || info.Leader == "" || len(info.Replicas) != clusterSize-1 {
			return false
		}
		for _, r := range info.Replicas {
			if !r.Current || r.Offline {
				return false
			}
		}
		return true
	})
}

func clusterInfo(ctx context.Context, js jetstream.JetStream, stream string) *jetstream.ClusterInfo {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil
	}
	return s.CachedInfo().Cluster
}

// settle asks again and again, through any server that runs, until the cluster
// is in the state wanted.
func (c *Cluster) settle(what string, reached func(context.Context, jetstream.JetStream) bool) {
	c.t.Helper()
	nc, err := nats.Connect(c.URL(), append([]nats.Option{nats.Timeout(patience), nats.MaxReconnects(-1), nats.ReconnectWait(settleStep)}, c.client...)...)
	if err != nil {
		c.t.Fatalf("connect to the cluster: %v", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatalf("open JetStream of the cluster: %v", err)
	}
	limit, tick := time.NewTimer(settleTime), time.NewTicker(settleStep)
	defer limit.Stop()
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(c.t.Context(), settleAnswer)
		done := reached(ctx, js)
		cancel()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			c.t.Fatalf("the cluster did not %s within %v", what, settleTime)
		}
	}
}
