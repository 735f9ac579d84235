package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRenames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Renames{
		"":                       nil,
		" a = b , c=d":           {"a": "b", "c": "d"},
		`"a,""b" = " c=" ,d="e"`: {`a,"b`: " c=", "d": "e"},
		"Ü x=y z,":               {"Ü x": "y z"},
	} {
		var r Renames
		require.NoError(t, r.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, r)
		var again Renames
		require.NoError(t, again.UnmarshalText([]byte(r.String())))
		require.Equal(t, want, again, r.String())
	}
	for _, text := range []string{"a", "a=", "=b", "a=b,a=c", `"a=b`, `"a"b=c`, `a="b" c`, `a=b,c`} {
		require.Error(t, new(Renames).UnmarshalText([]byte(text)), text)
	}
}

func TestRenamesFromYAMLAndEnvironment(t *testing.T) {
	t.Setenv("PGCONVOY_TABLESPACE_MAP", "fast=slow")
	cfg, err := Load(write(t, "owner_map:\n  old: new\n  'od,d': x\ntablespace_map: {a: b}\n"), nil)
	require.NoError(t, err)
	require.Equal(t, Renames{"old": "new", "od,d": "x"}, cfg.OwnerMap)
	require.Equal(t, Renames{"fast": "slow"}, cfg.TablespaceMap)
	path := write(t, "owner_map: {old: [new]}\ntablespace_map: {a: ''}\n")
	_, err = Load(path, nil)
	require.Equal(t, []string{`planner.yaml:1: owner_map: "old" must be renamed to a name`, `planner.yaml:2: tablespace_map: "a"="" lacks a name`}, problemsIn(t, err, path))
	path = write(t, "owner_map: [a]\n")
	_, err = Load(path, nil)
	require.Equal(t, []string{"planner.yaml:1: owner_map: must be a mapping of names to names, not a list | write {old: new}"}, problemsIn(t, err, path))
	cfg = Default()
	cfg.OwnerMap, cfg.NoTablespaces, cfg.TablespaceMap = Renames{"public": "x"}, true, Renames{"a": "b"}
	require.ErrorContains(t, cfg.Validate(), "stands for everybody")
	require.ErrorContains(t, cfg.Validate(), "no_tablespaces is set, too")
}
