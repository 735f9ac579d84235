package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// instance is a run of several databases: it does them one after the other, each
// as a run with a snapshot and a ledger of its own. The ledgers stay until all are
// complete, and are the only record of which ones are.
type instance struct {
	Options
	names  databaseNames
	target *pg.Conn // on the database that target.uri names, which holds the right to plan; nil if it is not needed
	shared *shared
}

func newInstance(o Options) (*instance, error) {
	names, err := parseDatabases(o.Config)
	if err != nil {
		return nil, err
	}
	return &instance{Options: o, names: names, shared: &shared{said: map[string]bool{}}}, nil
}

func (i *instance) close() {
	if i.shared.stop != nil {
		i.shared.stop()
	}
	if i.target != nil {
		disown(i.target)
		i.target.Discard()
	}
}

// own takes the right to plan for the target's server.
func (i *instance) own(ctx context.Context) error {
	if err := i.connectTarget(ctx); err != nil {
		return err
	}
	return own(ctx, i.Options, i.target, ledger.OwnInstance)
}

// connectTarget connects to the database that target.uri names.
func (i *instance) connectTarget(ctx context.Context) (err error) {
	i.target, err = connectTarget(ctx, i.Options)
	return err
}

// about returns the options of the run about one of the databases.
func (i *instance) about(name string) Options {
	o := i.Options
	o.Config.Databases = nil
	o.Config.CreateDatabase = true
	o.Config.KeepLedger = true // until all are complete
	o.Log = o.Log.With("database", name)
	o.member = &member{name: name, shared: i.shared}
	if keep := o.KeepReport; keep != nil {
		o.KeepReport = func(r tasks.Report) error {
			err := keep(r)
			i.shared.unreported = i.shared.unreported || err != nil
			return err
		}
	}
	return o
}

// databaseNames are the patterns of the setting databases.
type databaseNames struct {
	all      bool
	patterns []filter.Pattern
}

// parseDatabases reads the setting. Its error is a *config.ValidationError.
func parseDatabases(c config.Config) (databaseNames, error) {
	var n databaseNames
	var found []config.Problem
	for _, text := range c.Databases {
		if text == config.AllDatabases {
			n.all = true
			continue
		}
		p, err := filter.ParseName(text, "databases")
		if err != nil {
			found = append(found, config.Problem{Where: "databases", What: text + ": " + err.Error()})
		}
		n.patterns = append(n.patterns, p)
	}
	if len(found) > 0 {
		return n, &config.ValidationError{Problems: found}
	}
	return n, nil
}

// match reports whether a database is chosen, and whether by its very name.
func (n databaseNames) match(name string) (chosen, exactly bool) {
	chosen = n.all
	for _, p := range n.patterns {
		if p.MatchesName(name) {
			chosen, exactly = true, exactly || p.Exact()
		}
	}
	return chosen, exactly
}

// maintenance is the database that every server has and hardly anybody uses.
const maintenance = "postgres"

// choose lists the databases of the source that are to be copied, largest first,
// and those that are left out although they are of the kind. Its error, if names
// are of databases that cannot be copied, is a [*check.FailedError].
func (i *instance) choose(ctx context.Context) (chosen []string, left []tasks.LeftOut, err error) {
	source, err := connectSide(ctx, i.Options, pg.Source)
	if err != nil {
		return nil, nil, check.Findings{check.ConnectFinding(pg.Source, err)}.Err()
	}
	defer source.Discard()
	list, err := pg.Databases(ctx, source)
	if err != nil {
		return nil, nil, err
	}
	var found check.Findings
	refuse := func(hint, format string, args ...any) {
		found = append(found, check.Finding{Check: "databases", Level: check.Blocker, What: fmt.Sprintf(format, args...), Hint: hint})
	}
	for _, p := range i.names.patterns {
		if p.Exact() && !slices.ContainsFunc(list, func(d pg.ServerDatabase) bool { return p.MatchesName(d.Name) }) {
			refuse("planner list databases shows those that there are", "database %s does not exist on the source", p.Text)
		}
	}
	for _, d := range list {
		matches, exactly := i.names.match(d.Name)
		reason := d.Closed
		if matches && !exactly && d.Closed == "" && d.Name == maintenance {
			if reason, err = i.unused(ctx); err != nil {
				return nil, nil, err
			}
		}
		switch {
		case !matches:
		case reason == "":
			chosen = append(chosen, d.Name)
		case exactly:
			refuse("leave it out of databases", "database %s of the source cannot be copied: %s", tasks.QuoteIdent(d.Name), reason)
		default:
			left = append(left, tasks.LeftOut{Database: d.Name, Reason: reason})
		}
	}
	if len(chosen) == 0 && len(found) == 0 {
		refuse("planner list databases shows those that there are", "no database of the source is chosen by databases: %s", strings.Join(i.Config.Databases, ", "))
	}
	return chosen, left, found.Err()
}

