package check

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"text/template"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
	"github.com/stretchr/testify/require"
)

// TestRelease holds .goreleaser.yaml against goreleaser's own types: goreleaser itself
// takes too long to build for every change, and a key that it does not know would show
// when a release is made.
func TestRelease(t *testing.T) {
	t.Parallel()
	release, err := config.Load("../../.goreleaser.yaml")
	require.NoError(t, err)
	require.Equal(t, 2, release.Version)
	requireCurrent(t, reflect.ValueOf(release), "")

	var binaries []string
	for _, b := range release.Builds {
		require.FileExists(t, filepath.Join("../..", b.Main, "main.go"))
		binaries = append(binaries, b.Binary)
	}
	require.ElementsMatch(t, []string{"planner", "worker"}, binaries)
	for _, a := range release.Archives {
		for _, f := range a.Files {
			requirePacked(t, f.Source)
		}
	}
	for _, p := range release.NFPMs {
		for _, c := range p.Contents {
			requirePacked(t, c.Source)
		}
	}
}

// requireCurrent asserts that nothing is set that goreleaser has given up, and that
// templates can be read.
func requireCurrent(t *testing.T, v reflect.Value, at string) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			requireCurrent(t, v.Elem(), at)
		}
	case reflect.Slice:
		for i := range v.Len() {
			requireCurrent(t, v.Index(i), at)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			requireCurrent(t, v.MapIndex(key), at+"."+key.String())
		}
	case reflect.Struct:
		for field, of := range v.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if strings.Contains(field.Tag.Get("jsonschema"), "deprecated=true") {
				require.True(t, of.IsZero(), "%s.%s is deprecated", at, name)
			}
			if field.IsExported() {
				requireCurrent(t, of, at+"."+name)
			}
		}
	case reflect.String:
		_, err := template.New(at).Parse(v.String())
		require.NoError(t, err)
	}
}

// requirePacked asserts that there is what a release packs, but for what the hook
// makes before: manual pages and completions.
func requirePacked(t *testing.T, source string) {
	t.Helper()
	if source == "" || strings.HasPrefix(source, "bin/man/") || strings.HasPrefix(source, "bin/completions/") { // the first is a folder
		return
	}
	found, err := filepath.Glob(filepath.Join("../..", source))
	require.NoError(t, err, source)
	require.NotEmpty(t, found, source)
}
