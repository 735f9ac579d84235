package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// single makes a world without bundles, so that every step is a task.
func single() *world {
	w := newWorld()
	w.Options.BundleMaxTable = 0
	return w
}

func TestOrderOfATable(t *testing.T) {
	t.Parallel()
	w := single()
	a := w.table("a", 250*mb)
	w.index(a, "a_v")
	w.primaryKey(a)
	r := w.table("r", 1)
	w.primaryKey(r)
	w.foreignKey(a, r, "a_r")
	p := w.build(t)
	p.requireOrder(t, "misc.pre-data.c0001", "copy.public.a.p0001", "index.public.a.a_v", "attach.public.a.all", "analyze.public.a.all",
		"fkey.public.a.a_r.add", "fkey.public.a.a_r.validate")
	p.requireOrder(t, "copy.public.a.p0003", "index.public.a.a_pkey", "attach.public.a.all")
	p.requireOrder(t, "analyze.public.r.all", "fkey.public.a.a_r.add")
	p.requireApart(t, "index.public.a.a_v", "index.public.a.a_pkey")
	p.requireApart(t, "copy.public.a.p0001", "copy.public.a.p0002")
	p.requireApart(t, "copy.public.a.p0001", "analyze.public.r.all")
	require.Equal(t, []string{`ALTER TABLE ONLY "public"."a" ADD CONSTRAINT "a_pkey" PRIMARY KEY USING INDEX "a_pkey"`}, p.sql(t, "attach.public.a.all"))
	require.Equal(t, []string{`ALTER TABLE ONLY "public"."a" ADD CONSTRAINT "a_r" FOREIGN KEY (v) REFERENCES public.r(id) NOT VALID`},
		p.sql(t, "fkey.public.a.a_r.add"))
	require.Equal(t, []string{`ALTER TABLE ONLY "public"."a" VALIDATE CONSTRAINT "a_r"`}, p.sql(t, "fkey.public.a.a_r.validate"))
	require.Equal(t, &tasks.Name{Schema: "public", Name: "a"}, decode[tasks.Statements](t, p.task(t, "attach.public.a.all")).On)
}

func TestTableWithoutIndexes(t *testing.T) {
	t.Parallel()
	w := single()
	w.table("a", 1)
	p := w.build(t)
	p.requireOrder(t, "copy.public.a.all", "analyze.public.a.all")
	require.False(t, p.has("attach.public.a.all"))
}

// buildSettings is what precedes CREATE INDEX.
func buildSettings(kilobytes, helpers int) string {
	return fmt.Sprintf("SET LOCAL maintenance_work_mem = %d; SELECT pg_catalog.set_config('max_parallel_maintenance_workers', "+
		"least(pg_catalog.current_setting('max_parallel_maintenance_workers')::int, %d)::text, true); ", kilobytes, helpers)
}

// Sorts get what makes their runs few enough for one pass, and no more; a table
// with few indexes gets helpers, as the stage has room for them.
func TestSettingsOfBuilds(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.Options.IndexCap = 4
	sized := func(bytes int64) func(*pg.Index) { return func(x *pg.Index) { x.Bytes = bytes } }
	large := w.table("large", 2*mb)
	w.index(large, "gb", sized(1<<30))
	w.index(large, "tb", sized(1<<40))
	other := w.table("other", 2*mb)
	w.index(other, "alone", sized(1))
	gin := w.table("gin", 2*mb)
	for _, name := range []string{"x", "y", "z"} {
		w.index(gin, "gin_"+name, func(x *pg.Index) { x.Definition = "CREATE INDEX ON public.gin USING gin (v)" })
	}
	p := w.build(t)
	first := func(id tasks.ID) string { return p.sql(t, id)[0] }
	require.Contains(t, first("index.public.large.gb"), buildSettings(32<<10, 1))
	require.Contains(t, first("index.public.large.tb"), buildSettings(1<<20, 1))
	require.Contains(t, first("index.public.other.alone"), buildSettings(16<<10, 3))
	require.NotContains(t, first("index.public.gin.gin_x"), "maintenance_work_mem", "such an index takes all that it can get")
	require.Contains(t, first("index.public.gin.gin_x"), ", 0)::text")
}

