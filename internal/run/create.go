package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// makeDatabase makes the target database, like the source's, if the settings say
// so and it does not exist, and reports whether it did. Whatever else keeps it from
// connecting is for the preflight to say.
func makeDatabase(ctx context.Context, o Options) (made bool, err error) {
	if !o.Config.CreateDatabase {
		return false, nil
	}
	target, err := connectSide(ctx, o, pg.Target)
	if err == nil {
		target.Discard()
		return false, nil
	}
	if !pg.IsCode(err, "3D000") {
		return false, nil
	}
	source, err := connectSide(ctx, o, pg.Source)
	if err != nil {
		return false, nil
	}
	defer source.Discard()
	like, err := pg.ReadDatabase(ctx, source)
	if err != nil {
		return false, err
	}
	return createLike(ctx, o, like.Locale)
}

// asItWillBe returns the options of a check or a plan, which make nothing: where a
// run would make the target database, they look at another one of that server in
// its place. Whatever else keeps them from connecting is for the preflight to say.
func asItWillBe(ctx context.Context, o Options) Options {
	if !o.Config.CreateDatabase {
		return o
	}
	target, err := connectSide(ctx, o, pg.Target)
	if err == nil {
		target.Discard()
		return o
	}
	if !pg.IsCode(err, "3D000") {
		return o
	}
	name, admin, err := connectAdmin(ctx, o)
	if err != nil {
		return o
	}
	defer admin.Discard()
	o.made, o.absent, o.stand = true, name, admin.Config().Database
	return o
}

// createLike makes the target database with the encoding and the locale of the
// source's.
func createLike(ctx context.Context, o Options, l pg.Locale) (bool, error) {
	name, admin, err := connectAdmin(ctx, o)
	if err != nil {
		return false, err
	}
	defer admin.Discard()
	around, err := aroundTables(o.Config)
	if err != nil {
		return false, err
	}
	sql, err := plan.CreateDatabase(name, l, admin.Major(), around)
	if err == nil {
		_, err = admin.Exec(ctx, sql)
	}
	if pg.IsCode(err, "42P04") { // made by somebody else meanwhile
		return false, nil
	}
	if err != nil {
		return false, tasks.WithHint(fmt.Errorf("create the target database %q: %w", name, err),
			fmt.Sprintf("create it by hand, with an encoding and a locale that the server has: CREATE DATABASE %s TEMPLATE template0 …", tasks.QuoteIdent(name)))
	}
	o.Log.Info("target database created", "sql", sql)
	return true, nil
}

// futureDatabase returns the target database as the run would make it, and how.
func (p *Prepared) futureDatabase(ctx context.Context, l pg.Locale) (pg.Database, []tasks.Step, error) {
	d := pg.Database{
		Name: p.absent, ConnLimit: -1, Mine: true, Locale: l,
		Grants: []pg.DatabaseGrant{{Privilege: "CONNECT"}, {Privilege: "TEMPORARY"}}, // to everybody, as is the default
	}
	sql, err := plan.CreateDatabase(d.Name, l, p.target.Major(), p.around)
	if err != nil {
		return d, nil, err
	}
	if err := p.target.QueryRow(ctx, "SELECT current_user::text").Scan(&d.Owner); err != nil {
		return d, nil, fmt.Errorf("read the role of the target: %w", err)
	}
	return d, []tasks.Step{{Label: sql, SQL: sql}}, nil
}

// connectAdmin connects to a database of the target's server that is always there,
// and returns the name of the target database.
func connectAdmin(ctx context.Context, o Options) (name string, c *pg.Conn, err error) {
	options := o.database(pg.Target)
	config, err := pg.ParseURI(options.URI)
	if err != nil {
		return "", nil, err
	}
	name, others := config.Database, []string{"postgres", "template1"}
	if o.member != nil {
		name, others = options.Database, append([]string{config.Database}, others...)
	}
	var errs []error
	for _, options.Database = range others {
		c, err := pg.Connect(ctx, options)
		if err == nil {
			return name, c, nil
		}
		errs = append(errs, err)
	}
	return "", nil, fmt.Errorf("create the target database %q: %w", name, errors.Join(errs...))
}

// unmake drops the database that the run has made, when it comes to nothing before
// anything is in it. It returns why.
func (o Options) unmake(ctx context.Context, cause error) error {
	if !o.made {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	name, admin, err := connectAdmin(ctx, o)
	if err == nil {
		defer admin.Discard()
		_, err = admin.Exec(ctx, "DROP DATABASE IF EXISTS "+tasks.QuoteIdent(name)+" WITH (FORCE)")
	}
	if err != nil {
		o.Log.Warn("the database that was made for this run is still there", "err", err)
	}
	return cause
}
