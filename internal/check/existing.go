package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgconvoy/pgconvoy/internal/fit"
	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// existing reports whether the run finds its tables on the target, to make one of
// the sections. Those of an unfinished run are of no interest.
func (p *probe) existing(sections ...tasks.Section) bool {
	return !p.Only.Has(schema) && p.Only.Has(sections...) && p.ledger != ledgerUnfinished
}

// listOf returns the list of the names, without those that are there twice.
func listOf(names []string) (l list) {
	for _, n := range slices.Compact(slices.Sorted(slices.Values(names))) {
		l.add(n)
	}
	return l
}

// Misfitting makes findings of tables whose rows fit nowhere on the target.
func Misfitting(m fit.Misfits) Findings {
	var found Findings
	for _, f := range []struct {
		names            []string
		noun, what, hint string
	}{
		{m.Missing, "table", "not on the target, where rows are to go", "make them, by a run with only: [schema] or otherwise; or leave them out, see docs/choosing.md"},
		{m.NotTables, "relation", "no table on the target", "rows are copied into tables only: leave them out, or make tables of them"},
		{m.Columns, "column", "not on the target", "add them there, or name in tables.NAME.columns those that are copied"},
		{m.Generated, "column", "generated on the target", "name in tables.NAME.columns those that are copied"},
		{m.Required, "column", "NOT NULL without a default on the target, and not copied", "on the target: ALTER TABLE … ALTER COLUMN … SET DEFAULT …, or DROP NOT NULL"},
	} {
		if names := listOf(f.names); !names.empty() {
			found = append(found, blocker("target-tables", f.hint, "%s %s: %s", tasks.Plural(names.total, f.noun), f.what, names))
		}
	}
	return found
}