func TestIndexesAndConstraints(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		index  func(w *world) func(*pg.Index)
		create []string
		attach []string
	}{
		"plain": {
			index:  func(*world) func(*pg.Index) { return func(*pg.Index) {} },
			create: []string{"CREATE INDEX x ON public.a USING btree (v)"},
		},
		"in a tablespace, with statistics targets": {
			index: func(*world) func(*pg.Index) {
				return func(x *pg.Index) { x.Tablespace, x.StatTargets = `it's`, map[string]int{"2": 0, "1": 500} }
			},
			create: []string{
				`SET LOCAL default_tablespace = 'it''s'; CREATE INDEX x ON public.a USING btree (v); SET LOCAL default_tablespace = ''`,
				`ALTER INDEX "public"."x" ALTER COLUMN 1 SET STATISTICS 500`,
				`ALTER INDEX "public"."x" ALTER COLUMN 2 SET STATISTICS 0`,
			},
		},
		"marked": {
			index: func(*world) func(*pg.Index) {
				return func(x *pg.Index) {
					x.Clustered, x.ReplicaIdentity, x.Extensions = true, true, []string{"hstore", "pg_trgm"}
				}
			},
			create: []string{"CREATE INDEX x ON public.a USING btree (v)"},
			attach: []string{
				`ALTER TABLE ONLY "public"."a" CLUSTER ON "x"`,
				`ALTER TABLE ONLY "public"."a" REPLICA IDENTITY USING INDEX "x"`,
				`ALTER INDEX "public"."x" DEPENDS ON EXTENSION "hstore"`,
				`ALTER INDEX "public"."x" DEPENDS ON EXTENSION "pg_trgm"`,
			},
		},
		"unique, deferrable": {
			index: func(w *world) func(*pg.Index) {
				return w.constraint("u", "UNIQUE (v) DEFERRABLE", func(k *pg.Constraint) { k.Deferrable = true })
			},
			create: []string{"CREATE UNIQUE INDEX x ON public.a USING btree (v)"},
			attach: []string{`ALTER TABLE ONLY "public"."a" ADD CONSTRAINT "x" UNIQUE USING INDEX "x" DEFERRABLE`},
		},
		"primary key, deferred, replica identity": {
			index: func(w *world) func(*pg.Index) {
				return func(x *pg.Index) {
					w.constraint("p", "PRIMARY KEY (v) DEFERRABLE INITIALLY DEFERRED", func(k *pg.Constraint) { k.Deferrable, k.Deferred = true, true })(x)
					x.ReplicaIdentity = true
				}
			},
			create: []string{"CREATE UNIQUE INDEX x ON public.a USING btree (v)"},
			attach: []string{
				`ALTER TABLE ONLY "public"."a" ADD CONSTRAINT "x" PRIMARY KEY USING INDEX "x" DEFERRABLE INITIALLY DEFERRED`,
				`ALTER TABLE ONLY "public"."a" REPLICA IDENTITY USING INDEX "x"`,
			},
		},
		"exclusion": {
			index: func(w *world) func(*pg.Index) {
				return func(x *pg.Index) {
					w.constraint("x", "EXCLUDE USING gist (v WITH &&) DEFERRABLE", func(k *pg.Constraint) { k.Deferrable = true })(x)
					x.Tablespace, x.StatTargets = "fast", map[string]int{"1": 7}
				}
			},
			attach: []string{
				`SET LOCAL default_tablespace = 'fast'; ALTER TABLE ONLY "public"."a" ADD CONSTRAINT "x" EXCLUDE USING gist (v WITH &&) DEFERRABLE; SET LOCAL default_tablespace = ''`,
				`ALTER INDEX "public"."x" ALTER COLUMN 1 SET STATISTICS 7`,
			},
		},
		"exclusion with parameters, which its definition has": {
			index: func(w *world) func(*pg.Index) {
				return w.constraint("x", "EXCLUDE USING gist (v WITH &&) WITH (fillfactor='77')", func(k *pg.Constraint) { k.Parameters = "fillfactor='77'" })
			},
			attach: []string{`ALTER TABLE ONLY "public"."a" ADD CONSTRAINT "x" EXCLUDE USING gist (v WITH &&) WITH (fillfactor='77')`},
		},
		"without overlaps": {
			index: func(w *world) func(*pg.Index) {
				return w.constraint("p", "PRIMARY KEY (id, v WITHOUT OVERLAPS)", func(k *pg.Constraint) { k.Period = true })
			},
			attach: []string{`ALTER TABLE ONLY "public"."a" ADD CONSTRAINT "x" PRIMARY KEY (id, v WITHOUT OVERLAPS)`},
		},
		"without overlaps, with parameters, deferrable": {
			index: func(w *world) func(*pg.Index) {
				return w.constraint("u", "UNIQUE (id, v WITHOUT OVERLAPS) DEFERRABLE", func(k *pg.Constraint) {
					k.Period, k.Deferrable, k.Parameters = true, true, "fillfactor='80'"
				})
			},
			attach: []string{`ALTER TABLE ONLY "public"."a" ADD CONSTRAINT "x" UNIQUE (id, v WITHOUT OVERLAPS) WITH (fillfactor='80') DEFERRABLE`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := single()
			a := w.table("a", 1)
			w.index(a, "x", test.index(w))
			p := w.build(t)
			require.Equal(t, test.create != nil, p.has("index.public.a.x"))
			if test.create != nil {
				sql := p.sql(t, "index.public.a.x")
				sql[0] = strings.TrimPrefix(sql[0], buildSettings(16<<10, 0))
				require.Equal(t, test.create, sql)
			}
			require.Equal(t, test.attach != nil, p.has("attach.public.a.all"))
			if test.attach != nil {
				require.Equal(t, test.attach, p.sql(t, "attach.public.a.all"))
				p.requireOrder(t, "copy.public.a.all", "attach.public.a.all", "analyze.public.a.all")
			}
		})
	}
}

