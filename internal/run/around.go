package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// aroundTables turns settings into what is copied of the things around tables. It
// reads the file of requirements.
func aroundTables(c config.Config) (tasks.Around, error) {
	versions, err := config.ReadRequirements(c.Requirements)
	return tasks.Around{
		NoOwner: c.NoOwner, NoACL: c.NoACL, NoComments: c.NoComments, NoTablespaces: c.NoTablespaces,
		Owners: c.OwnerMap, Tablespaces: c.TablespaceMap, Versions: versions,
	}, err
}

// planSteps plans what the planner itself does before all tasks, and what tasks do
// to the database at the end, from what both sides have now. It logs what a person
// should know of it.
func (p *Prepared) planSteps(ctx context.Context) error {
	if !p.only.Has(tasks.SectionSchema, tasks.SectionPostData) {
		return nil // nothing is made that has an owner, privileges or labels
	}
	in := plan.DatabaseInput{Around: p.around, Made: p.made}
	var err error
	if in.Source, err = pg.ReadDatabase(ctx, p.checking); err != nil {
		return err
	}
	var first []tasks.Step
	if p.absent == "" {
		in.Target, err = pg.ReadDatabase(ctx, p.target)
	} else {
		in.Target, first, err = p.futureDatabase(ctx, in.Source.Locale)
	}
	if err != nil {
		return err
	}
	roles, notes, err := p.roles(ctx, in.Source)
	if err != nil {
		return err
	}
	database := plan.DatabaseProperties(in)
	for _, n := range slices.Concat(notes, database.Notes) {
		p.warn(n)
	}
	p.steps, p.late = slices.Concat(first, roles, database.Steps), database.Late
	if p.lodgers, err = p.findLodgers(ctx); err != nil {
		return err
	}
	if p.foreign, err = pg.ForeignExtensions(ctx, p.checking, p.target); err != nil {
		return err
	}
	p.noLabels, err = pg.LabelsNotLoaded(ctx, p.checking, p.target)
	return err
}

// findLodgers lists who must be let into schemas of others for a while: a superuser
// gives everything to anybody.
func (p *Prepared) findLodgers(ctx context.Context) ([]tasks.Lodger, error) {
	var superuser bool
	if err := p.target.QueryRow(ctx, "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").Scan(&superuser); err != nil {
		return nil, fmt.Errorf("read the role of the target: %w", err)
	}
	if superuser || p.around.NoOwner || !p.only.Has(tasks.SectionSchema) {
		return nil, nil
	}
	choice := check.Choice{Scope: p.scope, Without: p.without}
	return check.Lodgers(ctx, p.checking, p.target, p.around, choice, p.Config.Roles != config.RolesNone)
}

// namedBy lists the roles that the properties of a database name.
func (p *Prepared) namedBy(d pg.Database) []string {
	var names []string
	if p.made && !p.Config.NoOwner {
		names = append(names, d.Owner)
	}
	for _, s := range d.Settings {
		names = append(names, s.Role)
	}
	for _, g := range d.Grants {
		if !p.Config.NoACL {
			names = append(names, g.Grantee)
		}
	}
	return names
}

// roles plans the roles that the run makes.
func (p *Prepared) roles(ctx context.Context, d pg.Database) ([]tasks.Step, []string, error) {
	c := p.Config
	if c.Roles == config.RolesNone {
		return nil, nil, nil
	}
	in := plan.RolesInput{
		Around: p.around, SourceMajor: p.checking.Major(), Session: plan.RoleSession{Major: p.target.Major()},
		Named: slices.Concat(p.named.Named, p.namedBy(d)), Owns: slices.Clone(p.named.Owners),
	}
	var err error
	if p.made && !c.NoOwner {
		in.Owns = append(in.Owns, in.Around.Role(d.Owner))
	}
	if c.Roles == config.RolesAll {
		in.Named = nil
	}
	if in.Source, err = pg.ReadRoles(ctx, p.checking, c.RolePasswords); err != nil {
		return nil, nil, err
	}
	s := &in.Session
	err = p.target.QueryRow(ctx, "SELECT rolname::text, rolsuper, rolcreaterole, rolreplication, rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user").
		Scan(&s.Name, &s.Superuser, &s.CreateRole, &s.Replication, &s.BypassRLS)
	if err != nil {
		return nil, nil, fmt.Errorf("read the role of the target: %w", err)
	}
	s.SeesPasswords = s.Superuser && c.RolePasswords
	if in.Target, err = pg.ReadRoles(ctx, p.target, s.SeesPasswords); err != nil {
		return nil, nil, err
	}
	steps, notes := plan.Roles(in)
	return steps, notes, nil
}

// stepTries is how often steps are planned anew when another session makes the
// same at the same time: roles are everybody's in a cluster.
const stepTries = 5

// takeSteps does what the planner does before all tasks, in one transaction.
func (p *Prepared) takeSteps(ctx context.Context) error {
	for try := 1; ; try++ {
		err := p.takeStepsOnce(ctx)
		busy := pg.IsCode(err, "23505") || pg.IsCode(err, "42710") || pg.IsCode(err, "XX000") // made, or changed, meanwhile
		if err == nil || !busy || try == stepTries {
			return err
		}
		if err := p.planSteps(ctx); err != nil {
			return err
		}
	}
}

func (p *Prepared) takeStepsOnce(ctx context.Context) (err error) {
	if len(p.steps) == 0 {
		return nil
	}
	if _, err := p.target.Exec(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "+unloggedSQL); err != nil {
		return fmt.Errorf("begin on the target: %w", err)
	}
	defer func() {
		if err != nil {
			_, rollback := p.target.Exec(context.WithoutCancel(ctx), "ROLLBACK")
			err = errors.Join(err, rollback)
		}
	}()
	for _, s := range p.steps {
		if err := p.takeStep(ctx, s); err != nil {
			return err
		}
	}
	if _, err := p.target.Exec(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("commit on the target: %w", err)
	}
	p.Log.Info("what is around the database is there", "tasks", len(p.steps))
	return nil
}

// unloggedSQL keeps the verifiers of passwords out of the target's own log, and of
// its statistics of statements, as far as the role may say so.
const unloggedSQL = `SELECT CASE WHEN r.rolsuper THEN pg_catalog.set_config('log_statement', 'none', true) || pg_catalog.set_config('log_min_duration_statement', '-1', true)
	|| pg_catalog.set_config('log_min_error_statement', 'panic', true) || pg_catalog.set_config('pg_stat_statements.track_utility', 'off', true) END
	FROM pg_catalog.pg_roles r WHERE r.rolname = current_user`

// takeStep runs one step. One that may fail is undone then, and said.
func (p *Prepared) takeStep(ctx context.Context, s tasks.Step) error {
	if !s.May {
		if _, err := p.target.Exec(ctx, s.SQL); err != nil {
			return fmt.Errorf("%s: %w", s.Label, err)
		}
		return nil
	}
	_, err := p.target.Exec(ctx, "SAVEPOINT step; "+s.SQL+"; RELEASE step")
	if err == nil {
		return nil
	}
	if p.target.IsClosed() || pg.IsCode(err, "XX000") {
		return fmt.Errorf("%s: %w", s.Label, err)
	}
	p.Log.Warn("not done on the target", "task", s.Label, "err", err)
	_, err = p.target.Exec(ctx, "ROLLBACK TO step; RELEASE step")
	return err
}
