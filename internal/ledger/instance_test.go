package ledger_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/ledger"
	"github.com/pgconvoy/pgconvoy/internal/pgtest"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestInstance(t *testing.T) {
	t.Parallel()
	dbs := pgtest.Target(t).Databases(t, 2)
	alone, one := connect(t, dbs[0]), connect(t, dbs[1])
	l := create(t, alone)
	in, err := l.Instance(t.Context(), alone)
	require.NoError(t, err)
	require.Nil(t, in, "it is of one database")

	n := newRun("archive")
	n.Instance = &tasks.Instance{UID: "0198c0de-9", Databases: []string{"shop", `"odd", {1}`}}
	l, err = ledger.Create(t.Context(), one, n, tasks.Plan{})
	require.NoError(t, err)
	in, err = l.Instance(t.Context(), one)
	require.NoError(t, err)
	require.Equal(t, n.Instance, in)
	require.NoError(t, l.InstanceComplete(t.Context(), one))
	in, err = l.Instance(t.Context(), one)
	require.NoError(t, err)
	require.True(t, in.Complete)
}

// TestInstanceIsOwnedOnce: the right of a run of several databases is another one than
// that of a run of one.
func TestInstanceIsOwnedOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	first, second := connect(t, db), connect(t, db)
	for _, own := range []struct {
		want bool
		get  func() (bool, error)
	}{
		{false, func() (bool, error) { return ledger.InstanceOwned(t.Context(), second) }},
		{true, func() (bool, error) { return ledger.OwnInstance(t.Context(), first) }},
		{false, func() (bool, error) { return ledger.OwnInstance(t.Context(), second) }},
		{true, func() (bool, error) { return ledger.InstanceOwned(t.Context(), second) }},
		{false, func() (bool, error) { return ledger.Owned(t.Context(), second) }},
		{true, func() (bool, error) { return ledger.Own(t.Context(), second) }},
	} {
		owned, err := own.get()
		require.NoError(t, err)
		require.Equal(t, own.want, owned)
	}
}

func TestEmptied(t *testing.T) {
	t.Parallel()
	db := pgtest.Target(t).Database(t)
	c := connect(t, db)
	l := create(t, c)
	db.Exec(t, `INSERT INTO pgconvoy.planned VALUES ('shop', 'public', 'kept', 1, 1, 0, '', false), ('shop', 'public', 'gone', 1, 1, 0, '', true);
		INSERT INTO pgconvoy.copied (run, task, schema, name, rows, bytes) VALUES ('shop', 'a', 'public', 'kept', 1, 1), ('shop', 'b', 'public', 'gone', 1, 1)`)
	names, err := l.Emptied(t.Context(), c)
	require.NoError(t, err)
	require.Empty(t, names)
	db.Exec(t, "TRUNCATE pgconvoy.intact") // as a crash does
	names, err = l.Emptied(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, []tasks.Name{{Schema: "public", Name: "gone"}}, names)
}
