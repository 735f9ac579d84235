package pg

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Catalog is what the plan needs to know of the source. Lists are in the order
// of oids. Objects that belong to extensions are left out, but for the
// configuration tables in ExtensionConfig.
type Catalog struct {
	Version         int
	Encoding        string
	BlockSize       int64 // bytes
	Tables          []Relation
	Indexes         []Index
	ForeignKeys     []ForeignKey
	Sequences       []Sequence
	MatViews        []MatView
	ExtensionConfig []ConfigTable
	LargeObjects    []uint32 // the first oid of every thousand, and the last oid of all

	LargeObjectBytes int64 // their rows and their index
}

// Relation is a table, partitioned or not, of which the snapshot knows.
type Relation struct {
	OID          uint32
	Schema, Name string
	Kind         string // relkind: r or p
	Unlogged     bool
	AccessMethod string // "" for partitioned tables
	Filenode     uint32 // now
	SnapFilenode uint32 // as the snapshot shows it; another value means that the table was rewritten since
	Blocks       int64  // of the heap
	Bytes        int64  // heap and TOAST, without their maps and TOAST's index, which would take twice as long to look for
	Rows         int64  // the source's estimate, -1 if there is none
	Columns      []string
	Portable     bool   // COPY's binary format means the same on every server of this major or a newer one, for all columns
	Parent       uint32 // of a partition, 0 otherwise
	HashKey      string // of a hash-partitioned table: "portable", "text" (depends on encoding and collation) or "local" (depends on oids)
	SplitKey     string // an integer column with a unique index, "" if there is none
	SplitNotNull bool
	Inherited    bool // other tables inherit from it, or did once
	Child        bool // it inherits from another table, and is no partition of it
	OverForeign  bool // a foreign table is among its partitions or children, or below them
}

// Index is an index of a table in [Catalog.Tables], with the constraint that it
// stands for if there is one.
type Index struct {
	OID, Table      uint32
	Name            string
	Definition      string // pg_get_indexdef, "" if the index was dropped since the snapshot
	Tablespace      string // "" if the database's default
	Valid, Unique   bool
	Clustered       bool
	ReplicaIdentity bool
	Parent          uint32         // the partitioned index it is attached to, 0 if none
	Bytes           int64          // of a small one as of its last VACUUM or ANALYZE
	StatTargets     map[string]int // column number (text) to statistics target
	Extensions      []string       // extensions that it is marked as depending on
	Constraint      *Constraint
}

// Constraint is a primary key, unique or exclusion constraint.
type Constraint struct {
	OID                  uint32
	Name                 string
	Type                 string // contype: p, u or x
	Definition           string
	Parameters           string // of its index, name=value, …; Definition has them for type x only
	Deferrable, Deferred bool
	Period               bool // WITHOUT OVERLAPS
}

// ForeignKey is a foreign key that was declared on its table, not inherited by
// a partition.
type ForeignKey struct {
	OID, Table, References uint32
	Name                   string
	Definition             string
	Validated, Enforced    bool
}

// Sequence is a sequence; its values are read when they are needed.
type Sequence struct {
	OID          uint32
	Schema, Name string
}

// MatView is a materialized view.
type MatView struct {
	OID          uint32
	Schema, Name string
	Populated    bool
	Reads        []uint32 // materialized views, directly or through views
	Bytes        int64    // with TOAST and indexes
}

// ConfigTable is a table, or sequence, whose contents an extension has
// declared to be the user's.
type ConfigTable struct {
	Extension    string
	OID          uint32
	Schema, Name string
	Kind         string // relkind: r or S
	Condition    string // "WHERE …", or "" for all rows
	Filenode     uint32
	Columns      []string
	References   []uint32 // other configuration tables that it has foreign keys to
}

const userRelation = `n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema') AND n.nspname !~ '^pg_(temp|toast_temp)_'
	AND c.relpersistence <> 't'
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
		WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e')`

const (
	columnNames = "SELECT coalesce(pg_catalog.array_agg(a.attname::text ORDER BY a.attnum), '{}') AS names"
	fromCopied  = ` FROM pg_catalog.pg_attribute a
	WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''`
)

