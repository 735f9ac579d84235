package pg_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

func TestSettingSQL(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{
		"work_mem=64MB":                              `SET "work_mem" TO '64MB'`,
		"application_name=it's = a \\":               `SET "application_name" TO  E'it''s = a \\'`,
		"my.setting=":                                `SET "my.setting" TO ''`,
		`search_path="$user", public,"a, ""b""", ""`: `SET "search_path" TO '$user', 'public', 'a, "b"', ''`,
		"search_path=":                               `SET "search_path" TO ''`,
	} {
		require.Equal(t, want, pg.SettingSQL(entry))
	}
}
