package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/pgconvoy/pgconvoy/internal/check"
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/filter"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// ValidateChoice returns everything that is wrong with the settings that choose
// what is copied, in one *config.ValidationError, or nil: how names are written,
// and what the filter file holds. No server is asked.
func ValidateChoice(c config.Config) error {
	_, rules := rulesOf(c)
	_, names := parseDatabases(c)
	var found []config.Problem
	for _, err := range []error{rules, names} {
		var invalid *config.ValidationError
		if errors.As(err, &invalid) {
			found = append(found, invalid.Problems...)
		}
	}
	if len(found) > 0 {
		return &config.ValidationError{Problems: found}
	}
	return nil
}

// rulesOf reads the rules out of the configuration, and out of the filter file
// if it names one.
func rulesOf(c config.Config) (filter.Rules, error) {
	var rules filter.Rules
	var found []config.Problem
	f := c.Filter
	for _, s := range []struct {
		setting string
		names   []string
		parse   func(text, from string) (filter.Pattern, error)
		list    *[]filter.Pattern
	}{
		{"filter.include.schemas", f.Include.Schemas, filter.ParseName, &rules.IncludeSchemas},
		{"filter.include.tables", f.Include.Tables, filter.ParseQualified, &rules.IncludeTables},
		{"filter.include.extensions", f.Include.Extensions, filter.ParseName, &rules.IncludeExtensions},
		{"filter.exclude.schemas", f.Exclude.Schemas, filter.ParseName, &rules.ExcludeSchemas},
		{"filter.exclude.tables", f.Exclude.Tables, filter.ParseQualified, &rules.ExcludeTables},
		{"filter.exclude.table_data", f.Exclude.TableData, filter.ParseQualified, &rules.ExcludeTableData},
		{"filter.exclude.indexes", f.Exclude.Indexes, filter.ParseQualified, &rules.ExcludeIndexes},
		{"filter.exclude.extensions", f.Exclude.Extensions, filter.ParseName, &rules.ExcludeExtensions},
	} {
		for _, name := range s.names {
			p, err := s.parse(name, s.setting)
			if err != nil {
				found = append(found, config.Problem{Where: s.setting, What: name + ": " + err.Error()})
			}
			*s.list = append(*s.list, p)
		}
	}
	for _, t := range c.Tables {
		p, err := filter.ParseQualified(t.Name, "tables."+t.Name)
		if err != nil {
			found = append(found, config.Problem{Where: "tables", What: t.Name + ": " + err.Error()})
		}
		rules.Tables = append(rules.Tables, filter.TableRule{Table: p, Where: t.Where, Columns: t.Columns, Parts: t.Parts})
	}
	if f.File != "" {
		fromFile, more := readFilterFile(f.File)
		rules = rules.Add(fromFile)
		found = append(found, more...)
	}
	if len(found) > 0 {
		return rules, &config.ValidationError{Problems: found}
	}
	return rules, nil
}

func readFilterFile(path string) (filter.Rules, []config.Problem) {
	text, err := os.ReadFile(path)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return filter.Rules{}, []config.Problem{{Where: "filter.file", What: path + ": " + err.Error(), Hint: "give the path of a filter file of pgcopydb"}}
	}
	rules, problems := filter.ParseINI(path, string(text))
	found := make([]config.Problem, len(problems))
	for i, p := range problems {
		found[i] = config.Problem{Where: p.Where, What: p.What, Hint: p.Hint}
	}
	return rules, found
}

// choose resolves the rules to what the source has, as the session sees it, and
// returns what is wrong with them.
func (p *Prepared) choose(ctx context.Context, source *pg.Conn) (check.Findings, error) {
	p.without = pg.Without{Schemas: []string{ledger.Schema}}
	if p.rules.Empty() {
		return nil, nil
	}
	inv, err := inventoryOf(ctx, source)
	if err != nil {
		return nil, err
	}
	var mistakes, warnings []filter.Problem
	p.scope, mistakes, warnings = filter.Resolve(p.rules, inv)
	without := p.scope.Without()
	p.without.Schemas = append(p.without.Schemas, without.Schemas...)
	p.without.Relations = without.Relations
	return append(findings(check.Blocker, mistakes), findings(check.Warning, warnings)...), nil
}

// inventoryOf lists what can be chosen, without our ledger.
func inventoryOf(ctx context.Context, c *pg.Conn) (pg.Inventory, error) {
	inv, err := pg.ReadInventory(ctx, c)
	if err != nil {
		return inv, fmt.Errorf("%s: %w", c.Side(), err)
	}
	inv.Schemas = slices.DeleteFunc(inv.Schemas, func(s pg.NamedSchema) bool { return s.Name == ledger.Schema })
	inv.Relations = slices.DeleteFunc(inv.Relations, func(r pg.NamedRelation) bool { return r.Schema == ledger.Schema })
	inv.Indexes = slices.DeleteFunc(inv.Indexes, func(x pg.NamedIndex) bool { return x.Schema == ledger.Schema })
	return inv, nil
}

// findings makes problems with the choice findings of the preflight.
func findings(level check.Level, problems []filter.Problem) check.Findings {
	found := make(check.Findings, len(problems))
	for i, p := range problems {
		found[i] = check.Finding{Check: "choice", Level: level, What: p.String(), Hint: p.Hint}
	}
	return found
}

// follow finds what cannot be made without what is left out, and fails with all
// tables that are chosen and cannot be made.
func (p *Prepared) follow(ctx context.Context, deps []pg.Dependency, entries []pg.Entry) (filter.Choice, map[pg.Object]string, error) {
	choice, lost := p.scope.Follow(deps, entries)
	names, err := pg.DescribeObjects(ctx, p.source, choice.Objects(lost))
	if err == nil {
		err = findings(check.Blocker, filter.Impossible(lost, names)).Err()
	}
	return choice, names, err
}
