package pg

import (
	"bytes"
	"cmp"
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

	"golang.org/x/sync/errgroup"
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
// on PATH and where packages put them. An older pg_dump than the source refuses
// it, and a newer one than the target may write what that does not know; among
// those between, the newest knows best what the target makes of a statement:
// before 17, for one, GRANT ALL does not mean MAINTAIN. If all are newer than
// the target, the oldest is taken. The error lists what was found.
func FindTools(ctx context.Context, dir string, sourceMajor, targetMajor int) (Tools, error) {
	var found []string
	best := Tools{}
	for _, d := range toolDirs(dir) {
		t, err := toolsIn(ctx, d)
		if err != nil {
			continue
		}
		found = append(found, fmt.Sprintf("%d in %s", t.Major, d))
		if t.Major >= sourceMajor && (best.Major == 0 || fitsBetter(t.Major, best.Major, targetMajor)) {
			best = t
		}
	}
	if best.Major == 0 {
		if len(found) == 0 {
			found = []string{"none"}
			if dir != "" {
				found = []string{"none in " + dir}
			}
		}
		return Tools{}, fmt.Errorf("%w for a source of major version %d; found: %s", ErrNoTools, sourceMajor, strings.Join(found, ", "))
	}
	return best, nil
}

// fitsBetter reports whether tools of major a suit the target better than those
// of major b.
func fitsBetter(a, b, target int) bool {
	if a <= target && b <= target {
		return a > b
	}
	return a < b
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
	var group errgroup.Group
	for i, program := range []string{t.Dump, t.Restore} {
		if _, err := os.Stat(program); err != nil {
			return Tools{}, err
		}
		group.Go(func() (err error) {
			majors[i], err = majorOf(ctx, program)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Tools{}, err
	}
	t.Major = min(majors[0], majors[1])
	return t, nil
}

// majorOf asks a program of PostgreSQL for its major version.
func majorOf(ctx context.Context, program string) (int, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", program, err)
	}
	fields := strings.Fields(string(out)) // pg_dump (PostgreSQL) 15.20 (Debian …)
	if len(fields) < 3 {
		return 0, fmt.Errorf("unknown version of %s: %q", program, out)
	}
	version, err := ServerVersion(fields[2])
	return version / 10000, err
}

// DumpSchema writes the definitions in the database that o connects to, as the
// exported snapshot shows them, to the archive file. Large objects are left out:
// some majors emit them among the schema; so is what is in without. The
// password travels in the environment, never in the arguments. Its error is a
// [*LockedError] if it waits too long for a lock.
//
// With --section instead, the archive also has the order of materialized views
// and, of older servers, the values of sequences: the query for the one takes half
// a minute where there are 100,000 tables, and the others are asked for one by one.
func (t Tools) DumpSchema(ctx context.Context, o Options, snapshot, file string, without Without) error {
	cfg, err := o.config(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Side, err)
	}
	dsn, err := withoutPassword(o.URI)
	if err != nil {
		return err
	}
	dsn = withDatabase(dsn, o.Database)
	args := []string{"--format=custom", "--compress=0", "--no-blobs", "--no-password",
		"--schema-only", "--lock-wait-timeout=60s",
		"--encoding=UTF8", // as in our own sessions, where the database, or the role by default, has another
		"--snapshot=" + snapshot, "--file=" + file, "--dbname=" + dsn}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd := exec.CommandContext(running, t.Dump, append(args, without.dumpArgs()...)...)
	name := "pgconvoy pg_dump " + snapshot // to be told from others on the same server
	// Where a default turns the first one off, pg_dump writes string constants that mean something else in our sessions.
	// The other one costs more than it is worth, as in those.
	cmd.Env = append(os.Environ(), "PGAPPNAME="+name,
		strings.TrimSpace("PGOPTIONS="+os.Getenv("PGOPTIONS")+" -c standard_conforming_strings=on -c jit=off"))
	if cfg.Password != "" {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+cfg.Password)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if err := watchDump(running, o, name, dumpQuick, dumpLook, dumpPatience); err != nil {
			stop(err)
		}
	}()
	err = runTool(running, cmd, cfg.Password)
	stop(nil)
	<-watched
	return err
}

