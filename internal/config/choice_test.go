package config

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

const choice = `filter:
  include: {schemas: [app, "/^tenant_/"]}
  exclude:
    tables: ['app."Odd, name"', '/x{1,2}/']
    table_data: []
  file: filters.ini
tables:
  app.orders: {where: "created_at >= '2025-01-01'", columns: [id, created_at], parts: 16}
  '"App".t': {parts: 2}
`

func TestChoice(t *testing.T) {
	t.Parallel()
	cfg, err := Load(write(t, choice), nil)
	require.NoError(t, err)
	require.Equal(t, List{"app", "/^tenant_/"}, cfg.Filter.Include.Schemas)
	require.Equal(t, List{`app."Odd, name"`, "/x{1,2}/"}, cfg.Filter.Exclude.Tables)
	require.Equal(t, Tables{
		{Name: "app.orders", Where: "created_at >= '2025-01-01'", Columns: []string{"id", "created_at"}, Parts: 16}, {Name: `"App".t`, Parts: 2},
	}, cfg.Tables)
	var printed bytes.Buffer
	require.NoError(t, cfg.Print(&printed))
	again, err := Load(write(t, printed.String()), nil)
	require.NoError(t, err, printed.String())
	require.Empty(t, cmp.Diff(cfg.Tables, again.Tables))
	require.Equal(t, cfg.Filter.Exclude.Tables, again.Filter.Exclude.Tables)
}

func TestChoiceFromTheEnvironment(t *testing.T) {
	t.Setenv("PGCONVOY_FILTER_EXCLUDE_TABLES", `app."Odd, name", /x{1,2}/ , app.y`)
	t.Setenv("PGCONVOY_TABLES", `{app.orders: {where: "id > 7", parts: 3}}`)
	cfg, err := Load("", nil)
	require.NoError(t, err)
	require.Equal(t, List{`app."Odd, name"`, "/x{1,2}/", "app.y"}, cfg.Filter.Exclude.Tables)
	require.Equal(t, Tables{{Name: "app.orders", Where: "id > 7", Parts: 3}}, cfg.Tables)
	t.Setenv("PGCONVOY_FILTER_EXCLUDE_TABLES", `app."x`)
	t.Setenv("PGCONVOY_TABLES", "app.orders")
	_, err = Load("", nil)
	require.Equal(t, []string{
		`PGCONVOY_FILTER_EXCLUDE_TABLES: filter.exclude.tables: "app.\"x" has an opening " that nothing closes`,
		"PGCONVOY_TABLES: tables: tables must be a mapping, not a single value",
	}, problemsIn(t, err, ""))
}

func TestChoiceReportsEverything(t *testing.T) {
	t.Parallel()
	path := write(t, `filter:
  exclude: {tables: {app: x}, schemas: [[a]]}
  include: {table: [x]}
tables:
  app.a: {wheer: x, parts: 0}
  app.b: 7
  app.c: {columns: id, where: [x]}
  app.a: {parts: 1}
`)
	_, err := Load(path, nil)
	require.Equal(t, []string{
		`planner.yaml:2: filter.exclude.tables: must be a list of names, not a mapping | write [name, "/regular expression/"]`,
		`planner.yaml:2: filter.exclude.schemas: must be a name, not a list`,
		`planner.yaml:3: unknown key "filter.include.table" | did you mean tables?`,
		`planner.yaml:5: unknown key "tables.app.a.wheer" | did you mean where?`,
		`planner.yaml:5: tables.app.a.parts: "0" is not a number between 1 and 100000`,
		`planner.yaml:6: tables.app.b must be a mapping, not a single value | its keys are where, columns, parts`,
		`planner.yaml:7: tables.app.c.columns: must be a list of names, not a single value | write [name, "/regular expression/"]`,
		`planner.yaml:7: tables.app.c.where: must be a single value, not a list`,
		`planner.yaml:8: key "tables.app.a" is here again`,
	}, problemsIn(t, err, path))
}
