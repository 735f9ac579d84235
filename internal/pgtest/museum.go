package pgtest

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// museumFiles hold one of every object kind. Files that start with a digit are
// loaded in order, in one psql session, after roles.sql.
//
//go:embed museum
var museumFiles embed.FS

// museumSpace is the tablespace that the museum needs on both servers.
const museumSpace = "museum_space"

// museumTemplate makes the database that Museum clones, once per server.
type museumTemplate func() (*Database, error)

// MuseumRoles creates the roles and the tablespace that the museum's objects
// need. It may be called any number of times; a target needs it before a copy
// of the museum comes in.
func (s *Server) MuseumRoles(t testing.TB) {
	t.Helper()
	if err := s.rolesOnce(); err != nil {
		t.Fatal(err)
	}
}

// LoadMuseum fills an empty database with at least one of every object kind, and
// creates the roles on its server. Majors from 13 on; kinds that came later are
// left out on older servers.
func (d *Database) LoadMuseum(t testing.TB) {
	t.Helper()
	if err := d.loadMuseum(); err != nil {
		t.Fatal(err)
	}
}

// LoadMuseumAs fills an empty database with what a role may make of the museum.
// What is for superusers is missing then, with what needs it.
func (d *Database) LoadMuseumAs(t testing.TB, role string) {
	t.Helper()
	script, err := museumScript()
	if err == nil {
		err = d.psqlAs(role, "0", strings.NewReader(script))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Museum creates a database that holds the museum, as LoadMuseum does but faster
// from the second call on: it is cloned from a template.
func (s *Server) Museum(t testing.TB) *Database {
	t.Helper()
	template, err := s.museum()
	if err != nil {
		t.Fatal(err)
	}
	return template.Clone(t)
}

// Reference copies a database to another server as people do by hand, pg_dump |
// pg_restore, and returns the copy. Between different majors a copy made by
// other means is compared with this one: newer majors print some definitions in
// other words. The museum's roles are created if they are missing. Flags are
// further ones of pg_restore.
func Reference(t testing.TB, src *Database, server *Server, flags ...string) *Database {
	t.Helper()
	server.MuseumRoles(t)
	dst := server.Database(t)
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	programs := ClientDir(t, max(src.Server.Major, server.Major))
	dump := exec.CommandContext(ctx, filepath.Join(programs, "pg_dump"), "-Fc", "-Z0", "-d", src.URI())
	restore := exec.CommandContext(ctx, filepath.Join(programs, "pg_restore"), append(flags, "-d", dst.URI())...)
	archive, err := dump.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var dumped, restored strings.Builder
	restore.Stdin = archive
	dump.Env, restore.Env = clientEnv(), clientEnv()
	dump.Stderr, restore.Stderr = &dumped, &restored
	if err := dump.Start(); err != nil {
		t.Fatal(err)
	}
	err = restore.Run()
	_ = archive.Close() // else pg_dump would wait for a reader that has failed
	if err != nil && onlyTimeoutUnknown(restored.String()) {
		err = nil
	}
	if err := errors.Join(err, dump.Wait()); err != nil {
		t.Fatalf("pg_dump %s | pg_restore: %v\n%s%s", src.Name, err, &dumped, &restored)
	}
	return dst
}

// onlyTimeoutUnknown says that pg_restore had nothing to complain about but the
// first setting that it makes, which servers before 17 do not know.
func onlyTimeoutUnknown(complaints string) bool {
	return strings.Count(complaints, "pg_restore: error:") == 1 && strings.Contains(complaints, `unrecognized configuration parameter "transaction_timeout"`)
}

// newMuseumTemplate returns the function that makes the server's template.
func newMuseumTemplate(s *Server) museumTemplate {
	return sync.OnceValues(func() (*Database, error) {
		db := &Database{Server: s, Name: "museum_template"}
		err := s.admin(func(ctx context.Context, conn *pgx.Conn) error {
			return createDatabase(ctx, conn, db.Name, "template0")
		})
		if err != nil {
			return nil, err
		}
		return db, db.loadMuseum()
	})
}

func (d *Database) loadMuseum() error {
	if err := d.Server.rolesOnce(); err != nil {
		return err
	}
	script, err := museumScript()
	if err != nil {
		return err
	}
	if err := d.psql(strings.NewReader(script)); err != nil {
		return fmt.Errorf("load the museum: %w", err)
	}
	return nil
}

// museumScript is all of the museum but its roles, for psql.
func museumScript() (string, error) {
	names, err := fs.Glob(museumFiles, "museum/[0-9]*.sql")
	if err != nil {
		return "", err
	}
	// One session, so that a variable set in one file holds in the next.
	var script strings.Builder
	script.WriteString("SET client_min_messages = warning;\n\\o /dev/null\n")
	for _, name := range names {
		text, err := museumFiles.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&script, "\\echo %s\n%s\n", name, text)
	}
	return script.String(), nil
}

// createRoles makes what belongs to the cluster, not to a database.
func (s *Server) createRoles() error {
	roles, err := museumFiles.ReadFile("museum/roles.sql")
	if err != nil {
		return err
	}
	dir := filepath.Join(s.dir, museumSpace)
	if err := errors.Join(os.Mkdir(dir, 0o700), s.own(dir)); err != nil {
		return err
	}
	return s.admin(func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.PgConn().Exec(ctx, string(roles)).ReadAll(); err != nil {
			return fmt.Errorf("create the museum's roles: %w", err)
		}
		_, err := conn.Exec(ctx, "CREATE TABLESPACE "+museumSpace+" LOCATION '"+strings.ReplaceAll(dir, "'", "''")+"'")
		return err
	})
}