// portableTypes begins a query, with the types whose binary form means the same
// on every server, now and later: it holds no oids, and only text that is in the
// client's encoding. Arrays name the type of their elements by its oid, which is
// the same everywhere for built-in types only. oidvector and int2vector look like
// arrays, but cannot read an empty one that they have written; nor can tsquery.
const portableTypes = `WITH RECURSIVE portable (id) AS (
		SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typtype = 'e' OR t.oid < 16384 AND t.typnamespace = 'pg_catalog'::regnamespace AND t.typname IN (
			'bool', 'bytea', 'char', 'name', 'int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'money', 'oid', 'text', 'varchar', 'bpchar',
			'date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval', 'uuid', 'json', 'jsonb', 'jsonpath', 'bit', 'varbit',
			'inet', 'cidr', 'macaddr', 'macaddr8', 'point', 'lseg', 'path', 'box', 'polygon', 'line', 'circle', 'tsvector', 'pg_lsn',
			'int4range', 'int8range', 'numrange', 'tsrange', 'tstzrange', 'daterange',
			'int4multirange', 'int8multirange', 'nummultirange', 'tsmultirange', 'tstzmultirange', 'datemultirange')
		UNION SELECT t.oid FROM portable p JOIN pg_catalog.pg_type t
			ON t.typtype = 'd' AND t.typbasetype = p.id OR t.oid < 16384 AND t.typcategory = 'A' AND t.typelem = p.id AND t.typname NOT IN ('oidvector', 'int2vector')) `

// ReadCatalog reads the catalog with a constant number of queries, as the
// transaction of c sees it, but for definitions and sizes, which are read as of
// now. What is left out is not in it. Tables that were altered since the snapshot
// may make it fail with [ErrRewritten].
func ReadCatalog(ctx context.Context, c *Conn, without Without) (Catalog, error) {
	cat := Catalog{Version: c.Version}
	err := c.QueryRow(ctx, `SELECT pg_catalog.pg_encoding_to_char(encoding), pg_catalog.current_setting('block_size')::int8 FROM pg_catalog.pg_database
		WHERE datname = pg_catalog.current_database()`).Scan(&cat.Encoding, &cat.BlockSize)
	if err != nil {
		return cat, fmt.Errorf("read catalog: database: %w", err)
	}
	steps := []struct {
		what string
		read func(context.Context, *Conn, Without) error
	}{
		{"tables", cat.readTables},
		{"indexes", cat.readIndexes},
		{"foreign keys", cat.readForeignKeys},
		{"sequences", cat.readSequences},
		{"materialized views", cat.readMatViews},
		{"extension configuration", cat.readExtensionConfig},
		{"large objects", cat.readLargeObjects},
	}
	for _, s := range steps {
		err := s.read(ctx, c, without)
		if IsCode(err, "XX000") && strings.Contains(err.Error(), "cache lookup failed") {
			return cat, fmt.Errorf("read catalog: %s: %w: %w", s.what, ErrRewritten, err)
		}
		if err != nil {
			return cat, fmt.Errorf("read catalog: %s: %w", s.what, err)
		}
	}
	return cat, nil
}