// From 18 on, PRIMARY KEY USING INDEX would make an inherited NOT NULL one of the
// table's own.
func TestKeyOfAChild(t *testing.T) {
	t.Parallel()
	for major, want := range map[int]string{17: `PRIMARY KEY USING INDEX "child_pkey"`, 18: "PRIMARY KEY (id)"} {
		w := single()
		w.TargetMajor = major
		child := w.table("child", 1, func(r *pg.Relation) { r.Child = true })
		w.primaryKey(child)
		p := w.build(t)
		require.Equal(t, []string{`ALTER TABLE ONLY "public"."child" ADD CONSTRAINT "child_pkey" ` + want}, p.sql(t, "attach.public.child.all"))
		require.Equal(t, major == 17, p.has("index.public.child.child_pkey"))
	}
}

func TestNamesAreQuoted(t *testing.T) {
	t.Parallel()
	w := single()
	odd := w.table(`odd"name`, 1)
	w.primaryKey(odd)
	w.foreignKey(odd, odd, `f"k`)
	p := w.build(t)
	require.Equal(t, []string{`ALTER TABLE ONLY "public"."odd""name" ADD CONSTRAINT "odd""name_pkey" PRIMARY KEY USING INDEX "odd""name_pkey"`},
		p.sql(t, "attach.public.odd=22name.all"))
	require.Equal(t, []string{`ALTER TABLE ONLY "public"."odd""name" VALIDATE CONSTRAINT "f""k"`}, p.sql(t, "fkey.public.odd=22name.f=22k.validate"))
}

func TestAnIndexOrKeyThatIsGoneIsAnError(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*world){
		"index":       func(w *world) { w.Catalog.Indexes[0].Definition = "" },
		"foreign key": func(w *world) { w.Catalog.ForeignKeys[0].Definition = "" },
	} {
		for _, kind := range []string{"r", "p"} {
			w := single()
			a := w.table("a", 1, func(r *pg.Relation) { r.Kind = kind })
			w.index(a, "a_v")
			w.foreignKey(a, a, "a_a")
			edit(w)
			var err error
			w.Selection, err = plan.Select(w.Catalog, w.entries)
			require.NoError(t, err)
			_, err = plan.Build(w.Input)
			require.ErrorContains(t, err, "was dropped since the snapshot was taken", name)
		}
	}
}

