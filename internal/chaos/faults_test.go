package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
)

// fault is one thing that breaks.
type fault struct {
	kind  string
	at    float64       // share of the tasks that is done then, -1 is before there is a plan
	lag   time.Duration // after that
	lasts time.Duration
	pick  int // among the candidates

	do func(s *scene, f fault) (heal func()) // instead of what the kind does
}

// kinds are all faults, and how each begins; heal, which may be nil, ends it.
// What lasts takes longer than two leases, or passes in less than one.
var kinds = []struct {
	name   string
	strike func(s *scene, f fault) (heal func())
}{
	{"worker killed", (*scene).killWorker},
	{"worker frozen", (*scene).freezeWorker},
	{"workers crash at named steps", func(*scene, fault) func() { return nil }}, // they are started so
	{"planner killed", (*scene).killPlanner},
	{"planner frozen", (*scene).freezePlanner},
	{"everybody killed", (*scene).killEverybody},
	{"nats killed", (*scene).killNATS},
	{"nats away", (*scene).killNATS},
	{"nats wiped", (*scene).wipeNATS},
	{"stream purged", (*scene).purgeStream},
	{"stream deleted", (*scene).deleteStream},
	{"bucket deleted", (*scene).deleteBucket},
	{"target crashes", (*scene).crashTarget},
	{"source crashes", (*scene).crashSource},
	{"sessions on the target ended", (*scene).endTargetSessions},
	{"sessions on the source ended", (*scene).endSourceSessions},
	{"connections limited", (*scene).limitConnections},
	{"network cut", (*scene).cutNetwork},
	{"network cut one way", (*scene).cutOneWay},
	{"network slow", (*scene).slowNetwork},
}

// drawFaults draws which kinds break in the seed's run, and when. The first
// seeds share all kinds out.
func drawFaults(seed int, rng *rand.Rand) []fault {
	var chosen []int
	if seed >= 1 && seed <= fixedSeeds {
		for k := range kinds {
			if k%fixedSeeds == seed-1 {
				chosen = append(chosen, k)
			}
		}
	} else {
		chosen = rng.Perm(len(kinds))[:1+rng.IntN(3)]
	}
	faults := make([]fault, len(chosen))
	for i, k := range chosen {
		f := fault{kind: kinds[k].name, at: rng.Float64() * 0.95, lag: time.Duration(rng.IntN(400)) * time.Millisecond, pick: rng.IntN(1 << 20)}
		f.lasts = time.Duration(100+rng.IntN(1200)) * time.Millisecond
		switch f.kind {
		case "worker frozen", "nats away", "network cut", "planner frozen", "network cut one way":
			f.lasts = 2*ackWait + time.Duration(500+rng.IntN(3000))*time.Millisecond
		case "planner killed":
			if rng.IntN(4) == 0 {
				f.at, f.lag = -1, time.Duration(rng.IntN(2500))*time.Millisecond
			}
		case "network slow", "connections limited":
			f.lasts = time.Duration(1000+rng.IntN(3000)) * time.Millisecond
		}
		faults[i] = f
	}
	return faults
}

func has(faults []fault, kind string) bool {
	for _, f := range faults {
		if f.kind == kind {
			return true
		}
	}
	return false
}

// strike begins a fault.
func (s *scene) strike(f fault) (heal func()) {
	s.say("%s (for %s)", f.kind, f.lasts)
	s.disturbed(f.lasts)
	var mend func()
	if f.do != nil {
		mend = f.do(s, f)
	}
	for _, k := range kinds {
		if f.do == nil && k.name == f.kind {
			mend = k.strike(s, f)
		}
	}
	if mend == nil {
		return nil
	}
	return func() {
		s.say("%s: mended", f.kind)
		s.disturbed(0)
		mend()
	}
}

// one returns one of the list, nil if it is empty.
func one(list []*process, pick int) *process {
	if len(list) == 0 {
		return nil
	}
	return list[pick%len(list)]
}

func (s *scene) killWorker(f fault) func() {
	if p := one(s.runningWorkers(), f.pick); p != nil {
		p.kill()
	}
	return nil
}

func (s *scene) freezeWorker(f fault) func() {
	p := one(s.runningWorkers(), f.pick)
	if p == nil {
		return nil
	}
	p.signal(syscall.SIGSTOP)
	return func() { p.signal(syscall.SIGCONT) }
}

func (s *scene) killPlanner(fault) func() {
	if p := s.runningPlanner(); p != nil {
		p.kill()
	}
	return nil
}

func (s *scene) freezePlanner(fault) func() {
	p := s.runningPlanner()
	if p == nil {
		return nil
	}
	p.signal(syscall.SIGSTOP)
	return func() { p.signal(syscall.SIGCONT) }
}

