package pg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeTools writes programs that know their version, as broken and odd
// installations are not to be had for a test.
func fakeTools(t *testing.T, dump, restore string) string {
	t.Helper()
	dir := t.TempDir()
	for name, version := range map[string]string{"pg_dump": dump, "pg_restore": restore} {
		if version == "" {
			continue
		}
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s'\n", name, version)
		if version == "broken" {
			script = "#!/bin/sh\nexit 127\n"
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	return dir
}

func TestFindTools(t *testing.T) {
	v90, v92, v94 := fakeTools(t, "90.4", "90.4"), fakeTools(t, "92.20 (Debian 92.20-1)", "92.20"), fakeTools(t, "94.1", "94.1")
	t.Setenv("PATH", strings.Join([]string{v90, v94, v92, "/bin"}, string(os.PathListSeparator)))
	for _, c := range []struct {
		name           string
		source, target int
		want           string
	}{
		{"same major", 92, 92, v92},
		{"between both", 91, 93, v92},
		{"the newest that the target knows", 91, 95, v94},
		{"all newer than the target", 91, 80, v92},
	} {
		tools, err := FindTools(t.Context(), "", c.source, c.target)
		require.NoError(t, err, c.name)
		require.Equal(t, filepath.Join(c.want, "pg_dump"), tools.Dump, c.name)
		require.Equal(t, filepath.Join(c.want, "pg_restore"), tools.Restore, c.name)
	}
	tools, err := FindTools(t.Context(), v94, 92, 92)
	require.NoError(t, err)
	require.Equal(t, 94, tools.Major, "the folder that was given")
	_, err = FindTools(t.Context(), v90, 92, 92)
	require.ErrorIs(t, err, ErrNoTools)
	require.ErrorContains(t, err, "90 in "+v90)
	_, err = FindTools(t.Context(), t.TempDir(), 15, 15)
	require.ErrorIs(t, err, ErrNoTools)
	require.ErrorContains(t, err, "found: none")

	for _, bad := range []string{fakeTools(t, "99.1", ""), fakeTools(t, "99.1", "broken"), fakeTools(t, "99.1", "odd"), fakeTools(t, "99.1", "13.1")} {
		_, err = FindTools(t.Context(), bad, 99, 99)
		require.ErrorIs(t, err, ErrNoTools)
	}
}

func TestWithoutPassword(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"": "",
		"postgres://me:pw@h:5432/db?sslmode=require":                      "postgres://me@h:5432/db?sslmode=require",
		"postgresql://me@h/db":                                            "postgresql://me@h/db",
		"postgres:///db?host=/tmp&password=pw":                            "postgres:///db?host=/tmp",
		"postgres://h/db?p%61ssword=pw&application_name=a+b%20c":          "postgres://h/db?application_name=a+b%20c",
		"postgres://:pw@h/db":                                             "postgres://@h/db",
		"postgres://me:p:w?x@h1:1,h2:2/db?password=a&sslpassword=b":       "postgres://me@h1:1,h2:2/db",
		"postgres://m%40e:p%40w@[::1]:5432/d%2Fb#x?options=-c%20a%3Db":    "postgres://m%40e@[::1]:5432/d%2Fb#x?options=-c%20a%3Db",
		"host=h password=pw dbname=db":                                    "host=h dbname=db",
		"password = 'p w' host = h":                                       "host=h",
		`password='it\'s \\' user='a b'`:                                  "user='a b'",
		`password=a\ b'c user=u`:                                          "user=u",
		"host=h password=":                                                "host=h",
		"password= user=u host=h":                                         "host=h",
		"sslpassword=x user=u":                                            "user=u",
		"application_name='the password=secret thing' password=pw user=u": "application_name='the password=secret thing' user=u",
		"  host=h\tuser=u\n":                                              "host=h user=u",
	} {
		got, err := withoutPassword(uri)
		require.NoError(t, err, uri)
		require.Equal(t, want, got, uri)
	}
	for _, bad := range []string{"password", "password='x", "a b=c", "=x"} {
		_, err := withoutPassword(bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "x")
	}
}

// FuzzWithoutPassword: what is left has no password, and means the same otherwise.
func FuzzWithoutPassword(f *testing.F) {
	for _, seed := range []string{
		"postgres://me:pw@h:5432/db?sslmode=disable&password=x", "host=h password='p w' dbname=db", `password=a\ b user=u`,
		"postgresql://h1,h2:2/db?sslpassword=a&user=b", "password= user=u", "password='a'host=b", "postgres://a?b:c@h?password=%20",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if strings.Contains(uri, "service") || strings.Contains(uri, "passfile") || strings.Contains(uri, "ssl") {
			t.Skip("files")
		}
		before, err := ParseURI(uri)
		if err != nil {
			t.Skip("not a connection string")
		}
		left, err := withoutPassword(uri)
		if err != nil {
			return // refused, which leaks nothing
		}
		after, err := ParseURI(left)
		require.NoError(t, err, "%q became %q", uri, left)
		require.Empty(t, after.Password, "%q became %q", uri, left)
		require.Equal(t, before.Host, after.Host, "%q became %q", uri, left)
		require.Equal(t, before.Port, after.Port)
		require.Equal(t, before.Database, after.Database)
		require.Equal(t, before.User, after.User)
		require.Equal(t, before.RuntimeParams, after.RuntimeParams)
	})
}