// tree makes root → middle → leaf1, leaf2 with a primary key and an index on
// every level, and a plain table that refers to the root.
func (w *world) tree() {
	root := w.partitioned("root", "", 0)
	middle := w.partitioned("middle", "", root)
	leaves := []uint32{w.table("leaf1", 1, of(middle)), w.table("leaf2", 1, of(middle))}
	other := w.table("other", 1)
	rootKey, rootIndex := w.primaryKey(root, func(x *pg.Index) { x.Constraint.Parameters = "fillfactor='80'" }), w.index(root, "root_v", func(x *pg.Index) {
		x.Tablespace, x.StatTargets, x.Extensions = "fast", map[string]int{"1": 9}, []string{"hstore"}
	})
	middleKey, middleIndex := w.primaryKey(middle, attachedTo(rootKey)), w.index(middle, "middle_v", attachedTo(rootIndex))
	for i, leaf := range leaves {
		w.primaryKey(leaf, attachedTo(middleKey))
		w.index(leaf, fmt.Sprintf("leaf%d_v", i+1), attachedTo(middleIndex))
	}
	w.foreignKey(other, root, "other_root")
	w.foreignKey(root, other, "root_other")
	w.foreignKey(leaves[0], other, "leaf1_other")
}

func TestPartitionedTables(t *testing.T) {
	t.Parallel()
	for _, bundles := range []bool{false, true} {
		w := newWorld()
		if !bundles {
			w = single()
		}
		w.tree()
		p := w.build(t)
		require.Equal(t, []string{
			`ALTER TABLE ONLY "public"."middle" ADD CONSTRAINT "middle_pkey" PRIMARY KEY (id)`,
			`CREATE INDEX middle_v ON ONLY public.middle USING btree (v)`,
			`ALTER INDEX "public"."middle_pkey" ATTACH PARTITION "public"."leaf1_pkey"`,
			`ALTER INDEX "public"."middle_pkey" ATTACH PARTITION "public"."leaf2_pkey"`,
			`ALTER INDEX "public"."middle_v" ATTACH PARTITION "public"."leaf1_v"`,
			`ALTER INDEX "public"."middle_v" ATTACH PARTITION "public"."leaf2_v"`,
		}, p.sql(t, "attach.public.middle.all"))
		require.Equal(t, []string{
			`ALTER TABLE ONLY "public"."root" ADD CONSTRAINT "root_pkey" PRIMARY KEY (id) WITH (fillfactor='80')`,
			`SET LOCAL default_tablespace = 'fast'; CREATE INDEX root_v ON ONLY public.root USING btree (v); SET LOCAL default_tablespace = ''`,
			`ALTER INDEX "public"."root_v" ALTER COLUMN 1 SET STATISTICS 9`,
			`ALTER INDEX "public"."root_pkey" ATTACH PARTITION "public"."middle_pkey"`,
			`ALTER INDEX "public"."root_v" ATTACH PARTITION "public"."middle_v"`,
			`ALTER INDEX "public"."root_v" DEPENDS ON EXTENSION "hstore"`,
		}, p.sql(t, "attach.public.root.all"))
		for _, leaf := range []tasks.ID{"leaf1", "leaf2"} {
			attached := "attach.public." + leaf + ".all"
			if bundles {
				attached = "copy.bundle.b0001"
			}
			p.requireOrder(t, attached, "attach.public.middle.all", "attach.public.root.all", "analyze.public.root.all", "fkey.public.other.other_root.add")
		}
		require.Len(t, w.Selection.Replaced, 8+6+3, "the entries of attached indexes are made anew from pg_inherits")
	}
}

