package run

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/fit"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// sectionsOf returns the sections that the configuration names.
func sectionsOf(c config.Config) tasks.Sections {
	var s tasks.Sections
	for _, name := range c.Only {
		s = append(s, tasks.Section(name))
	}
	return s
}

// existing looks where rows go in a target that has its tables already, and what
// happens there when they come in. It returns nil if the run makes the tables. The
// preflight has looked at the same; what has changed since makes it fail.
func (p *Prepared) existing(ctx context.Context, cat pg.Catalog) (*plan.Existing, error) {
	if p.only.Has(tasks.SectionSchema) {
		return nil, nil
	}
	ours := pg.Without{Schemas: []string{ledger.Schema}}
	theirs, err := pg.ReadShapes(ctx, p.target, ours)
	if err != nil {
		return nil, err
	}
	e := &plan.Existing{Truncate: p.Config.Truncate, Tables: map[tasks.Name]bool{}, Filled: map[tasks.Name]bool{}}
	for _, s := range theirs {
		name := tasks.Name{Schema: s.Schema, Name: s.Name}
		e.Tables[name] = true
		if s.Kind == "m" && s.Populated {
			e.Filled[name] = s.Mine
		}
	}
	invalid, err := pg.Invalid(ctx, p.target, ours)
	if err != nil {
		return nil, err
	}
	if err := p.lagging(ctx, cat, invalid); err != nil {
		return nil, err
	}
	e.Invalid = slices.Sorted(maps.Keys(invalid))
	if !p.only.Has(tasks.SectionData) {
		return e, nil
	}
	source, err := pg.ReadShapes(ctx, p.source, p.without)
	if err != nil {
		return nil, err
	}
	var misfits fit.Misfits
	e.Places, misfits = fit.Places(source, theirs, p.withRows(cat))
	if err := check.Misfitting(misfits).Err(); err != nil {
		return nil, err
	}
	return e, p.fires(ctx, e)
}

// lagging adds the sequences that are behind on the target and that the source does
// not have: they stay as they are.
func (p *Prepared) lagging(ctx context.Context, cat pg.Catalog, invalid map[string]string) error {
	if !p.only.Has(tasks.SectionSequences) {
		return nil
	}
	behind, err := pg.LaggingSequences(ctx, p.target, pg.Without{Schemas: []string{ledger.Schema}})
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, s := range cat.Sequences {
		ours["sequence "+s.Schema+"."+s.Name] = true
	}
	for name, why := range behind {
		if !ours[unquoted(name)] {
			invalid[name] = why
		}
	}
	return nil
}

// withRows returns the tables of which rows are copied.
func (p *Prepared) withRows(cat pg.Catalog) []fit.Table {
	var tables []fit.Table
	for _, r := range cat.Tables {
		if r.Kind == "r" && !p.scope.Table(r.OID).NoRows {
			tables = append(tables, fit.Table{OID: r.OID, Columns: r.Columns})
		}
	}
	return tables
}

// otherPlaces returns where the rows of the source's tables are on the target, for
// a comparison: nil if all are in a table of the same name and kind. For digests
// types matter, too.
func (p *Prepared) otherPlaces(ctx context.Context, target *pg.Conn, ours, theirs pg.Catalog) (map[uint32]fit.Place, error) {
	kinds := map[tasks.Name]string{}
	for _, r := range theirs.Tables {
		kinds[tasks.Name{Schema: r.Schema, Name: r.Name}] = r.Kind
	}
	if p.Config.Verify != config.VerifyDigest && !slices.ContainsFunc(ours.Tables, func(r pg.Relation) bool { return kinds[tasks.Name{Schema: r.Schema, Name: r.Name}] != r.Kind }) {
		return nil, nil
	}
	source, err := pg.ReadShapes(ctx, p.source, p.without)
	if err != nil {
		return nil, err
	}
	shapes, err := pg.ReadShapes(ctx, target, pg.Without{Schemas: []string{ledger.Schema}})
	if err != nil {
		return nil, err
	}
	places, _ := fit.Places(source, shapes, p.withRows(ours))
	return places, nil
}

// fires finds out what happens when rows come into the tables.
func (p *Prepared) fires(ctx context.Context, e *plan.Existing) error {
	byText := map[string]tasks.Name{}
	for _, place := range e.Places {
		byText[place.Into.String()] = place.Into
	}
	names := slices.Sorted(maps.Keys(byText))
	firings, err := pg.ReadFirings(ctx, p.target, names, e.Truncate)
	if err != nil {
		return err
	}
	e.Silent = len(firings) > 0
	if e.Silent {
		if e.Proofs, e.Unproven, err = pg.ReadProofs(ctx, p.target, names); err != nil {
			return err
		}
	}
	if !e.Truncate {
		return nil
	}
	references, err := pg.ReadReferences(ctx, p.target, names)
	if err != nil {
		return err
	}
	for _, r := range references {
		if r.Root == "" {
			return fmt.Errorf("%s refers to %s of the target by foreign key %s, and is not emptied with it", r.Table, r.References, r.Name)
		}
		e.Together = append(e.Together, [2]tasks.Name{byText[r.Root], byText[r.References]})
	}
	return nil
}
