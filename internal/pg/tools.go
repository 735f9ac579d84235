package pg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Tools are the client programs that read the source's schema.
type Tools struct {
	Dump    string // path of pg_dump, "" if none was found
	Restore string // path of pg_restore beside it
	Major   int    // their major version
}

// ErrNoTools is returned when no pg_dump of a suitable version was found.
var ErrNoTools = errors.New("no suitable pg_dump and pg_restore")

// FindTools looks for pg_dump and pg_restore in dir if it is given, otherwise
// on PATH and where packages put them, and picks the smallest major that is at
// least the source's: an older pg_dump refuses the server, and a newer one
// may write what an older target does not know. The error lists what was found.
func FindTools(ctx context.Context, dir string, sourceMajor int) (Tools, error) {
	var found []string
	best := Tools{}
	for _, d := range toolDirs(dir) {
		t, err := toolsIn(ctx, d)
		if err != nil {
			continue
		}
		found = append(found, fmt.Sprintf("%d in %s", t.Major, d))
		if t.Major >= sourceMajor && (best.Major == 0 || t.Major < best.Major) {
			best = t
		}
	}
	if best.Major == 0 {
		if len(found) == 0 {
			found = []string{"none"}
		}
		return Tools{}, fmt.Errorf("%w for a source of major version %d; found: %s", ErrNoTools, sourceMajor, strings.Join(found, ", "))
	}
	return best, nil
}

func toolDirs(dir string) []string {
	if dir != "" {
		return []string{dir}
	}
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		matches, _ := filepath.Glob(pattern)
		slices.Sort(matches)
		dirs = append(dirs, matches...)
	}
	return dirs
}

func toolsIn(ctx context.Context, dir string) (Tools, error) {
	t := Tools{Dump: filepath.Join(dir, "pg_dump"), Restore: filepath.Join(dir, "pg_restore")}
	majors := [2]int{}
	for i, program := range []string{t.Dump, t.Restore} {
		if _, err := os.Stat(program); err != nil {
			return Tools{}, err
		}
		out, err := exec.CommandContext(ctx, program, "--version").Output()
		if err != nil {
			return Tools{}, fmt.Errorf("ask %s for its version: %w", program, err)
		}
		fields := strings.Fields(string(out)) // pg_dump (PostgreSQL) 15.20 (Debian …)
		if len(fields) < 3 {
			return Tools{}, fmt.Errorf("unknown version of %s: %q", program, out)
		}
		version, err := ServerVersion(fields[2])
		if err != nil {
			return Tools{}, err
		}
		majors[i] = version / 10000
	}
	t.Major = min(majors[0], majors[1])
	return t, nil
}

// DumpSchema writes the pre-data and post-data sections of the database at uri,
// as the exported snapshot shows them, to the archive file. Large objects are
// left out: some majors emit them among the schema; so are the schemas in
// without. The password travels in the environment, never in the arguments.
func (t Tools) DumpSchema(ctx context.Context, uri, snapshot, file string, without []string) error {
	cfg, err := ParseURI(uri)
	if err != nil {
		return err
	}
	dsn, err := withoutPassword(uri)
	if err != nil {
		return err
	}
	args := []string{"--format=custom", "--compress=0", "--no-blobs", "--no-password",
		"--section=pre-data", "--section=post-data", "--lock-wait-timeout=60s",
		"--snapshot=" + snapshot, "--file=" + file, "--dbname=" + dsn}
	for _, schema := range without {
		args = append(args, `--exclude-schema="`+strings.ReplaceAll(schema, `"`, `""`)+`"`)
	}
	cmd := exec.CommandContext(ctx, t.Dump, args...)
	cmd.Env = append(os.Environ(), "PGAPPNAME=pgconvoy pg_dump")
	if cfg.Password != "" {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+cfg.Password)
	}
	return runTool(cmd, cfg.Password)
}

// DropSQL returns the statements that drop everything the archive creates, in
// an order that works, each tolerant of what is not there.
func (t Tools) DropSQL(ctx context.Context, file string) ([]byte, error) {
	return t.restore(ctx, "--verbose", "--clean", "--if-exists", "--file=-", file)
}

func (t Tools) restore(ctx context.Context, args ...string) ([]byte, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, t.Restore, args...)
	cmd.Stdout = &out
	if err := runTool(cmd, ""); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// runTool runs the command and makes its last words part of the error.
func runTool(cmd *exec.Cmd, secret string) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if err == nil {
		return nil
	}
	var words []string
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "error:") || strings.Contains(line, "hint:") || strings.Contains(line, "detail:") {
			words = append(words, strings.TrimSpace(line))
		}
	}
	text := strings.Join(words, "; ")
	if text == "" {
		text = strings.TrimSpace(stderr.String())
	}
	if secret != "" {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return fmt.Errorf("run %s: %w: %s", filepath.Base(cmd.Path), err, text)
}

var kvPassword = regexp.MustCompile(`(?i)\b(password|sslpassword)\s*=\s*('(?:[^'\\]|\\.)*'|[^\s']*)`)

// withoutPassword removes the password from a connection URI or key=value
// string.
func withoutPassword(uri string) (string, error) {
	if !strings.HasPrefix(uri, "postgres://") && !strings.HasPrefix(uri, "postgresql://") {
		return kvPassword.ReplaceAllString(uri, ""), nil
	}
	u, err := url.Parse(uri)
	if err != nil {
		return "", errors.New("parse connection URI")
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	q := u.Query()
	q.Del("password")
	q.Del("sslpassword")
	// libpq reads %20, but not +, as a space.
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String(), nil
}