// TableNames returns the quoted names of the tables in the transaction's
// snapshot, without what extensions own and what is left out: what
// [LockTables] takes.
func TableNames(ctx context.Context, c *Conn, without Without) ([]string, error) {
	rows, err := c.Query(ctx, `SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+` ORDER BY c.oid`, without.names(), without.IDs())
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	return names, nil
}

func (cat *Catalog) readTables(ctx context.Context, c *Conn, without Without) error {
	// A hash-partition key is portable if no part of its hash depends on oids (enums and what may hold them) or,
	// for text, on encoding and collation. Other types of the catalog are portable. Sizes are NULL once a table is
	// dropped, whatever the snapshot shows. NOT NULL constraints that are not valid (18) say nothing about the rows.
	notNull := "a.attnotnull"
	if c.Major() >= 18 {
		notNull = `a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
			WHERE k.conrelid = c.oid AND k.contype = 'n' AND NOT k.convalidated AND k.conkey[1] = a.attnum)`
	}
	rows, err := c.Query(ctx, portableTypes+`SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence = 'u',
		coalesce(am.amname::text, ''), coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::oid, c.relfilenode,
		size.heap / pg_catalog.current_setting('block_size')::int8,
		size.heap + CASE WHEN c.relkind = 'r' THEN coalesce(pg_catalog.pg_relation_size(nullif(c.reltoastrelid, 0)), 0) ELSE 0 END,
		CASE WHEN c.reltuples < 0 THEN -1 ELSE c.reltuples::int8 END,
		cols.names, coalesce(cols.portable, false),
		CASE WHEN c.relispartition THEN i.inhparent ELSE 0::oid END,
		coalesce(hash.key, ''), coalesce(split.name, ''), coalesce(split.notnull, false), c.relhassubclass,
		NOT c.relispartition AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid),
		c.oid IN (WITH RECURSIVE up (id) AS (
			SELECT h.inhparent FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class f ON f.oid = h.inhrelid AND f.relkind = 'f'
			UNION SELECT h.inhparent FROM pg_catalog.pg_inherits h JOIN up ON up.id = h.inhrelid) SELECT id FROM up)
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
	LEFT JOIN pg_catalog.pg_inherits i ON c.relispartition AND i.inhrelid = c.oid
	CROSS JOIN LATERAL (SELECT CASE WHEN c.relkind = 'r' THEN coalesce(pg_catalog.pg_relation_size(c.oid), 0) ELSE 0 END AS heap OFFSET 0) size
	CROSS JOIN LATERAL (`+columnNames+`, pg_catalog.bool_and(a.atttypid IN (SELECT id FROM portable)) AS portable`+fromCopied+`) cols
	LEFT JOIN LATERAL (
		SELECT CASE
			WHEN pg_catalog.bool_or(k.attnum = 0 OR t.oid IS NULL OR t.oid >= 16384 OR t.typtype <> 'b' OR t.typcategory IN ('A', 'E', 'C', 'P')) THEN 'local'
			WHEN pg_catalog.bool_or(t.typcollation <> 0 OR t.oid = 'pg_catalog.jsonb'::regtype) THEN 'text'
			ELSE 'portable' END AS key
		FROM pg_catalog.pg_partitioned_table p
		CROSS JOIN LATERAL unnest(p.partattrs::int2[]) AS k(attnum)
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.attnum AND k.attnum <> 0
		LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
		WHERE c.relkind = 'p' AND p.partrelid = c.oid AND p.partstrat = 'h' HAVING pg_catalog.count(*) > 0 -- which costs nothing for the others
	) hash ON true
	LEFT JOIN LATERAL (
		SELECT a.attname::text AS name, `+notNull+` AS notnull
		FROM pg_catalog.pg_index x JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]
		WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL AND x.indnkeyatts = 1
		AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
		ORDER BY x.indisprimary DESC, a.attnotnull DESC, x.indexrelid LIMIT 1
	) split ON c.relkind = 'r'
	WHERE c.relkind IN ('r', 'p') AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+`
	ORDER BY c.oid`, without.names(), without.IDs())
	if err != nil {
		return err
	}
	cat.Tables, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Relation])
	return err
}