func TestSplitScript(t *testing.T) {
	t.Parallel()
	entries := []Entry{
		{DumpID: 7, ClassID: 1259, OID: 70, Desc: "TABLE", Line: "seven"}, {DumpID: 8, ClassID: 1259, OID: 80, Desc: "TABLE", Line: "eight"},
	}
	header := func(id, oid int) string {
		return fmt.Sprintf("--\n-- TOC entry %d (class 1259 OID %d)\n-- Dependencies: 5\n-- Name: x; Type: TABLE; Schema: s; Owner: o\n--\n\n", id, oid)
	}
	const head = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET statement_timeout = 0;\n\nSET default_tablespace = '';\n\n"
	script := head + "SET default_table_access_method = heap;\n\n" + header(8, 80) + "CREATE TABLE eight ();\n\n\n" +
		"SET default_tablespace = \"odd \"\" space\";\n\n" + header(7, 70) + "CREATE TABLE seven ();\n\n\n-- Completed on 2026-11-23 10:00:00 CET\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"
	split, err := splitScript(strings.NewReader(script), entries)
	require.NoError(t, err)
	require.Equal(t, []EntrySQL{
		{Entry: entries[0], SQL: "CREATE TABLE seven ();", Settings: `SET default_tablespace = "odd "" space"; SET default_table_access_method = heap;`},
		{Entry: entries[1], SQL: "CREATE TABLE eight ();", Settings: "SET default_tablespace = ''; SET default_table_access_method = heap;"},
	}, split)

	// A text that copies the header of an entry of this very archive.
	_, err = splitScript(strings.NewReader(head+header(7, 70)+"SELECT '\n"+header(8, 80)+"';\n\n"+header(8, 80)+"CREATE TABLE eight ();\n"), entries)
	require.ErrorContains(t, err, "twice")
	_, err = splitScript(strings.NewReader(head+header(7, 70)+"CREATE TABLE seven ();\n"), entries)
	require.ErrorContains(t, err, `nothing for archive entry "eight"`)
	_, err = splitScript(strings.NewReader(head+header(7, 70)+"SELECT '\n"+header(8, 81)+"';\n\n"+header(8, 80)+"CREATE TABLE eight ();\n"), entries)
	require.NoError(t, err, "of another oid")
}

func TestParseList(t *testing.T) {
	t.Parallel()
	entries, err := parseList(";\n; Archive created at x\n;     dbname: y\n;\n;\n; Selected TOC Entries:\n;\n" +
		"215; 1259 16385 TABLE public orders owner\n;\tdepends on: 6 7\n3; 0 0 COMMENT - EXTENSION x \n9; 2606 4294967295 FK CONSTRAINT a b c d; x\n" +
		"10; 0 0 PUBLICATION TABLES IN SCHEMA - p s o\n11; 0 0 MATERIALIZED VIEW DATA s m o\n12; 0 0 MATERIALIZED VIEW s m o\n13; 0 0 TABLE s ; o\n")
	require.NoError(t, err)
	var descs []string
	for _, e := range entries {
		descs = append(descs, e.Desc)
	}
	require.Equal(t, []string{"TABLE", "COMMENT", "FK CONSTRAINT", "PUBLICATION TABLES IN SCHEMA", "MATERIALIZED VIEW DATA", "MATERIALIZED VIEW", "TABLE"}, descs)
	require.Equal(t, []int{6, 7}, entries[0].Deps)
	require.Equal(t, uint32(4294967295), entries[2].OID)
	require.Equal(t, "public orders owner", entries[0].Rest)
	_, err = parseList("not a line\n")
	require.Error(t, err)
	_, err = parseList("1; 2 3 TABLE a b c\n;\tdepends on: x\n")
	require.Error(t, err)
}

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dsn, name, want string }{
		{"postgres://h/a", "", "postgres://h/a"},
		{"postgres://h/a", "b", "postgres://h/a?dbname=b"},
		{"postgresql://h/a?sslmode=disable", "a b&c+d=%'", "postgresql://h/a?sslmode=disable&dbname=a%20b%26c%2Bd%3D%25%27"},
		{"host=h dbname=a", "", "host=h dbname=a"},
		{"host=h dbname=a", `it's \ "b"`, `host=h dbname=a dbname='it\'s \\ "b"'`},
	} {
		require.Equal(t, c.want, withDatabase(c.dsn, c.name))
	}
}
