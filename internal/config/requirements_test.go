package config

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadRequirements(t *testing.T) {
	t.Parallel()
	versions, err := ReadRequirements("")
	require.NoError(t, err)
	require.Empty(t, versions)
	versions, err = ReadRequirements(write(t, `[{"name": "postgis", "version": "3.4.0"}, {"name": "ip4r", "version": "2", "schema": "x"}]`))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"postgis": "3.4.0", "ip4r": "2"}, versions)

	for text, want := range map[string]string{
		`{"name": "a"}`: "not a list of extensions", `[{"name": "a"}, {"version": "1"}]`: "entry 2 lacks name or version",
		`[{"name": "a", "version": "1"}, {"name": "a", "version": "2"}]`: `extension "a" is there twice`,
	} {
		_, err = ReadRequirements(write(t, text))
		require.ErrorContains(t, err, want)
	}
	_, err = ReadRequirements(filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "no such file")
}