// DropSQL returns the statements that drop everything the archive creates, each
// tolerant of what is not there. Those that are refused, because something still
// depends on what they drop, must be run again after the others, until no more
// of them succeed.
func (t Tools) DropSQL(ctx context.Context, file string) ([]string, error) {
	script, err := t.restore(ctx, "--verbose", "--clean", "--if-exists", "--file=-", file)
	if err != nil {
		return nil, err
	}
	if first := entryHeader.FindStringIndex(script); first != nil {
		script = script[:first[0]] // what follows creates
	}
	var drops []string
	for statement := range strings.SplitSeq(script, ";\n") {
		statement = strings.TrimLeft(statement, "\n")
		if strings.HasPrefix(statement, "DROP ") || strings.HasPrefix(statement, "ALTER ") {
			drops = append(drops, statement)
		}
	}
	return drops, nil
}

// SameSchema reports whether two archives of the same database, written by the
// same pg_dump, hold the same statements.
func (t Tools) SameSchema(ctx context.Context, file, other string) (bool, error) {
	var scripts [2][]string
	for i, f := range []string{file, other} {
		script, err := t.restore(ctx, "--file=-", f)
		if err != nil {
			return false, err
		}
		for line := range strings.Lines(script) {
			// Comments tell versions and dates, and a restriction has a random key.
			if !strings.HasPrefix(line, "--") && !strings.HasPrefix(line, `\`) {
				scripts[i] = append(scripts[i], line)
			}
		}
	}
	return slices.Equal(scripts[0], scripts[1]), nil
}

// restore returns what pg_restore prints.
func (t Tools) restore(ctx context.Context, args ...string) (string, error) {
	var out strings.Builder
	cmd := exec.CommandContext(ctx, t.Restore, args...)
	cmd.Stdout = &out
	if err := runTool(ctx, cmd, ""); err != nil {
		return "", err
	}
	return out.String(), nil
}

// runTool runs the command and makes its last words part of the error.
func runTool(ctx context.Context, cmd *exec.Cmd, secret string) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil: // rather than the signal that the program got
		return fmt.Errorf("run %s: %w", filepath.Base(cmd.Path), context.Cause(ctx))
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

// withoutPassword removes the passwords from a connection URI or key=value
// string. All else stays as it is written, for libpq to read.
func withoutPassword(uri string) (string, error) {
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if rest, ok := strings.CutPrefix(uri, scheme); ok {
			return scheme + withoutURIPassword(rest), nil
		}
	}
	return withoutKeyPassword(uri)
}

// withDatabase names another database in a connection URI or key=value string,
// unless the name is "". For libpq, what comes later goes before.
func withDatabase(dsn, name string) string {
	switch {
	case name == "":
		return dsn
	case !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://"):
		return dsn + " dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name) + "'"
	}
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + "dbname=" + strings.ReplaceAll(url.QueryEscape(name), "+", "%20") // libpq takes a + as it is
}

func withoutURIPassword(rest string) string {
	user := ""
	// As libpq reads it: an @ before the first slash ends user and password.
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		user, _, _ = strings.Cut(rest[:i], ":")
		user, rest = user+"@", rest[i+1:]
	}
	rest, query, _ := strings.Cut(rest, "?")
	var kept []string
	for parameter := range strings.SplitSeq(query, "&") {
		key, _, _ := strings.Cut(parameter, "=")
		key, err := url.PathUnescape(key)
		if err == nil && parameter != "" && !isPassword(strings.TrimSpace(key)) {
			kept = append(kept, parameter)
		}
	}
	if len(kept) == 0 {
		return user + rest
	}
	return user + rest + "?" + strings.Join(kept, "&")
}

func isPassword(key string) bool { return key == "password" || key == "sslpassword" }

// keyValue matches one setting of a key=value string: the value is quoted, or
// ends at the first space; a backslash escapes the character after it.
var keyValue = regexp.MustCompile(`^[ \t\n\r\v\f]*([^ \t\n\r\v\f=]+)[ \t\n\r\v\f]*=[ \t\n\r\v\f]*('(?s:[^'\\]|\\.)*'|(?:(?s:\\.)|[^' \t\n\r\v\f\\])(?:(?s:\\.)|[^ \t\n\r\v\f\\])*\\?|)`)

func withoutKeyPassword(settings string) (string, error) {
	var kept []string
	for strings.Trim(settings, " \t\n\r\v\f") != "" {
		m := keyValue.FindStringSubmatch(settings)
		if m == nil {
			return "", errors.New("parse connection string: not key=value")
		}
		if !isPassword(m[1]) {
			kept = append(kept, m[1]+"="+cmp.Or(m[2], "''"))
		}
		settings = settings[len(m[0]):]
	}
	return strings.Join(kept, " "), nil
}
