package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// MaxCap is the largest cap of a stage.
const MaxCap = 1000

const (
	// maxPerStage bounds caps and slots: each is a connection to both servers.
	maxPerStage = MaxCap
	// minSplit is one page of a table: nothing smaller can be split off.
	minSplit = 8 * KB
	// maxParts bounds the tasks that one table can become.
	maxParts = 100_000
)

var runName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// Validate returns everything that keeps a planner from working with this
// configuration in one *ValidationError, or nil. It looks at the values only:
// no file is opened, no server is asked.
func (c Config) Validate() error {
	var p problems
	c.common(&p, func(side string) string {
		return fmt.Sprintf("set %s.uri in the file, %s, or --%s", side, variable(side+".uri"), side)
	})
	for stage, n := range c.Caps.All() {
		if n < 1 || n > maxPerStage {
			p.add("caps."+stage, fmt.Sprintf("%d is not between 1 and %d", n, maxPerStage), "a stage without a cap would never run")
		}
	}
	c.limits(&p)
	c.sizes(&p)
	c.sections(&p)
	c.around(&p)
	c.several(&p)
	c.queue(&p)
	c.workers(&p)
	c.Webhook.check(&p)
	return p.err()
}

// ValidateWorker returns everything that keeps a worker from working with this
// configuration in one *ValidationError, or nil. A worker needs both databases,
// the queue and its slots; what to do comes from the ledger.
func (c Config) ValidateWorker() error {
	var p problems
	c.common(&p, func(side string) string { return "set " + variable(side+".uri") })
	if c.NATS.URL == "" {
		p.add("nats.url", "not set", "set PGCONVOY_NATS_URL to the NATS server that the planner uses")
	}
	c.queue(&p)
	if c.Slots.Total() < 1 {
		p.add("slots", "no stage has a slot", "give at least one stage a slot, such as PGCONVOY_SLOTS_COPY=4")
	}
	if c.ExitWhenIdle < 0 {
		p.add("exit_when_idle", fmt.Sprintf("%s is negative", c.ExitWhenIdle), "use 0 for never")
	}
	return p.err()
}

// ValidateTarget returns everything that keeps a command from working with the
// ledger of a run: it needs the target alone.
func (c Config) ValidateTarget() error {
	var p problems
	c.named(&p)
	c.Target.check(&p, "target", func(side string) string {
		return fmt.Sprintf("set %s.uri in the file, %s, or --%s", side, variable(side+".uri"), side)
	})
	c.queue(&p)
	return p.err()
}

// ValidateSource returns everything that keeps a command from looking at the
// source, which is all that it needs.
func (c Config) ValidateSource() error {
	var p problems
	c.Source.check(&p, "source", func(side string) string {
		return fmt.Sprintf("set %s.uri in the file, %s, or --%s", side, variable(side+".uri"), side)
	})
	c.sizes(&p)
	return p.err()
}

// ValidateObserver returns everything that keeps a command from looking at a
// run: it needs the target, or the queue.
func (c Config) ValidateObserver() error {
	if c.Target.URI != "" || c.NATS.URL == "" {
		return c.ValidateTarget()
	}
	var p problems
	c.named(&p)
	c.queue(&p)
	return p.err()
}

// several holds the rules for runs of several databases. What is copied of one
// database cannot be said of all of them.
func (c Config) several(p *problems) {
	if !c.Several() {
		return
	}
	if len(c.Databases) > 1 && slices.Contains(c.Databases, AllDatabases) {
		p.add("databases", "all stands beside other names", "all alone means every database; one that is called so is written \"all\", in double quotes")
	}
	f := c.Filter
	for _, s := range []struct {
		setting string
		set     bool
	}{
		{"filter.include.schemas", len(f.Include.Schemas) > 0},
		{"filter.include.tables", len(f.Include.Tables) > 0},
		{"filter.include.extensions", len(f.Include.Extensions) > 0},
		{"filter.exclude.schemas", len(f.Exclude.Schemas) > 0},
		{"filter.exclude.tables", len(f.Exclude.Tables) > 0},
		{"filter.exclude.table_data", len(f.Exclude.TableData) > 0},
		{"filter.exclude.indexes", len(f.Exclude.Indexes) > 0},
		{"filter.exclude.extensions", len(f.Exclude.Extensions) > 0},
		{"filter.file", f.File != ""},
		{"tables", len(c.Tables) > 0},
		{"only", len(c.Only) > 0},
		{"truncate", c.Truncate},
		{"source_clones", len(c.SourceClones) > 0},
	} {
		if s.set {
			p.add(s.setting, "it is about one database, and databases is set, too",
				"copy this database in a run of its own: leave databases out and name it in source.uri and target.uri")
		}
	}
}

// named holds the rule for the run's name.
func (c Config) named(p *problems) {
	if !runName.MatchString(c.Run) {
		p.add("run", fmt.Sprintf("%q is not a run name", c.Run), "use 1 to 32 of a-z, 0-9 and -")
	}
}

// common holds the rules for every process; howToSet says how the connection
// string of a side is set there.
func (c Config) common(p *problems, howToSet func(side string) string) {
	c.named(p)
	c.Source.check(p, "source", howToSet)
	c.Target.check(p, "target", howToSet)
	c.clones(p)
	if c.Source.URI != "" && c.Source.URI == c.Target.URI {
		p.add("target.uri", "equal to source.uri", "source and target must be two databases")
	}
	for stage, n := range c.Slots.All() {
		if n < 0 || n > maxPerStage {
			p.add("slots."+stage, fmt.Sprintf("%d is not between 0 and %d", n, maxPerStage), "")
		}
	}
	if _, port, err := net.SplitHostPort(c.HTTP.Listen); c.HTTP.Listen != "" && (err != nil || port == "") {
		p.add("http.listen", fmt.Sprintf("%q is not host:port", c.HTTP.Listen), "write 127.0.0.1:8080, or 0.0.0.0:8080 for other hosts")
	}
	if c.Grace < 0 || c.Grace > time.Hour {
		p.add("grace", fmt.Sprintf("%s is not between 0s and 1h", c.Grace), "")
	}
}