func (cat *Catalog) readIndexes(ctx context.Context, c *Conn, without Without) error {
	period := "false"
	if c.Major() >= 18 {
		period = "k.conperiod"
	}
	// A small index is as large as the server last noted if its table is, too, and has as many rows: VACUUM may note
	// the table alone. To look for its file takes as long as to write down its definition.
	ids, blocks := make([]uint32, len(cat.Tables)), make([]int64, len(cat.Tables))
	for i, r := range cat.Tables {
		ids[i], blocks[i] = r.OID, r.Blocks
	}
	rows, err := c.Query(ctx, `SELECT x.indexrelid, x.indrelid, ic.relname::text, coalesce(pg_catalog.pg_get_indexdef(x.indexrelid), ''),
		coalesce(ts.spcname::text, ''), x.indisvalid, x.indisunique, x.indisclustered, x.indisreplident,
		coalesce(inh.inhparent, 0::oid), CASE WHEN ic.relkind <> 'i' THEN 0
			WHEN ic.relpages BETWEEN 1 AND 1000 AND c.relpages = known.blocks AND ic.reltuples >= 0.9 * c.reltuples THEN ic.relpages * pg_catalog.current_setting('block_size')::int8
			ELSE coalesce(pg_catalog.pg_relation_size(x.indexrelid), 0) END,
		coalesce(stats.columns, '{}'), coalesce(stats.targets, '{}'), coalesce(ext.names, '{}'),
		k.oid, k.conname::text, k.contype::text, coalesce(pg_catalog.pg_get_constraintdef(k.oid), ''),
		coalesce((SELECT pg_catalog.string_agg(pg_catalog.quote_ident(o.option_name) || '=' || pg_catalog.quote_literal(o.option_value), ', ')
			FROM pg_catalog.pg_options_to_table(ic.reloptions) o), ''),
		coalesce(k.condeferrable, false), coalesce(k.condeferred, false), coalesce(`+period+`, false)
	FROM pg_catalog.pg_index x
	JOIN pg_catalog.pg_class c ON c.oid = x.indrelid AND c.relkind IN ('r', 'p')
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid
	LEFT JOIN unnest($3::oid[], $4::int8[]) AS known (id, blocks) ON known.id = c.oid
	LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = ic.reltablespace
	LEFT JOIN pg_catalog.pg_inherits inh ON inh.inhrelid = x.indexrelid
	LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid AND k.contype IN ('p', 'u', 'x')
	LEFT JOIN (SELECT a.attrelid, pg_catalog.array_agg(a.attnum::text ORDER BY a.attnum) AS columns, pg_catalog.array_agg(a.attstattarget::int4 ORDER BY a.attnum) AS targets
		FROM pg_catalog.pg_attribute a WHERE a.attstattarget >= 0 AND a.attnum > 0 GROUP BY a.attrelid) stats ON stats.attrelid = x.indexrelid
	LEFT JOIN (SELECT d.objid, pg_catalog.array_agg(e.extname::text ORDER BY e.extname) AS names
		FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
		WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'x'
		GROUP BY d.objid) ext ON ext.objid = x.indexrelid
	WHERE x.indisready AND (x.indisvalid OR ic.relkind = 'I') AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+`
	ORDER BY x.indexrelid`, without.names(), without.IDs(), ids, blocks)
	if err != nil {
		return err
	}
	cat.Indexes, err = pgx.CollectRows(rows, scanIndex)
	return err
}

func scanIndex(row pgx.CollectableRow) (Index, error) {
	var x Index
	var columns []string
	var targets []int
	var oid *uint32
	var name, contype *string
	k := Constraint{}
	err := row.Scan(&x.OID, &x.Table, &x.Name, &x.Definition, &x.Tablespace, &x.Valid, &x.Unique, &x.Clustered, &x.ReplicaIdentity,
		&x.Parent, &x.Bytes, &columns, &targets, &x.Extensions, &oid, &name, &contype, &k.Definition, &k.Parameters, &k.Deferrable, &k.Deferred, &k.Period)
	if err != nil {
		return x, err
	}
	if len(columns) > 0 {
		x.StatTargets = make(map[string]int, len(columns))
		for i, column := range columns {
			x.StatTargets[column] = targets[i]
		}
	}
	if oid != nil {
		k.OID, k.Name, k.Type = *oid, *name, *contype
		x.Constraint = &k
	}
	return x, nil
}

func (cat *Catalog) readForeignKeys(ctx context.Context, c *Conn, without Without) error {
	enforced := "true"
	if c.Major() >= 18 {
		enforced = "k.conenforced"
	}
	rows, err := c.Query(ctx, `SELECT k.oid, k.conrelid, k.confrelid, k.conname::text, coalesce(pg_catalog.pg_get_constraintdef(k.oid), ''),
		k.convalidated, `+enforced+`
	FROM pg_catalog.pg_constraint k
	JOIN pg_catalog.pg_class c ON c.oid = k.conrelid AND c.relkind IN ('r', 'p')
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE k.contype = 'f' AND k.conparentid = 0 AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+`
	ORDER BY k.oid`, without.names(), without.IDs())
	if err != nil {
		return err
	}
	cat.ForeignKeys, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ForeignKey])
	return err
}