// killEverybody kills the planner and all workers, which takes the snapshot with
// them.
func (s *scene) killEverybody(fault) func() {
	s.setHold(true)
	for _, p := range append(s.runningWorkers(), s.runningPlanner()) {
		if p != nil {
			p.kill()
		}
	}
	return func() { s.setHold(false) }
}

// stopNATS kills the server, and does something before it comes back; nothing
// happens while it is down already.
func (s *scene) stopNATS(meanwhile func()) func() {
	if s.natsDown {
		return nil
	}
	s.natsDown = true
	s.nats.Kill()
	meanwhile()
	return func() {
		s.nats.Start()
		s.natsDown = false
	}
}

func (s *scene) killNATS(fault) func() { return s.stopNATS(func() {}) }
func (s *scene) wipeNATS(fault) func() { return s.stopNATS(s.nats.Wipe) }

// byHand does what a person does to the server with its own tool. The fault does
// not happen if the server is away.
func (s *scene) byHand(do func(context.Context, jetstream.JetStream) error) func() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	nc, err := nats.Connect(s.child.NATS, nats.Timeout(time.Second))
	if err == nil {
		defer nc.Close()
		var js jetstream.JetStream
		if js, err = jetstream.New(nc); err == nil {
			err = do(ctx, js)
		}
	}
	if err != nil {
		s.say("nothing to break: %v", err)
	}
	return nil
}

func (s *scene) purgeStream(fault) func() {
	return s.byHand(func(ctx context.Context, js jetstream.JetStream) error {
		stream, err := js.Stream(ctx, "PGCONVOY-"+s.child.Run)
		if err != nil {
			return err
		}
		return stream.Purge(ctx)
	})
}

func (s *scene) deleteStream(fault) func() {
	return s.byHand(func(ctx context.Context, js jetstream.JetStream) error {
		return js.DeleteStream(ctx, "PGCONVOY-"+s.child.Run)
	})
}

func (s *scene) deleteBucket(fault) func() {
	return s.byHand(func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, "KV_pgconvoy") })
}

// crash stops a server at once, as a crash does.
func (s *scene) crash(server *pgtest.Server) func() {
	if server.Pid() == 0 {
		return nil
	}
	server.Stop(s.t, syscall.SIGQUIT)
	return func() { server.Launch(s.t) }
}

func (s *scene) crashSource(fault) func() { return s.crash(s.src.Server) }

// crashTarget spares a run that is about to be complete: a crash right after that
// empties the unlogged tables of the copy, and nobody is there to fill them again.
func (s *scene) crashTarget(fault) func() {
	if s.progress(0) > 0.95 {
		s.say("too late to break the target")
		return nil
	}
	return s.crash(s.dst.Server)
}

// endSessions ends about half of our sessions on one side.
func (s *scene) endSessions(db *pgtest.Database) {
	n, err := ask[int](db, `SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE 'pgconvoy%' AND random() < 0.5) x`)
	s.say("%d sessions of %s ended (%v)", n, db.Name, err)
}

func (s *scene) endTargetSessions(fault) func() { s.endSessions(s.dst); return nil }
func (s *scene) endSourceSessions(fault) func() { s.endSessions(s.src); return nil }

// limitConnections lets nobody of ours connect to the target any more, and ends
// some sessions, so that they have to.
func (s *scene) limitConnections(f fault) func() {
	limit := func(n int) {
		if err := s.dst.TryExec(fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d", s.dst.Name, n)); err != nil {
			s.say("limit of connections is not %d: %v", n, err)
		}
	}
	limit(1 + f.pick%4)
	s.endSessions(s.dst)
	return func() { limit(-1) }
}

func (s *scene) cutNetwork(f fault) func() { return s.cutProxies(f, toServer, toClient) }
func (s *scene) cutOneWay(f fault) func()  { return s.cutProxies(f, way(f.pick/8%2)) }

// cutProxies cuts the workers off one, two or all three servers.
func (s *scene) cutProxies(f fault, ways ...way) func() {
	var cut []*proxy
	for i, p := range s.proxies {
		if (1+f.pick%7)&(1<<i) != 0 {
			p.cut(ways...)
			cut = append(cut, p)
		}
	}
	return func() {
		for _, p := range cut {
			p.mend(f.pick%2 == 0)
		}
	}
}

func (s *scene) slowNetwork(fault) func() {
	for _, p := range s.proxies {
		p.brake(true)
	}
	return func() {
		for _, p := range s.proxies {
			p.brake(false)
		}
	}
}
