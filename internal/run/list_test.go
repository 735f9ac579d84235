package run_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/run"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// TestLists reads every listing of the museum, as programs do, and looks for an
// object in each.
func TestLists(t *testing.T) {
	t.Parallel()
	src := pgtest.Source(t).Museum(t)
	o := options(t, src, src)
	o.Config.Target.URI = "" // it is not needed
	lists := map[string][]map[string]any{}
	for _, what := range run.Listings() {
		listing, err := run.List(t.Context(), o, what)
		require.NoError(t, err)
		var out, table bytes.Buffer
		require.NoError(t, ui.List(&out, ui.JSON, listing))
		var rows []map[string]any
		require.NoError(t, json.Unmarshal(out.Bytes(), &rows))
		lists[what] = rows
		require.NoError(t, ui.List(&table, "table", listing))
		require.Equal(t, len(rows)+1, bytes.Count(table.Bytes(), []byte("\n")), "a line each, whatever is in the names: %s", &table)
	}
	find := func(what string, want map[string]any) map[string]any {
		for _, row := range lists[what] {
			found := true
			for name, value := range want {
				found = found && row[name] == value
			}
			if found {
				return row
			}
		}
		require.Fail(t, "not listed", "%s: %v", what, want)
		return nil
	}
	big := find("tables", map[string]any{"table": `"museum"."big"`, "kind": "table", "split by": "ctid"})
	require.Equal(t, src.Query(t, "SELECT pg_relation_size('museum.big')"), json.Number(jsonText(t, big["heap"])).String())
	require.Positive(t, big["indexes"])
	require.Nil(t, big["rows (estimate)"], "nobody has analyzed it")
	find("tables", map[string]any{"table": `"museum"."events"`, "kind": "partitioned table"})
	find("tables", map[string]any{"table": `"Odd ""Schema"".%s\ ü"."a table"`})
	parts := find("parts", map[string]any{"table": `"museum"."big"`, "part": 2.0, "parts": 7.0})
	require.Regexp(t, `^ctid >= '\(\d+,0\)'::pg_catalog.tid AND ctid < '\(\d+,0\)'`, parts["rows where"])
	find("parts", map[string]any{"table": `"museum"."plain"`, "part": 1.0, "parts": 1.0, "rows where": ""})
	find("indexes", map[string]any{"index": `"museum"."keys pk"`, "table": `"museum"."keys"`})
	find("sequences", map[string]any{"sequence": `"museum"."tiny"`, "last value": 47.0, "increment": -3.0})
	find("sequences", map[string]any{"sequence": `"museum"."never_called"`, "last value": nil})
	find("sequences", map[string]any{"sequence": `"museum"."serials_i_seq"`, "owned by": `"museum"."serials"."i"`})
	find("extensions", map[string]any{"extension": `"hstore"`, "schema": `"ext"`})
	find("roles", map[string]any{"role": `"museum_owner"`, "superuser": false})
	find("roles", map[string]any{"role": `"postgres"`, "superuser": true})
	find("schemas", map[string]any{"schema": `"empty schema"`, "tables": 0.0, "bytes": 0.0})
	find("databases", map[string]any{"database": `"` + src.Name + `"`, "source": true, "encoding": "UTF8"})
	find("large-objects", map[string]any{"owner": `"museum_owner"`, "objects": 1.0, "lowest oid": "1000001"})
	find("dependencies", map[string]any{"object": `"museum"."orphans"`, "how": `foreign key "has_orphans"`, "depends on": `"museum"."hub"`})
	find("dependencies", map[string]any{"object": `"museum"."on_view"`, "how": "query", "depends on": `"museum"."simple"`})
	find("dependencies", map[string]any{"object": `"museum"."events_2020"`, "how": "partition", "depends on": `"museum"."events"`})
	find("dependencies", map[string]any{"object": `"museum"."secret"`, "how": `policy "insert %s"`, "depends on": `"museum"."plain"`})
}

func jsonText(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}