func (cat *Catalog) readSequences(ctx context.Context, c *Conn, without Without) error {
	rows, err := c.Query(ctx, `SELECT c.oid, n.nspname::text, c.relname::text
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind = 'S' AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+`
	ORDER BY c.oid`, without.names(), without.IDs())
	if err != nil {
		return err
	}
	cat.Sequences, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Sequence])
	return err
}

// readMatViews goes from each materialized view to what its rule reads, and
// through views on, up to other materialized views.
func (cat *Catalog) readMatViews(ctx context.Context, c *Conn, without Without) error {
	rows, err := c.Query(ctx, `WITH RECURSIVE reading (view, id, kind) AS (
		SELECT c.oid, c.oid, 'v'::"char" FROM pg_catalog.pg_class c WHERE c.relkind = 'm'
		UNION SELECT g.view, o.oid, o.relkind FROM reading g
		JOIN pg_catalog.pg_rewrite r ON r.ev_class = g.id
		JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
		JOIN pg_catalog.pg_class o ON o.oid = d.refobjid AND o.relkind IN ('v', 'm')
		WHERE g.kind = 'v')
	SELECT c.oid, n.nspname::text, c.relname::text, c.relispopulated,
		ARRAY(SELECT g.id FROM reading g WHERE g.view = c.oid AND g.kind = 'm' AND g.id <> c.oid ORDER BY g.id),
		coalesce(pg_catalog.pg_total_relation_size(c.oid), 0)
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind = 'm' AND n.nspname <> ALL ($1) AND c.oid <> ALL ($2) AND `+userRelation+`
	ORDER BY c.oid`, without.names(), without.IDs())
	if err != nil {
		return err
	}
	cat.MatViews, err = pgx.CollectRows(rows, pgx.RowToStructByPos[MatView])
	return err
}

func (cat *Catalog) readExtensionConfig(ctx context.Context, c *Conn, without Without) error {
	rows, err := c.Query(ctx, `SELECT e.extname::text, c.oid, n.nspname::text, c.relname::text, c.relkind::text, coalesce(x.condition, ''),
		coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::oid, cols.names, refs.oids
	FROM pg_catalog.pg_extension e
	CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) AS x(id, condition)
	JOIN pg_catalog.pg_class c ON c.oid = x.id AND c.relkind IN ('r', 'S')
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	CROSS JOIN LATERAL (`+columnNames+fromCopied+`) cols
	CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.array_agg(DISTINCT k.confrelid), '{}') AS oids FROM pg_catalog.pg_constraint k
		WHERE k.contype = 'f' AND k.conrelid = c.oid AND k.confrelid <> c.oid AND k.confrelid = ANY (e.extconfig)) refs
	WHERE n.nspname <> ALL ($1) AND c.oid <> ALL ($2)
	ORDER BY c.oid`, without.names(), without.IDs())
	if err != nil {
		return err
	}
	cat.ExtensionConfig, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ConfigTable])
	return err
}

func (cat *Catalog) readLargeObjects(ctx context.Context, c *Conn, _ Without) error {
	rows, err := c.Query(ctx, `SELECT oid FROM (
			SELECT oid, pg_catalog.row_number() OVER (ORDER BY oid) AS n, pg_catalog.count(*) OVER () AS total
			FROM pg_catalog.pg_largeobject_metadata) o
		WHERE n % 1000 = 1 OR n = total ORDER BY oid`)
	if err != nil {
		return err
	}
	if cat.LargeObjects, err = pgx.CollectRows(rows, pgx.RowTo[uint32]); err != nil {
		return err
	}
	return c.QueryRow(ctx, "SELECT pg_catalog.pg_total_relation_size('pg_catalog.pg_largeobject')").Scan(&cat.LargeObjectBytes)
}

// KeyBounds returns ascending values that cut the rows of the table into
// about parts equal ranges of the integer key, estimated from a sample of the
// table's blocks. Fewer come back if the sample has fewer values. Any bounds
// are right, good ones are merely faster.
func KeyBounds(ctx context.Context, c *Conn, table, key string, blocks int64, parts int) ([]string, error) {
	percent := min(100, 100*float64(300*parts)/float64(max(blocks, 1)))
	fractions := make([]string, 0, parts-1)
	for i := 1; i < parts; i++ {
		fractions = append(fractions, fmt.Sprintf("%.6f", float64(i)/float64(parts)))
	}
	var bounds []string
	err := c.QueryRow(ctx, fmt.Sprintf(`SELECT coalesce((SELECT pg_catalog.array_agg(DISTINCT b ORDER BY b) FROM unnest(
		(SELECT pg_catalog.percentile_disc(ARRAY[%s]::float8[]) WITHIN GROUP (ORDER BY %s) FROM ONLY %s TABLESAMPLE SYSTEM (%f) REPEATABLE (0))) b)::text[], '{}')`,
		strings.Join(fractions, ","), pgx.Identifier{key}.Sanitize(), table, percent)).Scan(&bounds)
	if err != nil {
		return nil, fmt.Errorf("sample the key of %s: %w", table, err)
	}
	return bounds, nil
}