// checkTargetTables looks whether the target's tables can take the rows: whether
// they are there, fit, are empty, and what fires when rows come in.
func checkTargetTables(ctx context.Context, p *probe) (Findings, error) {
	if !p.existing(data) {
		return nil, nil
	}
	source, target, err := p.shapes(ctx)
	if err != nil {
		return nil, err
	}
	var tables []fit.Table
	for _, s := range source {
		chosen := p.Choice.Scope.Table(s.OID)
		if s.Kind != "r" || chosen.NoRows {
			continue
		}
		t := fit.Table{OID: s.OID}
		for i, c := range s.Columns {
			if !s.Generated[i] && (len(chosen.Columns) == 0 || slices.Contains(chosen.Columns, c)) {
				t.Columns = append(t.Columns, c)
			}
		}
		tables = append(tables, t)
	}
	places, misfits := fit.Places(source, target, tables)
	found := Misfitting(misfits)
	into := map[string]bool{} // whether it is partitioned, by name
	for _, place := range places {
		into[place.Into.String()] = place.Tree
	}
	names := slices.Sorted(maps.Keys(into))
	for _, look := range []func(context.Context, *probe, []string) (Findings, error){checkLoading, checkFirings, checkTruncation} {
		more, err := look(ctx, p, names)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	if !p.Truncate {
		more, err := checkRows(ctx, p, into)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	more, err := checkConfigRows(ctx, p)
	return append(found, more...), err
}

// shapes reads those of both sides, once.
func (p *probe) shapes(ctx context.Context) (source, target []pg.Shape, err error) {
	if p.sourceShapes != nil {
		return p.sourceShapes, p.targetShapes, nil
	}
	if source, err = pg.ReadShapes(ctx, p.Source, p.Choice.Without); err == nil {
		target, err = pg.ReadShapes(ctx, p.Target, pg.Without{Schemas: []string{ledger.Schema}})
	}
	p.sourceShapes, p.targetShapes = source, target
	return source, target, err
}

const sqlCannotLoad = `SELECT n.name FROM pg_catalog.unnest($1::text[]) n (name) WHERE NOT (
	pg_catalog.has_table_privilege(n.name::regclass, 'INSERT') AND pg_catalog.has_table_privilege(n.name::regclass, 'SELECT')
	AND (NOT $2 OR pg_catalog.has_table_privilege(n.name::regclass, 'TRUNCATE')))`

const sqlPolicies = `SELECT n.name FROM pg_catalog.unnest($1::text[]) n (name) WHERE pg_catalog.row_security_active(n.name::regclass)`

// checkLoading looks at what the role may do with the tables.
func checkLoading(ctx context.Context, p *probe, names []string) (Findings, error) {
	var found Findings
	rights := "INSERT, SELECT"
	if p.Truncate {
		rights += ", TRUNCATE"
	}
	refused, err := queryList(ctx, p.Target, sqlCannotLoad, names, p.Truncate)
	if err != nil {
		return nil, err
	}
	if !refused.empty() {
		found = append(found, blocker("target-tables", "on the target:\n"+refused.each("GRANT "+rights+" ON %s TO "+p.target.role()+";"),
			"role %s needs %s on %s of the target: %s", p.target.role(), rights, tasks.Plural(refused.total, "table"), refused))
	}
	hidden, err := queryList(ctx, p.Target, sqlPolicies, names)
	if err != nil {
		return nil, err
	}
	if !hidden.empty() {
		found = append(found, blocker("target-tables", fmt.Sprintf("on the target, as superuser: ALTER ROLE %s BYPASSRLS;", p.target.role()),
			"row-level security of %s on the target applies to role %s, which can then not load rows: %s", tasks.Plural(hidden.total, "table"), p.target.role(), hidden))
	}
	return found, nil
}

// checkFirings looks for triggers and foreign keys, which the rows must come past:
// they arrive in any order, and were written by what the triggers did already.
func checkFirings(ctx context.Context, p *probe, names []string) (Findings, error) {
	firings, err := pg.ReadFirings(ctx, p.Target, names, p.Truncate)
	if err != nil || len(firings) == 0 {
		return nil, err
	}
	var always, triggers, tables, disable []string
	for _, f := range firings {
		label := fmt.Sprintf("%s on %s", quoteIdent(f.Name), f.Table)
		switch f.State {
		case "A", "R":
			always = append(always, label)
			disable = append(disable, fmt.Sprintf("ALTER TABLE %s DISABLE TRIGGER %s;", f.Table, quoteIdent(f.Name)))
		case "F":
			tables = append(tables, f.Table+" (foreign key "+quoteIdent(f.Name)+")")
		default:
			triggers = append(triggers, f.Table+" (trigger "+quoteIdent(f.Name)+")")
		}
	}
	var found Findings
	if len(always) > 0 {
		l, statements := listOf(always), listOf(disable)
		found = append(found, blocker("target-tables", "on the target, for the time of the run:\n"+statements.each("%s"),
			"%s of the target would fire for every row that is copied, as ENABLE ALWAYS or ENABLE REPLICA says: %s", tasks.Plural(l.total, "trigger"), l))
	}
	l := listOf(append(triggers, tables...))
	may, err := maySilence(ctx, p.Target)
	if err != nil || may || l.empty() {
		return found, err
	}
	hint := "connect to the target as superuser; or drop the foreign keys there and disable the triggers, for the time of the run"
	if p.Target.Major() >= 15 {
		hint = fmt.Sprintf("on the target, as superuser: GRANT SET ON PARAMETER session_replication_role TO %s;\nor drop the foreign keys there and disable the triggers, for the time of the run", p.target.role())
	}
	return append(found, blocker("target-tables", hint,
		"rows arrive in any order, and role %s may not keep triggers and foreign keys of the target from firing (session_replication_role): %s", p.target.role(), l)), nil
}

// maySilence tries whether the role may keep triggers from firing.
func maySilence(ctx context.Context, target *pg.Conn) (bool, error) {
	_, refused := target.Exec(ctx, "SAVEPOINT silence; "+pg.SilentSQL)
	if refused != nil && !pg.IsCode(refused, "42501") {
		return false, onSide(target, refused)
	}
	_, err := target.Exec(ctx, "ROLLBACK TO SAVEPOINT silence")
	return refused == nil, onSide(target, err)
}

// checkTruncation looks for foreign keys of tables that stay as they are: TRUNCATE
// is refused then, and CASCADE would take their rows, too.
func checkTruncation(ctx context.Context, p *probe, names []string) (Findings, error) {
	if !p.Truncate {
		return nil, nil
	}
	references, err := pg.ReadReferences(ctx, p.Target, names)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, r := range references {
		if r.Root == "" {
			others = append(others, fmt.Sprintf("%s (foreign key %s to %s)", r.Table, quoteIdent(r.Name), r.References))
		}
	}
	if len(others) == 0 {
		return nil, nil
	}
	l := listOf(others)
	return Findings{blocker("target-tables", "copy their rows, too, or drop the foreign keys on the target for the time of the run",
		"tables of the target refer to tables that are to be truncated, and are not truncated themselves: %s", l)}, nil
}

// rowsChunk is how many tables one query looks into; each is locked.
const rowsChunk = 200

// checkRows refuses tables that hold rows, as far as the role can see.
func checkRows(ctx context.Context, p *probe, into map[string]bool) (Findings, error) {
	readable, err := queryTexts(ctx, p.Target, "SELECT n.name FROM pg_catalog.unnest($1::text[]) n (name) WHERE pg_catalog.has_table_privilege(n.name::regclass, 'SELECT') AND NOT pg_catalog.row_security_active(n.name::regclass) ORDER BY 1",
		slices.Collect(maps.Keys(into)))
	if err != nil {
		return nil, err
	}
	var full list
	for chunk := range slices.Chunk(readable, rowsChunk) {
		selects := make([]string, len(chunk))
		for i, name := range chunk {
			only := "ONLY "
			if into[name] {
				only = ""
			}
			selects[i] = fmt.Sprintf("SELECT %s WHERE EXISTS (SELECT FROM %s%s)", pg.QuoteLiteral(name), only, name)
		}
		names, err := queryTexts(ctx, p.Target, strings.Join(selects, " UNION ALL "))
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			full.add(n)
		}
	}
	if full.empty() {
		return nil, nil
	}
	return Findings{blocker("target-tables", "truncate: true empties them first, and what they hold is lost; or leave them out, or empty them yourself",
		"%s of the target hold rows already: %s", tasks.Plural(full.total, "table"), full)}, nil
}

// checkConfigRows looks at the configuration tables of extensions. What they hold
// is never removed.
func checkConfigRows(ctx context.Context, p *probe) (Findings, error) {
	type config struct{ Name, Condition string }
	tables, err := query[config](ctx, p.Source, `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), coalesce(x.condition, '')
		FROM pg_catalog.pg_extension e CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) AS x (id, condition)
		JOIN pg_catalog.pg_class c ON c.oid = x.id AND c.relkind = 'r' JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE`+sqlChosen+`ORDER BY 1`, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	var missing, full list
	for _, t := range tables {
		var there bool
		if err := queryRow(ctx, p.Target, "SELECT pg_catalog.to_regclass("+pg.QuoteLiteral(t.Name)+") IS NOT NULL", &there); err != nil {
			return nil, err
		}
		if !there {
			missing.add(t.Name)
			continue
		}
		var some bool
		if err := queryRow(ctx, p.Target, fmt.Sprintf("SELECT EXISTS (SELECT FROM ONLY %s %s)", t.Name, t.Condition), &some); err != nil {
			return nil, err
		}
		if some {
			full.add(t.Name)
		}
	}
	var found Findings
	if !missing.empty() {
		found = append(found, blocker("target-tables", "make the extensions there, or leave them out with filter.exclude.extensions",
			"%s of extensions not on the target: %s", tasks.Plural(missing.total, "configuration table"), missing))
	}
	if !full.empty() {
		found = append(found, blocker("target-tables", "leave the extensions out with filter.exclude.extensions, or delete those rows on the target",
			"%s of extensions hold rows of a user on the target already: %s", tasks.Plural(full.total, "configuration table"), full))
	}
	return found, nil
}

const sqlSequenceNames = sqlCopied + `SELECT pg_catalog.format('%I.%I', c.nspname, c.relname) FROM copied c WHERE c.relkind = 'S' ORDER BY 1`

const sqlNoSequence = `SELECT n.name FROM pg_catalog.unnest($1::text[]) n (name)
	WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass(n.name) AND c.relkind = 'S')`

const sqlFixedSequence = `SELECT n.name FROM pg_catalog.unnest($1::text[]) n (name)
	WHERE NOT (pg_catalog.has_table_privilege(pg_catalog.to_regclass(n.name), 'UPDATE') AND pg_catalog.has_table_privilege(pg_catalog.to_regclass(n.name), 'SELECT'))`

// checkTargetSequences looks whether the target has the sequences whose values are
// copied.
func checkTargetSequences(ctx context.Context, p *probe) (Findings, error) {
	if !p.existing(tasks.SectionSequences) {
		return nil, nil
	}
	names, err := queryTexts(ctx, p.Source, sqlSequenceNames, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	var found Findings
	missing, err := queryList(ctx, p.Target, sqlNoSequence, names)
	if err != nil {
		return nil, err
	}
	if !missing.empty() {
		found = append(found, blocker("target-sequences", "make them, or leave sequences out of only",
			"%s of the source not on the target: %s", tasks.Plural(missing.total, "sequence"), missing))
	}
	fixed, err := queryList(ctx, p.Target, sqlFixedSequence, names)
	if err != nil {
		return nil, err
	}
	if !fixed.empty() {
		found = append(found, blocker("target-sequences", "on the target:\n"+fixed.each("GRANT UPDATE, SELECT ON SEQUENCE %s TO "+p.target.role()+";"),
			"role %s may not set %s of the target: %s", p.target.role(), tasks.Plural(fixed.total, "sequence"), fixed))
	}
	return found, nil
}

// checkTargetLargeObjects refuses large objects among those that are copied: they
// keep their oids, and all in that range are taken for the run's own.
func checkTargetLargeObjects(ctx context.Context, p *probe) (Findings, error) {
	if !p.existing(tasks.SectionLargeObjects) {
		return nil, nil
	}
	var first, last int64
	if err := queryRow(ctx, p.Source, "SELECT coalesce(pg_catalog.min(oid::int8), 0), coalesce(pg_catalog.max(oid::int8), 0) FROM pg_catalog.pg_largeobject_metadata", &first, &last); err != nil {
		return nil, err
	}
	there, err := queryList(ctx, p.Target, "SELECT m.oid::text FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid::int8 BETWEEN $1 AND $2", first, last)
	if err != nil || there.empty() {
		return nil, err
	}
	return Findings{blocker("target-large-objects", "on the target, if nobody needs them:\n"+there.each("SELECT lo_unlink(%s);"),
		"large objects keep their oids, and the target has %s between the first and the last one of the source: %s", tasks.Plural(there.total, "large object"), there)}, nil
}

// sqlTables begins a query with the tables and views that are chosen. $1 and $2 are
// those of sqlChosen.
const sqlTables = `WITH t AS MATERIALIZED (SELECT c.oid, n.nspname, pg_catalog.format('%I.%I', n.nspname, c.relname) AS label FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgconvoy') AND` + sqlChosen + `AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e')) `

// sqlReferences lists what foreign keys refer to: their names, the table, and its
// columns.
const sqlReferences = sqlTables + `SELECT pg_catalog.format('%I on %s', k.conname, t.label), r.label,
		(SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C") FROM unnest(k.confkey) x (n)
			JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.n)
	FROM t JOIN pg_catalog.pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f' AND k.conparentid = 0 JOIN t r ON r.oid = k.confrelid ORDER BY 1`

// sqlKeyless lists those of which the table has no key of those columns.
const sqlKeyless = `SELECT pg_catalog.format('%s (to %s of %s)', w.name, w.columns, w.referenced)
	FROM ROWS FROM (unnest($1::text[]), unnest($2::text[]), unnest($3::text[])) w (name, referenced, columns)
	WHERE pg_catalog.to_regclass(w.referenced) IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_index x
		WHERE x.indrelid = pg_catalog.to_regclass(w.referenced) AND x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL
		AND w.columns = (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C")
			FROM unnest(x.indkey::int2[]) WITH ORDINALITY k (n, i) JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.n WHERE k.i <= x.indnkeyatts))`

// checkTargetKeys looks whether the target has the keys that foreign keys refer to,
// if the run does not make them itself.
func checkTargetKeys(ctx context.Context, p *probe) (Findings, error) {
	if !p.existing(tasks.SectionConstraints) || p.Only.Has(indexes) {
		return nil, nil
	}
	references, err := query[struct{ Name, Table, Columns string }](ctx, p.Source, sqlReferences, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	names, referenced, columns := make([]string, len(references)), make([]string, len(references)), make([]string, len(references))
	for i, r := range references {
		names[i], referenced[i], columns[i] = r.Name, r.Table, r.Columns
	}
	keyless, err := queryList(ctx, p.Target, sqlKeyless, names, referenced, columns)
	if err != nil || keyless.empty() {
		return nil, err
	}
	return Findings{blocker("target-sections", "add indexes to only, which makes keys, too; or make them before",
		"%s to what is no key on the target: %s", tasks.Plural(keyless.total, "foreign key"), keyless)}, nil
}

// sqlMade lists what indexes, constraints and post_data make: the section, the kind,
// the table and the name.
const sqlMade = sqlTables + `SELECT 'indexes', 'index', '', pg_catalog.format('%I.%I', t.nspname, i.relname), i.oid FROM t JOIN pg_catalog.pg_index x ON x.indrelid = t.oid JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
	UNION ALL SELECT 'constraints', 'foreign key', t.label, pg_catalog.quote_ident(k.conname), k.oid FROM t JOIN pg_catalog.pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f' AND k.conparentid = 0
		JOIN t r ON r.oid = k.confrelid
	UNION ALL SELECT 'post_data', 'trigger', t.label, pg_catalog.quote_ident(g.tgname), g.oid FROM t JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
	UNION ALL SELECT 'post_data', 'policy', t.label, pg_catalog.quote_ident(o.polname), o.oid FROM t JOIN pg_catalog.pg_policy o ON o.polrelid = t.oid
	UNION ALL SELECT 'post_data', 'rule', t.label, pg_catalog.quote_ident(r.rulename), r.oid FROM t JOIN pg_catalog.pg_rewrite r ON r.ev_class = t.oid AND r.rulename <> '_RETURN'
	UNION ALL SELECT 'post_data', 'publication', '', pg_catalog.quote_ident(p.pubname), p.oid FROM pg_catalog.pg_publication p
	UNION ALL SELECT 'post_data', 'event trigger', '', pg_catalog.quote_ident(e.evtname), e.oid FROM pg_catalog.pg_event_trigger e
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e')`

// checkTargetSections looks whether what the sections make after the rows can be
// made: on tables like the source's, and where nothing has the names.
func checkTargetSections(ctx context.Context, p *probe) (Findings, error) {
	if !p.existing(indexes, tasks.SectionConstraints, late) {
		return nil, nil
	}
	source, target, err := p.shapes(ctx)
	if err != nil {
		return nil, err
	}
	var found Findings
	missing, unlike := fit.Unlike(source, target)
	if l := listOf(missing); !l.empty() {
		found = append(found, blocker("target-sections", "make them, by a run with only: [schema] or otherwise; or leave them out, see docs/choosing.md",
			"%s of the source not on the target: %s", tasks.Plural(l.total, "table"), l))
	}
	if l := listOf(unlike); !l.empty() {
		found = append(found, blocker("target-sections", "leave them out, or name only data, sequences and large_objects in only",
			"%s partitioned otherwise on the target, where indexes, constraints and the like of the source cannot be made: %s", tasks.Plural(l.total, "table"), l))
	}
	type made struct {
		Section, Kind, Table, Name string
		OID                        uint32
	}
	theirs, err := query[made](ctx, p.Target, sqlMade, []uint32{}, []string{})
	if err != nil {
		return nil, err
	}
	there := make(map[made]bool, len(theirs))
	for _, m := range theirs {
		m.OID = 0
		there[m] = true
	}
	ours, err := query[made](ctx, p.Source, sqlMade, p.Choice.args()...)
	if err != nil {
		return nil, err
	}
	var both list
	for _, m := range ours {
		chosen := p.Only.Has(tasks.Section(m.Section)) && (m.Kind != "index" || p.Choice.Scope.Has(m.OID))
		m.OID = 0
		if !chosen || !there[m] {
			continue
		}
		label := m.Kind + " " + m.Name
		if m.Table != "" {
			label += " on " + m.Table
		}
		both.add(label)
	}
	if !both.empty() {
		found = append(found, blocker("target-sections", "leave the section out of only, or drop them on the target",
			"the run would make %s that the target has already: %s", tasks.Plural(both.total, "object"), both))
	}
	return found, nil
}
