package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// rehearsed bounds how many refusals a rehearsal reports: what needs an object that
// was refused is refused, too.
const rehearsed = 20

// rehearse tries every statement of the plan on a target that is older than the
// source, in the plan's order and in one transaction, which is rolled back: the
// target itself knows best what it cannot take. It returns a [*check.FailedError]
// with what is refused.
func (p *Prepared) rehearse(ctx context.Context) (err error) {
	if p.absent != "" {
		return nil // there is no database yet to try it in
	}
	if p.target.Major() >= p.source.Major() || !p.only.Has(tasks.SectionSchema) {
		return nil // what is made of tables that are there already would read all of their rows
	}
	if _, err := p.target.Exec(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "+unloggedSQL); err != nil {
		return fmt.Errorf("begin a rehearsal on the target: %w", err)
	}
	defer func() {
		if _, end := p.target.Exec(context.WithoutCancel(ctx), "ROLLBACK"); end != nil {
			err = errors.Join(err, fmt.Errorf("end a rehearsal on the target: %w", end))
		}
	}()
	for _, s := range p.steps {
		if err := p.takeStep(ctx, s); err != nil {
			return err
		}
	}
	var refused check.Findings
	n := 0
	for _, t := range inOrder(p.Plan.Tasks) {
		statements, err := statementsOf(t)
		if err != nil {
			return err
		}
		for _, s := range statements {
			n++
			f, err := p.try(ctx, s)
			if err != nil {
				return err
			}
			refused = append(refused, f...)
			if len(refused) == rehearsed {
				return refused.Err()
			}
		}
	}
	p.Log.Info("the older target takes all definitions", "tasks", n)
	return refused.Err()
}

// try runs one statement, and undoes it if it is refused.
func (p *Prepared) try(ctx context.Context, s tasks.Statement) (check.Findings, error) {
	// Apart: of one text with an error in its syntax, nothing is executed at all.
	if _, err := p.target.Exec(ctx, "SAVEPOINT rehearsal"); err != nil {
		return nil, fmt.Errorf("begin a statement of the rehearsal: %w", err)
	}
	_, err := p.target.Exec(ctx, s.SQL)
	if err == nil {
		_, err = p.target.Exec(ctx, "RELEASE rehearsal")
		return nil, err
	}
	if p.target.IsClosed() || ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %w", s.Label, err)
	}
	if _, err := p.target.Exec(ctx, "ROLLBACK TO rehearsal; RELEASE rehearsal"); err != nil {
		return nil, fmt.Errorf("end a statement of the rehearsal: %w", err)
	}
	f := check.Finding{
		Check: check.TargetOlder, Level: check.Blocker,
		What: fmt.Sprintf("%s: the target, PostgreSQL %d, refuses it: %s", s.Label, p.target.Major(), pg.Describe(err)),
		Hint: fmt.Sprintf("leave it out (docs/choosing.md), define it otherwise on the source, or copy into PostgreSQL %d or newer", p.source.Major()),
	}
	if pg.IsCode(err, "53200") {
		f.Hint = "to try all definitions in one transaction takes more locks than there is room for: raise max_locks_per_transaction there and restart it"
	}
	return check.Findings{f}, nil
}

// statementsOf returns what a task makes on the target, but for rows.
func statementsOf(t tasks.Task) ([]tasks.Statement, error) {
	switch t.Kind {
	case tasks.KindSchema, tasks.KindIndex, tasks.KindAttach, tasks.KindFKeyAdd, tasks.KindFKeyValidate, tasks.KindRefresh:
		spec, err := tasks.Decode[tasks.Statements](t)
		return spec.Statements, err
	case tasks.KindBundle, tasks.KindExtensionData:
		spec, err := tasks.Decode[tasks.Bundle](t)
		var statements []tasks.Statement
		for _, l := range spec.Tables {
			statements = append(statements, l.After...)
		}
		return statements, err
	}
	return nil, nil
}

// inOrder returns the tasks of a plan so that each comes after all that it needs.
func inOrder(list []tasks.Task) []tasks.Task {
	open := map[tasks.Group]int{} // tasks of the group that have not come yet
	for _, t := range list {
		open[t.Group]++
		open[t.Wave]++
	}
	waiting := map[tasks.Group][]int{}
	needs := make([]int, len(list))
	var ready []int
	for i, t := range list {
		for _, g := range t.Needs {
			if open[g] > 0 {
				needs[i]++
				waiting[g] = append(waiting[g], i)
			}
		}
		if needs[i] == 0 {
			ready = append(ready, i)
		}
	}
	sorted := make([]tasks.Task, 0, len(list))
	for len(ready) > 0 {
		t := list[ready[0]]
		ready = ready[1:]
		sorted = append(sorted, t)
		for _, g := range []tasks.Group{t.Group, t.Wave} {
			if open[g]--; open[g] > 0 {
				continue
			}
			for _, i := range waiting[g] {
				if needs[i]--; needs[i] == 0 {
					ready = append(ready, i)
				}
			}
		}
	}
	return sorted
}
