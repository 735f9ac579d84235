package config

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestURIs(t *testing.T) {
	cfg, err := Load(write(t, "source_clones: ['postgres://me:secret@b/d', postgres://c/d]\n"), nil)
	require.NoError(t, err)
	require.Equal(t, URIs{"postgres://me:secret@b/d", "postgres://c/d"}, cfg.SourceClones)
	var printed bytes.Buffer
	require.NoError(t, cfg.Print(&printed))
	require.NotContains(t, printed.String(), "secret")
	again, err := Load(write(t, printed.String()), nil)
	require.NoError(t, err)
	require.Equal(t, URIs{"postgres://me:***@b/d", "postgres://c/d"}, again.SourceClones)

	_, err = Load(write(t, "source_clones: {a: b}\n"), nil)
	require.ErrorContains(t, err, "source_clones: must be a list of URIs, not a mapping")
	_, err = Load(write(t, "source_clones: [[a]]\n"), nil)
	require.ErrorContains(t, err, "source_clones: must be a URI, not a list")

	t.Setenv("PGCONVOY_SOURCE_CLONES", "postgres://b,c/d\n postgres://e/d")
	cfg, err = Load("", nil)
	require.NoError(t, err)
	require.Equal(t, URIs{"postgres://b,c/d", "postgres://e/d"}, cfg.SourceClones)
}