func TestPartitionedBefore18(t *testing.T) {
	t.Parallel()
	w := single()
	w.TargetMajor = 17
	w.tree()
	p := w.build(t)
	require.Equal(t, []string{`ANALYZE "public"."root"`}, p.sql(t, "analyze.public.root.all"))
	require.False(t, p.has("analyze.public.leaf1.all"), "ANALYZE of the root analyzes the leaves")
	require.False(t, p.has("analyze.public.middle.all"))
	for id, sql := range map[tasks.ID]string{
		"fkey.public.other.other_root.add":  `ALTER TABLE ONLY "public"."other" ADD CONSTRAINT "other_root" FOREIGN KEY (v) REFERENCES public.r(id)`,
		"fkey.public.root.root_other.add":   `ALTER TABLE "public"."root" ADD CONSTRAINT "root_other" FOREIGN KEY (v) REFERENCES public.r(id)`,
		"fkey.public.leaf1.leaf1_other.add": `ALTER TABLE ONLY "public"."leaf1" ADD CONSTRAINT "leaf1_other" FOREIGN KEY (v) REFERENCES public.r(id) NOT VALID`,
	} {
		require.Equal(t, []string{sql}, p.sql(t, id))
		p.requireOrder(t, "analyze.public.root.all", id)
	}
	require.False(t, p.has("fkey.public.other.other_root.validate"))
	require.False(t, p.has("fkey.public.root.root_other.validate"))
	require.True(t, p.has("fkey.public.leaf1.leaf1_other.validate"))
}

func TestPartitionedFrom18(t *testing.T) {
	t.Parallel()
	w := single()
	w.TargetMajor = 18
	w.tree()
	p := w.build(t)
	require.Equal(t, []string{`ANALYZE ONLY "public"."root"`}, p.sql(t, "analyze.public.root.all"))
	require.Equal(t, []string{`ANALYZE ONLY "public"."middle"`}, p.sql(t, "analyze.public.middle.all"))
	require.Equal(t, []string{`ANALYZE "public"."leaf1"`}, p.sql(t, "analyze.public.leaf1.all"))
	for id, sql := range map[tasks.ID]string{
		"fkey.public.other.other_root.add":      `ALTER TABLE ONLY "public"."other" ADD CONSTRAINT "other_root" FOREIGN KEY (v) REFERENCES public.r(id) NOT VALID`,
		"fkey.public.other.other_root.validate": `ALTER TABLE ONLY "public"."other" VALIDATE CONSTRAINT "other_root"`,
		"fkey.public.root.root_other.add":       `ALTER TABLE "public"."root" ADD CONSTRAINT "root_other" FOREIGN KEY (v) REFERENCES public.r(id) NOT VALID`,
		"fkey.public.root.root_other.validate":  `ALTER TABLE "public"."root" VALIDATE CONSTRAINT "root_other"`,
	} {
		require.Equal(t, []string{sql}, p.sql(t, id))
	}
	p.requireApart(t, "fkey.public.leaf1.leaf1_other.add", "analyze.public.leaf2.all")
}

func TestForeignKeys(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		edit     func(*pg.ForeignKey)
		add      string
		validate bool
	}{
		"valid":        {edit: func(*pg.ForeignKey) {}, add: "FOREIGN KEY (v) REFERENCES public.r(id) NOT VALID", validate: true},
		"deferrable":   {edit: func(f *pg.ForeignKey) { f.Definition += " DEFERRABLE" }, add: "FOREIGN KEY (v) REFERENCES public.r(id) DEFERRABLE NOT VALID", validate: true},
		"not valid":    {edit: func(f *pg.ForeignKey) { f.Validated = false; f.Definition += " NOT VALID" }, add: "FOREIGN KEY (v) REFERENCES public.r(id) NOT VALID"},
		"not enforced": {edit: func(f *pg.ForeignKey) { f.Enforced = false; f.Definition += " NOT ENFORCED" }, add: "FOREIGN KEY (v) REFERENCES public.r(id) NOT ENFORCED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := single()
			w.TargetMajor = 18
			a, r := w.table("a", 1), w.table("r", 1)
			w.foreignKey(a, r, "fk", test.edit)
			p := w.build(t)
			require.Equal(t, []string{`ALTER TABLE ONLY "public"."a" ADD CONSTRAINT "fk" ` + test.add}, p.sql(t, "fkey.public.a.fk.add"))
			require.Equal(t, test.validate, p.has("fkey.public.a.fk.validate"))
		})
	}
}

