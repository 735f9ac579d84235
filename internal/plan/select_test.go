package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
)

func descs(entries []pg.Entry) []string {
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = e.Desc + " " + e.Rest
	}
	return list
}

func TestSelectPlacesEntries(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.pre("SCHEMA", "- app me")
	w.pre("ACL", "- SCHEMA app me")
	table := w.table("a", 1)
	w.pre("FOREIGN TABLE", "public far me")
	w.pre("CHECK CONSTRAINT", "public a_check me")
	w.index(table, "a_v")
	w.primaryKey(table)
	w.foreignKey(table, table, "a_fk")
	w.post("STATISTICS", "public a_stats me")
	w.post("TRIGGER", "public a a_trigger me")
	w.post("COMMENT", "public INDEX a_v me")
	w.entry(true, "INDEX", 1259, 99, "public index_of_matview me")
	w.entry(true, "INDEX", 0, w.Catalog.Indexes[0].OID, "public not_by_oid_alone me")
	w.entry(true, "CONSTRAINT", 2606, 98, "public constraint_of_no_index me")
	w.post("DEFAULT ACL", "public DEFAULT PRIVILEGES me")
	w.post("PUBLICATION", "- p me")

	s, err := plan.Select(w.Catalog, w.entries)
	require.NoError(t, err)
	require.Equal(t, []string{"SCHEMA - app me", "TABLE public a me", "FOREIGN TABLE public far me", "CHECK CONSTRAINT public a_check me"}, descs(s.Pre))
	require.Equal(t, []string{"STATISTICS public a_stats me"}, descs(s.Statistics))
	require.Equal(t, []string{"INDEX public a_v me", "CONSTRAINT public a_pkey me", "FK CONSTRAINT public a_fk me"}, descs(s.Replaced))
	require.Equal(t, []string{"TRIGGER public a a_trigger me", "COMMENT public INDEX a_v me", "INDEX public index_of_matview me",
		"INDEX public not_by_oid_alone me", "CONSTRAINT public constraint_of_no_index me"}, descs(s.Rest))
	require.Equal(t, []string{"ACL - SCHEMA app me", "DEFAULT ACL public DEFAULT PRIVILEGES me"}, descs(s.Access))
	require.Equal(t, []string{"PUBLICATION - p me"}, descs(s.Last))
	require.Equal(t, []string{"FOREIGN TABLE public far me"}, descs(s.ForeignTables))
}

// An event trigger fires on every command that follows it, COMMENT ON
// PUBLICATION included, but not on commands about event triggers.
func TestEventTriggersAreTheVeryLast(t *testing.T) {
	t.Parallel()
	w := newWorld()
	trigger := w.post("EVENT TRIGGER", "- e me")
	w.post("COMMENT", "- EVENT TRIGGER e me", trigger)
	publication := w.post("PUBLICATION", "- p me")
	w.post("PUBLICATION TABLE", "public p a me", publication)
	w.post("PUBLICATION TABLES IN SCHEMA", "- p s me", publication)
	label := w.post("SECURITY LABEL", "- PUBLICATION p me", publication)
	w.post("COMMENT", "- PUBLICATION p me", publication, label)
	w.post("SUBSCRIPTION", "- s me")
	w.post("COMMENT", "public FUNCTION f me")
	s, err := plan.Select(w.Catalog, w.entries)
	require.NoError(t, err)
	require.Equal(t, []string{"PUBLICATION - p me", "PUBLICATION TABLE public p a me", "PUBLICATION TABLES IN SCHEMA - p s me",
		"SECURITY LABEL - PUBLICATION p me", "COMMENT - PUBLICATION p me", "SUBSCRIPTION - s me",
		"EVENT TRIGGER - e me", "COMMENT - EVENT TRIGGER e me"}, descs(s.Last))
	require.Equal(t, []string{"COMMENT public FUNCTION f me"}, descs(s.Rest))
}

// Statistics of a materialized view that pg_dump makes late cannot come early.
func TestStatisticsFollowTheirRelation(t *testing.T) {
	t.Parallel()
	w := newWorld()
	early := w.pre("MATERIALIZED VIEW", "public early me")
	late := w.post("MATERIALIZED VIEW", "public late me")
	w.post("STATISTICS", "public early_stats me", early)
	w.post("STATISTICS", "public late_stats me", late)
	s, err := plan.Select(w.Catalog, w.entries)
	require.NoError(t, err)
	require.Equal(t, []string{"STATISTICS public early_stats me"}, descs(s.Statistics))
	require.Equal(t, []string{"MATERIALIZED VIEW public late me", "STATISTICS public late_stats me"}, descs(s.Rest))
}

func TestSelectRefusesData(t *testing.T) {
	t.Parallel()
	for _, desc := range []string{"TABLE DATA", "SEQUENCE SET", "BLOB", "BLOBS", "LARGE OBJECT", "BLOB METADATA", "STATISTICS DATA"} {
		w := newWorld()
		w.pre(desc, "public a me")
		_, err := plan.Select(w.Catalog, w.entries)
		require.ErrorContains(t, err, "was not asked for", desc)
	}
}

// TestSelectRefusesLateTables has a table that needs, say, the row type of a
// materialized view that is made after the rows: nothing could load it.
func TestSelectRefusesLateTables(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.post("TABLE", "public a me")
	_, err := plan.Select(w.Catalog, w.entries)
	require.ErrorContains(t, err, "TABLE public a me")
}
