package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sources parses the Go files of a package, its tests left out.
func sources(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, file)
	}
	require.NotEmpty(t, files)
	return files
}

// messagesReference is what exists on the server of the queue, from the comment in
// internal/queue/names.go, and what messages hold, from the types of internal/tasks.
func messagesReference(t *testing.T, _ string) string {
	var b strings.Builder
	for _, file := range sources(t, "internal/queue") {
		for _, decl := range file.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.CONST && strings.HasPrefix(d.Doc.Text(), "What exists on the server.") {
				existing(&b, d)
			}
		}
	}
	require.NotEmpty(t, b.String())
	types := typesOf(sources(t, "internal/tasks"))
	b.WriteString("## Messages and reports\n\nAll are JSON. A Report is no message: it is RUN.report.json, and what -o json prints at the end of a run.\n\n")
	// What a message holds first, then what that consists of.
	open, seen := []string{"Envelope", "Event", "DeadLetter", "Keeper", "RunStatus", "WorkerStatus", "Report"}, map[string]bool{}
	for len(open) > 0 {
		name := open[0]
		open = open[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		require.Contains(t, types.structs, name)
		open = append(open, types.write(&b, name)...)
	}
	return b.String()
}

var (
	columns     = regexp.MustCompile(` {2,}`)       // are apart by two blanks or more
	placeholder = regexp.MustCompile(`\S*<\w+>\S*`) // a word that is no HTML
)

// existing writes the table of the comment, and the constants that tools may see.
func existing(b *strings.Builder, d *ast.GenDecl) {
	b.WriteString("## What exists on the server\n\n| what | name | meaning |\n|---|---|---|\n")
	for line := range strings.Lines(d.Doc.Text()) {
		if row, ok := strings.CutPrefix(line, "\t"); ok {
			cells := columns.Split(strings.TrimSpace(row), 3)
			fmt.Fprintf(b, "| %s | `%s` | %s |\n", cells[0], cells[1], placeholder.ReplaceAllString(cells[2], "`$0`"))
		}
	}
	b.WriteString("\n| name | where it stands | meaning |\n|---|---|---|\n")
	for _, s := range d.Specs {
		spec := s.(*ast.ValueSpec)
		kind := ""
		switch name := spec.Names[0].Name; {
		case strings.HasPrefix(name, "Header"):
			kind = "header of a task"
		case strings.HasPrefix(name, "Meta"):
			kind = "metadata of the stream of a run"
		default:
			continue
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err == nil {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", value, kind, comment(spec.Comment))
		}
	}
	b.WriteByte('\n')
}

// comment returns a comment as one line.
func comment(groups ...*ast.CommentGroup) string {
	var words []string
	for _, g := range groups {
		words = append(words, strings.Fields(g.Text())...)
	}
	return strings.ReplaceAll(strings.Join(words, " "), "|", "\\|")
}

// types are the types of a package.
type types struct {
	structs map[string]*ast.TypeSpec
	about   map[string]string
	words   map[string][]string // of a type of text, its constants
}

func typesOf(files []*ast.File) types {
	found := types{map[string]*ast.TypeSpec{}, map[string]string{}, map[string][]string{}}
	for _, file := range files {
		for _, decl := range file.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if _, ok := s.Type.(*ast.StructType); ok {
						found.structs[s.Name.Name], found.about[s.Name.Name] = s, comment(d.Doc)
					}
				case *ast.ValueSpec:
					if typ, ok := s.Type.(*ast.Ident); ok && len(s.Values) == 1 {
						if value, ok := s.Values[0].(*ast.BasicLit); ok {
							found.words[typ.Name] = append(found.words[typ.Name], strings.Trim(value.Value, `"`))
						}
					}
				}
			}
		}
	}
	return found
}

// write writes the table of a type and returns the types that it has members of.
func (ts types) write(b *strings.Builder, name string) (members []string) {
	fmt.Fprintf(b, "### %s\n\n%s\n\n| member | form | meaning |\n|---|---|---|\n", name, ts.about[name])
	for _, f := range ts.structs[name].Type.(*ast.StructType).Fields.List {
		if f.Tag == nil {
			continue
		}
		tag, _ := strconv.Unquote(f.Tag.Value)
		key, options, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		if key == "-" || key == "" {
			continue
		}
		form := ts.form(f.Type, &members)
		if strings.HasPrefix(options, "omit") {
			form += "; may be missing"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, form, comment(f.Doc, f.Comment))
	}
	b.WriteByte('\n')
	return members
}

// form says how a type is written in JSON, and notes the structs in it.
func (ts types) form(e ast.Expr, members *[]string) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return ts.form(e.X, members)
	case *ast.ArrayType:
		return "list of " + ts.form(e.Elt, members)
	case *ast.MapType:
		return "object, " + ts.form(e.Value, members) + " by " + ts.form(e.Key, members)
	case *ast.SelectorExpr:
		if e.Sel.Name == "Duration" {
			return "nanoseconds"
		}
		return "time"
	case *ast.Ident:
		switch {
		case ts.structs[e.Name] != nil:
			*members = append(*members, e.Name)
			return fmt.Sprintf("[%s](#%s)", e.Name, strings.ToLower(e.Name))
		case ts.words[e.Name] != nil:
			return "`" + strings.Join(ts.words[e.Name], "`, `") + "`"
		case strings.HasPrefix(e.Name, "int"):
			return "number"
		case e.Name == "bool":
			return "true or false"
		}
	}
	return "text"
}
