package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestCreateDatabase(t *testing.T) {
	t.Parallel()
	libc := pg.Locale{Encoding: "UTF8", Provider: "c", Collate: "de_DE.UTF-8", Ctype: "C", Tablespace: "pg_default"}
	icu, builtin := libc, libc
	icu.Provider, icu.Name, icu.Rules, icu.Tablespace = "i", "de-u-kn", "&a < b", "fast"
	builtin.Provider, builtin.Name = "b", "C.UTF-8"
	const base = `CREATE DATABASE "n""ew" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'C'`
	for _, c := range []struct {
		locale pg.Locale
		major  int
		want   string // "" for an error
	}{
		{libc, 14, base}, {libc, 15, base + " LOCALE_PROVIDER libc"},
		{icu, 14, ""}, {icu, 15, ""}, {icu, 16, base + ` LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn' ICU_RULES '&a < b' TABLESPACE "faster"`},
		{builtin, 16, ""}, {builtin, 17, base + " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"},
	} {
		sql, err := plan.CreateDatabase(`n"ew`, c.locale, c.major, tasks.Around{Tablespaces: map[string]string{"fast": "faster"}})
		require.Equal(t, c.want == "", err != nil, "%v", err)
		require.Equal(t, c.want, sql)
	}
}