// unused returns why the database postgres is left out, "" if it is not.
func (i *instance) unused(ctx context.Context) (string, error) {
	o := i.database(pg.Source)
	o.Database = maintenance
	c, err := pg.Connect(ctx, o)
	if err != nil {
		return "", check.Findings{check.ConnectFinding(pg.Source, err)}.Err()
	}
	defer c.Discard()
	holds, err := pg.HoldsObjects(ctx, c, []string{ledger.Schema})
	if err != nil || holds {
		return "", err
	}
	return "it holds nothing but what every server has, or extensions; its name in databases has it copied", nil
}

// part is what the target has of the run: one of its databases.
type part struct {
	name     string
	state    tasks.RunState
	instance tasks.Instance
}

// lookAtOnce is how many databases of the target are looked at at the same time.
const lookAtOnce = 4

// find looks for the ledgers of the run on the target's server, in the databases
// that are chosen, and in the others of the run. All of them must be of one run.
func (i *instance) find(ctx context.Context) ([]part, error) {
	list, err := pg.Databases(ctx, i.target)
	if err != nil {
		return nil, err
	}
	var chosen, others []string
	for _, d := range list {
		switch match, _ := i.names.match(d.Name); {
		case d.Closed != "" || !d.Enter:
		case match:
			chosen = append(chosen, d.Name)
		default:
			others = append(others, d.Name)
		}
	}
	parts, err := i.lookAt(ctx, chosen)
	if err != nil || len(parts) == 0 {
		return nil, err
	}
	others = slices.DeleteFunc(others, func(name string) bool { return !slices.Contains(parts[0].instance.Databases, name) })
	more, err := i.lookAt(ctx, others)
	parts = append(parts, more...)
	for _, p := range parts {
		if p.instance.UID != parts[0].instance.UID {
			return nil, tasks.WithHint(fmt.Errorf("databases %s and %s of the target hold ledgers of two runs that are called %s",
				tasks.QuoteIdent(parts[0].name), tasks.QuoteIdent(p.name), i.Config.Run), "name the databases of one of them in databases")
		}
	}
	return parts, err
}

// lookAt returns what the databases of the names have of the run.
func (i *instance) lookAt(ctx context.Context, names []string) ([]part, error) {
	looked := make([]*part, len(names))
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(lookAtOnce)
	for n, name := range names {
		group.Go(func() (err error) {
			looked[n], err = i.look(looking, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var parts []part
	for _, p := range looked {
		if p != nil {
			parts = append(parts, *p)
		}
	}
	return parts, nil
}

// look returns what a database of the target has of the run, nil if that is
// nothing.
func (i *instance) look(ctx context.Context, name string) (*part, error) {
	o := i.about(name)
	c, err := connectTarget(ctx, o)
	if err != nil {
		return nil, err
	}
	defer c.Discard()
	l, err := ledger.Open(ctx, c, o.Config.Run)
	if errors.Is(err, ledger.ErrNoRun) {
		return nil, nil
	}
	var in *tasks.Instance
	if err == nil {
		in, err = l.Instance(ctx, c)
	}
	if err != nil {
		return nil, fmt.Errorf("target database %s: %w", tasks.QuoteIdent(name), err)
	}
	if in == nil {
		return nil, nil // it is of a run about this database alone
	}
	p := &part{name: name, instance: *in}
	if p.state, err = l.State(ctx, c); err != nil || p.state != tasks.RunComplete || in.Complete {
		return p, err
	}
	emptied, err := l.Emptied(ctx, c)
	if len(emptied) > 0 {
		p.state = tasks.RunFailed // not complete any more
	}
	return p, err
}

// begun is find that fails if there is nothing of the run.
func (i *instance) begun(ctx context.Context) ([]part, error) {
	parts, err := i.find(ctx)
	if err == nil && len(parts) == 0 {
		err = tasks.WithHint(fmt.Errorf("run %s: %w", i.Config.Run, errNothingBegun), "planner run begins it; --run names another run")
	}
	return parts, err
}

// openBegun looks at what the target has of a run that was begun, for a verb that
// does not plan. The caller closes the instance.
func openBegun(ctx context.Context, o Options) (*instance, []part, error) {
	i, err := newInstance(o)
	if err != nil {
		return nil, nil, err
	}
	var parts []part
	if err = i.connectTarget(ctx); err == nil {
		parts, err = i.begun(ctx)
	}
	if err != nil {
		i.close()
		return nil, nil, err
	}
	return i, parts, nil
}

// errNothingBegun is returned when there is nothing of the run on the target.
var errNothingBegun = errors.New("no database of the target that databases chooses holds a ledger of it")

// complete reports whether all databases of the run are complete.
func complete(parts []part) bool {
	done := map[string]bool{}
	for _, p := range parts {
		if p.instance.Complete {
			return true
		}
		done[p.name] = p.state == tasks.RunComplete
	}
	return len(parts) > 0 && !slices.ContainsFunc(parts[0].instance.Databases, func(name string) bool { return !done[name] })
}