// check holds the rules for one database. An empty connection string would mean
// whatever libpq's environment (PGHOST, PGSERVICE, …) names, and that would
// be the same database on both sides.
func (d Database) check(p *problems, side string, howToSet func(side string) string) {
	uri := string(d.URI)
	switch {
	case strings.TrimSpace(uri) == "":
		p.add(side+".uri", "not set", howToSet(side)+
			"; what it leaves out comes from PGUSER and the like, service=NAME names a libpq service")
	case strings.HasPrefix(uri, "postgres://"), strings.HasPrefix(uri, "postgresql://"):
	case strings.Contains(uri, "://"), !strings.Contains(uri, "="):
		p.add(side+".uri", "neither a postgres:// URI nor key=value pairs",
			`write postgres://user@host:5432/database or "host=… dbname=… user=…"`)
	}
	const one = "the password is in one place: leave the others out"
	switch {
	case d.PasswordFile != "" && d.PasswordCommand != "":
		p.add(side+".password_command", side+".password_file is set, too", one)
	case d.URI.hasPassword() && d.PasswordFile != "":
		p.add(side+".password_file", side+".uri holds a password, too", one)
	case d.URI.hasPassword() && d.PasswordCommand != "":
		p.add(side+".password_command", side+".uri holds a password, too", one)
	}
}

// sizes holds the rules for splitting and bundling.
func (c Config) sizes(p *problems) {
	if c.Split.LargerThan < minSplit {
		p.add("split.larger_than", fmt.Sprintf("%s is less than %s", c.Split.LargerThan, minSplit), "split.max_parts: 1 turns splitting off")
	}
	if c.Split.MaxParts < 1 || c.Split.MaxParts > maxParts {
		p.add("split.max_parts", fmt.Sprintf("%d is not between 1 and %d", c.Split.MaxParts, maxParts), "1 turns splitting off")
	}
	if c.Bundle.MaxTable == 0 {
		return
	}
	if c.Bundle.MaxBytes < c.Bundle.MaxTable {
		p.add("bundle.max_bytes", fmt.Sprintf("%s is less than bundle.max_table, %s", c.Bundle.MaxBytes, c.Bundle.MaxTable),
			"a bundle must have room for the largest table that may travel in one")
	}
	if c.Bundle.MaxTables < 1 {
		p.add("bundle.max_tables", fmt.Sprintf("%d is less than 1", c.Bundle.MaxTables), "bundle.max_table: 0 turns bundles off")
	}
}

// queue holds the rules for the connection to NATS.
func (c Config) queue(p *problems) {
	n := c.NATS
	for url := range strings.SplitSeq(string(n.URL), ",") {
		scheme, _, ok := strings.Cut(strings.TrimSpace(url), "://")
		if n.URL != "" && ok && !slices.Contains([]string{"nats", "tls", "ws", "wss"}, scheme) {
			p.add("nats.url", "not a nats:// or tls:// URL", "write nats://host:4222; several are separated by commas")
			break
		}
	}
	if !slices.Contains([]int{1, 3, 5}, n.Replicas) {
		p.add("nats.replicas", fmt.Sprintf("%d is none of 1, 3, 5", n.Replicas), "")
	}
	if n.Replicas > 1 && c.Embedded() {
		p.add("nats.replicas", "more than one replica needs a NATS cluster", "set nats.url, or leave nats.replicas at 1")
	}
	if (n.Cert == "") != (n.Key == "") {
		p.add("nats.cert", "nats.cert and nats.key belong together", "set both or neither")
	}
	if n.Password != "" && n.User == "" {
		p.add("nats.user", "nats.password is set without nats.user", "")
	}
	if n.Listen == "" {
		return
	}
	if !c.Embedded() {
		p.add("nats.listen", "only the embedded server listens, and nats.url is set", "remove one of the two")
	}
	if _, port, err := net.SplitHostPort(n.Listen); err != nil || port == "" {
		p.add("nats.listen", fmt.Sprintf("%q is not host:port", n.Listen), "write 127.0.0.1:4222")
	}
	if n.User == "" || n.Password == "" {
		p.add("nats.listen", "a queue that others can reach needs a user and a password", "set nats.user and nats.password, here and for every worker")
	}
}

// check holds the rule for the address. It is not told: it may be a secret.
func (w Webhook) check(p *problems) {
	u, err := url.Parse(string(w.URL))
	if w.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		p.add("webhook.url", "not an http:// or https:// URL", "write https://host/path, as the server that is to be told gives it")
	}
}

// workers holds the rule that somebody must be able to do every task.
func (c Config) workers(p *problems) {
	if !c.Embedded() || c.NATS.Listen != "" {
		return // workers can join from elsewhere
	}
	if !c.RunsWorkers() {
		p.add("workers", "no worker can reach an embedded queue without a port", "set nats.url or nats.listen, or leave workers at auto")
		return
	}
	for stage, n := range c.Slots.All() {
		if n == 0 {
			p.add("slots."+stage, "0 leaves the stage to other workers, and none can join", "set nats.url or nats.listen, or give the stage a slot")
		}
	}
}
