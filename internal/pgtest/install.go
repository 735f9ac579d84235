package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Environment variables that steer which binaries the tests use.
const (
	envRoot   = "PGCONVOY_TEST_PG_ROOT" // folder with <major>/bin/postgres
	envMajors = "PGCONVOY_TEST_MAJORS"  // majors that must not be skipped
)

// install is one folder of Postgres programs.
type install struct {
	major int
	bin   string // folder of the programs
	// original is the folder that bin was copied from, with all programs
	original string
	lib      string // LD_LIBRARY_PATH the programs need, empty for none
	server   bool   // has postgres and initdb
	client   bool   // has pg_dump, pg_restore and psql
}

// env is the environment of the install's programs.
func (in install) env() []string {
	env := os.Environ()
	if in.lib != "" {
		env = append(env, "LD_LIBRARY_PATH="+in.lib)
	}
	return env
}

// installs lists what is on this machine, most preferred first: the system's
// own, then those under the root of extra majors, newest first in each.
var installs = sync.OnceValue(func() []install {
	var found []install
	seen := map[string]bool{}
	add := func(bin, lib string) {
		if real, err := filepath.EvalSymlinks(bin); err == nil {
			bin = real
		}
		if in, ok := inspect(bin, lib); ok && !seen[bin] {
			seen[bin] = true
			found = append(found, in)
		}
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			add(filepath.Dir(real), "")
		}
	}
	for _, bin := range newestFirst("/usr/lib/postgresql/*/bin") {
		add(bin, "")
	}
	if root := extraRoot(); root != "" {
		for _, bin := range newestFirst(filepath.Join(root, "*", "bin")) {
			add(bin, filepath.Join(filepath.Dir(bin), "lib"))
		}
	}
	return found
})

// extraRoot is the folder of extra majors: the environment's, or .cache/postgres
// beside the module's go.mod, where scripts/get-postgres puts them.
func extraRoot() string {
	if root := os.Getenv(envRoot); root != "" {
		return root
	}
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".cache", "postgres")
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

// newestFirst expands a pattern of bin folders whose parents are named after
// majors.
func newestFirst(pattern string) []string {
	bins, _ := filepath.Glob(pattern)
	slices.SortFunc(bins, func(a, b string) int { return folderMajor(b) - folderMajor(a) })
	return bins
}

func folderMajor(bin string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return major
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect asks a program of the folder for its version.
func inspect(bin, lib string) (install, bool) {
	in := install{bin: bin, original: bin, lib: lib}
	in.server = executable(bin, "postgres") && executable(bin, "initdb")
	in.client = executable(bin, "pg_dump") && executable(bin, "pg_restore") && executable(bin, "psql")
	program := "postgres"
	switch {
	case in.server:
	case in.client:
		program = "pg_dump"
	default:
		return in, false
	}
	cmd := exec.CommandContext(context.Background(), filepath.Join(bin, program), "--version")
	cmd.Env = in.env()
	out, err := cmd.Output()
	if err != nil {
		return in, false
	}
	m := versionPattern.FindSubmatch(bytes.TrimSpace(out))
	if m == nil {
		return in, false
	}
	in.major, err = strconv.Atoi(string(m[1]))
	return in, err == nil
}

func executable(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// serverInstall finds the server programs of a major.
func serverInstall(major int) (install, error) {
	for _, in := range installs() {
		if in.server && in.major == major {
			return in, nil
		}
	}
	return install{}, fmt.Errorf("no server binaries of PostgreSQL %d: run scripts/get-postgres server %d", major, major)
}

// clientInstall finds the client programs of the smallest major that can talk to
// servers of the given major.
func clientInstall(major int) (install, error) {
	var best install
	for _, in := range installs() {
		if in.client && in.major >= major && (best.bin == "" || in.major < best.major) {
			best = in
		}
	}
	if best.bin == "" {
		return best, fmt.Errorf("no pg_dump of PostgreSQL %d or newer: run scripts/get-postgres client %d", major, major)
	}
	return best, nil
}

// DefaultMajor is the major version of Source and Target: the postgres on PATH,
// else the newest of the system, else the newest extra one. Tests fail without
// any.
func DefaultMajor(t testing.TB) int {
	t.Helper()
	for _, in := range installs() {
		if in.server {
			return in.major
		}
	}
	t.Fatal("no PostgreSQL server binaries found: run scripts/get-postgres default")
	return 0
}

// HasMajor reports whether server binaries of a major are on this machine.
func HasMajor(major int) bool {
	_, err := serverInstall(major)
	return err == nil
}

// ClientDir returns the folder of pg_dump, pg_restore and psql of the smallest
// major that is not older than the given one. The test is skipped, or fails if
// PGCONVOY_TEST_MAJORS names the major, when there is none.
func ClientDir(t testing.TB, major int) string {
	t.Helper()
	in, err := clientInstall(major)
	if err != nil {
		skipOrFail(t, major, err)
	}
	return in.bin
}

func requireMajor(t testing.TB, major int) {
	t.Helper()
	if _, err := serverInstall(major); err != nil {
		skipOrFail(t, major, err)
	}
}

// skipOrFail skips with a reason that a person sees without -v, because a suite
// that skips in silence proves nothing.
func skipOrFail(t testing.TB, major int, reason error) {
	t.Helper()
	wanted := strings.FieldsFunc(os.Getenv(envMajors), func(r rune) bool { return r == ',' || r == ' ' })
	if slices.Contains(wanted, strconv.Itoa(major)) {
		t.Fatalf("%s names %d, but there are %v", envMajors, major, reason)
	}
	fmt.Fprintf(os.Stderr, "SKIP %s: %v\n", t.Name(), reason)
	t.Skip(reason)
}