// pg_dump writes a foreign key from a table of the user's to one of an
// extension, which the catalog leaves out.
func TestForeignKeyToATableOfAnExtension(t *testing.T) {
	t.Parallel()
	w := single()
	a := w.table("a", 1)
	w.Catalog.ExtensionConfig = []pg.ConfigTable{{OID: 7, Schema: "ext", Name: "config", Kind: "r", Columns: []string{"id"}}}
	w.foreignKey(a, 7, "to_config")
	w.foreignKey(a, 8, "to_other")
	p := w.build(t)
	require.Empty(t, p.Skipped)
	p.requireOrder(t, "misc.extension-data.all", "fkey.public.a.to_config.add")
	p.requireApart(t, "misc.extension-data.all", "fkey.public.a.to_other.add")
	p.requireOrder(t, "analyze.public.a.all", "fkey.public.a.to_other.add")
	require.NotContains(t, p.sql(t, "fkey.public.a.to_other.add")[0], "NOT VALID", "the referenced table may be partitioned")
}

func TestForeignKeyThatIsNotDumped(t *testing.T) {
	t.Parallel()
	w := single()
	a := w.table("a", 1)
	w.foreignKey(a, a, "fk")
	w.entries = w.entries[:len(w.entries)-1]
	require.Equal(t, []tasks.Skipped{{Object: "foreign key fk", Reason: "pg_dump leaves it out"}}, w.build(t).Skipped)
}

// The statistics of a table that others inherit from hold theirs, too.
func TestInheritedTablesAreAnalyzedLate(t *testing.T) {
	t.Parallel()
	for _, bundles := range []bool{false, true} {
		w := newWorld()
		if !bundles {
			w = single()
		}
		parent := w.table("parent", 1, func(r *pg.Relation) { r.Inherited = true })
		w.table("child", 1)
		w.foreignKey(parent, parent, "fk")
		p := w.build(t)
		analyze := p.task(t, "analyze.public.parent.all")
		require.Equal(t, tasks.WaveLate, analyze.Wave)
		require.Contains(t, p.run(analyze.ID), tasks.ID("fkey.public.parent.fk.add"), "nothing waits for it")
		p.requireOrder(t, "fkey.public.parent.fk.add", analyze.ID)
	}
}

// ANALYZE of a tree would read its foreign tables on their own servers: the
// local leaves are analyzed each by itself, and the rest is reported.
func TestTreesOverForeignTablesAreNotAnalyzed(t *testing.T) {
	t.Parallel()
	for _, target := range []int{15, 18} {
		w := single()
		w.TargetMajor = target
		over := func(r *pg.Relation) { r.OverForeign = true }
		root := w.partitioned("root", "", 0)
		over(w.relation(root))
		leaf := w.table("leaf", 1, of(root))
		w.table("parent", 1, over, func(r *pg.Relation) { r.Inherited = true })
		w.table("orphan", 1, of(999))
		w.foreignKey(leaf, root, "fk")
		p := w.build(t)
		require.Len(t, p.ofKind(tasks.KindAnalyze), 2)
		require.True(t, p.has("analyze.public.leaf.all"))
		require.True(t, p.has("analyze.public.orphan.all"), "its parent is not in the catalog")
		require.Len(t, p.Skipped, 2)
		p.requireOrder(t, "attach.public.root.all", "fkey.public.leaf.fk.add")
	}
}

// A key between small tables is checked when it is added; if one of them is large
// the check is a task of its own.
func TestKeysOfSmallTablesAreOneTask(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, b, large := w.table("a", 1), w.table("b", 1), w.table("large", 2*mb)
	w.foreignKey(a, b, "small")
	w.foreignKey(a, large, "to_large")
	p := w.build(t)
	require.NotContains(t, p.sql(t, "fkey.public.a.small.add")[0], "NOT VALID")
	require.False(t, p.has("fkey.public.a.small.validate"))
	require.Contains(t, p.sql(t, "fkey.public.a.to_large.add")[0], "NOT VALID")
	require.True(t, p.has("fkey.public.a.to_large.validate"))
}
