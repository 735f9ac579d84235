package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// PlanFile is a plan that a person has read and a run shall follow: which databases
// it is about, the settings and the shape of the source that it was made for, and
// where tables are cut. A run plans anew, and refuses if any of that has changed;
// sizes and numbers of rows may. There is no secret in it.
type PlanFile struct {
	Format      int                        `json:"pgconvoy_plan"`
	Fingerprint string                     `json:"fingerprint"` // of all that decides, so that no file is followed that was damaged or edited
	Version     string                     `json:"version"`     // of the build that made it
	Planned     time.Time                  `json:"planned"`
	Client      int                        `json:"client"` // major version of pg_dump
	Databases   tasks.Fingerprint          `json:"databases"`
	Settings    map[string]json.RawMessage `json:"settings"`
	Shape       plan.Shape                 `json:"shape"`
	Tables      []tasks.PlannedTable       `json:"tables"`

	// For people, as planner plan prints it.
	Critical []tasks.CriticalTask `json:"critical_path"`
	Expected tasks.Expected       `json:"expected"`
	Outlook  tasks.Outlook        `json:"outlook"`
}

// planFormat is the version of the format of plan files.
const planFormat = 1

// PlanFileError is a plan file that cannot be followed at all.
type PlanFileError struct {
	Path string
	Err  error
}

func (e *PlanFileError) Error() string { return fmt.Sprintf("plan file %s: %v", e.Path, e.Err) }

// Unwrap returns what is wrong with it.
func (e *PlanFileError) Unwrap() error { return e.Err }

// Hint says where plan files come from.
func (e *PlanFileError) Hint() string { return "planner plan --save FILE makes one" }

// ExitCode is that of a wrong command line.
func (e *PlanFileError) ExitCode() int { return 2 }

// ReadPlanFile reads a plan file. Its error is a [*PlanFileError].
func ReadPlanFile(path string) (*PlanFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return nil, &PlanFileError{path, err}
	}
	f := &PlanFile{}
	if err := json.Unmarshal(text, f); err != nil {
		return nil, &PlanFileError{path, fmt.Errorf("it is no plan: %w", err)}
	}
	if f.Format != planFormat {
		return nil, &PlanFileError{path, fmt.Errorf("it is no plan of this version: its pgconvoy_plan is %d, and not %d", f.Format, planFormat)}
	}
	fingerprint, err := f.fingerprint()
	if err != nil {
		return nil, &PlanFileError{path, err}
	}
	if fingerprint != f.Fingerprint {
		return nil, &PlanFileError{path, errors.New("it does not have the fingerprint that it names: it is damaged, or was edited")}
	}
	for _, t := range f.Tables {
		if !ascending(t.Bounds) {
			return nil, &PlanFileError{path, fmt.Errorf("the bounds of %s do not ascend", t.Name)}
		}
	}
	return f, nil
}

// ascending reports whether bounds are numbers, each above the one before: parts
// between others would overlap.
func ascending(bounds []string) bool {
	var numbers []int64
	for _, b := range bounds {
		n, err := strconv.ParseInt(b, 10, 64)
		if err != nil || len(numbers) > 0 && n <= numbers[len(numbers)-1] {
			return false
		}
		numbers = append(numbers, n)
	}
	return true
}

// knowShape reads the shape of the source if a plan file is to be written or
// followed, and refuses to follow one that is about another.
func (p *Prepared) knowShape(ctx context.Context, in plan.Input) error {
	if !p.Shaped && p.Follow == nil {
		return nil
	}
	columns, err := pg.ColumnDefinitions(ctx, p.source, p.without)
	if err != nil {
		return err
	}
	p.shape = plan.ShapeOf(in, columns)
	if p.Follow == nil {
		return nil
	}
	if err := p.Follow.compare(p); err != nil {
		return err
	}
	p.Log.Info("plan is followed", "fingerprint", p.Follow.Fingerprint)
	return nil
}

// fingerprint returns the digest of all that decides: databases, settings, shape,
// and where tables are cut.
func (f *PlanFile) fingerprint() (string, error) {
	type cut struct {
		Table  tasks.Name
		By     string
		Bounds []string
	}
	var cuts []cut
	for _, t := range f.Tables {
		if t.SplitBy != "" {
			cuts = append(cuts, cut{t.Name, t.SplitBy, t.Bounds})
		}
	}
	text, err := json.Marshal([]any{f.Format, f.Client, f.Databases, f.Settings, f.Shape, cuts})
	if err != nil {
		return "", fmt.Errorf("make a fingerprint: %w", err)
	}
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:16]), nil
}

// Save writes the plan to a file, in place of one that is there. The plan must have
// been prepared with [Options.Shaped].
func (p *Prepared) Save(path string) error {
	settings, err := planSettings(p.Config)
	if err != nil {
		return err
	}
	f := &PlanFile{
		Format: planFormat, Version: p.Version, Planned: time.Now().UTC(), Client: p.tools.Major, Databases: p.fingerprint, Settings: settings, Shape: p.shape,
		Tables: p.Plan.Tables, Critical: p.Plan.Critical, Expected: p.Plan.Expected, Outlook: p.Outlook,
	}
	if f.Fingerprint, err = f.fingerprint(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(f, "", " ")
	if err == nil {
		err = replaceFile(path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write plan file %s: %w", path, err)
	}
	p.Log.Info("plan saved", "file", path, "fingerprint", f.Fingerprint)
	return nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// planSettings returns the settings that decide what is copied and how. Of files
// that settings name, it is the contents that count.
func planSettings(c config.Config) (map[string]json.RawMessage, error) {
	values := map[string]any{
		"split.larger_than": c.Split.LargerThan, "split.max_parts": c.Split.MaxParts,
		"bundle.max_table": c.Bundle.MaxTable, "bundle.max_bytes": c.Bundle.MaxBytes, "bundle.max_tables": c.Bundle.MaxTables,
		"filter.include.schemas": c.Filter.Include.Schemas, "filter.include.tables": c.Filter.Include.Tables, "filter.include.extensions": c.Filter.Include.Extensions,
		"filter.exclude.schemas": c.Filter.Exclude.Schemas, "filter.exclude.tables": c.Filter.Exclude.Tables, "filter.exclude.table_data": c.Filter.Exclude.TableData,
		"filter.exclude.indexes": c.Filter.Exclude.Indexes, "filter.exclude.extensions": c.Filter.Exclude.Extensions,
		"only": c.Only, "truncate": c.Truncate, "no_owner": c.NoOwner, "no_acl": c.NoACL, "no_comments": c.NoComments, "no_tablespaces": c.NoTablespaces,
		"owner_map": c.OwnerMap, "tablespace_map": c.TablespaceMap, "roles": c.Roles, "role_passwords": c.RolePasswords, "verify": c.Verify,
	}
	for _, t := range c.Tables {
		values["tables."+t.Name+".where"], values["tables."+t.Name+".columns"], values["tables."+t.Name+".parts"] = t.Where, t.Columns, t.Parts
	}
	settings := map[string]json.RawMessage{}
	for name, value := range values {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", name, err)
		}
		if unset := string(text); unset != "null" && unset != `""` {
			settings[name] = text
		}
	}
	for name, path := range map[string]string{"filter.file": c.Filter.File, "requirements": c.Requirements} {
		if path == "" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", name, err)
		}
		digest := sha256.Sum256(text)
		settings[name] = json.RawMessage(strconv.Quote("contents " + hex.EncodeToString(digest[:8])))
	}
	return settings, nil
}

// PlanChangedError says that a plan file is not about what is there now. Nothing was
// changed.
type PlanChangedError struct {
	Changes []string
	Advice  string
}

func (e *PlanChangedError) Error() string {
	return fmt.Sprintf("the plan file is about something else: %d differences", len(e.Changes))
}

// Lines lists what has changed, then what to do.
func (e *PlanChangedError) Lines() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i, c := range e.Changes {
			if i == shownChanges && len(e.Changes) > shownChanges+1 {
				c = fmt.Sprintf("and %d more", len(e.Changes)-shownChanges)
			}
			if !yield(c, "") || i == shownChanges {
				break
			}
		}
		yield(e.Error(), e.Advice)
	}
}

// ExitCode is that of a preflight that failed.
func (e *PlanChangedError) ExitCode() int { return 5 }

// shownChanges is how many changes are listed.
const shownChanges = 100

// compare returns a [*PlanChangedError] if the plan is not what the file says.
func (f *PlanFile) compare(p *Prepared) error {
	changed := &PlanChangedError{Advice: "planner plan --save makes a new file, to be read before planner run follows it"}
	add := func(format string, args ...any) {
		changed.Changes = append(changed.Changes, fmt.Sprintf(format, args...))
	}
	if f.Databases.Source != p.fingerprint.Source {
		add("the source is %s, and was %s", p.fingerprint.Source, f.Databases.Source)
	}
	if f.Databases.Target != p.fingerprint.Target {
		add("the target is %s, and was %s", p.fingerprint.Target, f.Databases.Target)
	}
	settings, err := planSettings(p.Config)
	if err != nil {
		return err
	}
	all := maps.Clone(settings)
	maps.Copy(all, f.Settings)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if is, was := compact(settings[name]), compact(f.Settings[name]); is != was {
			add("setting %s is %s, and was %s", name, is, was)
		}
	}
	shape := f.Shape.Changes(p.shape)
	changed.Changes = append(changed.Changes, shape...)
	if len(shape) > 0 && f.Client != p.tools.Major {
		changed.Advice = fmt.Sprintf("the file was made with pg_dump %d, and this is %d, which may write the same definition otherwise: pg_bindir chooses; or %s", f.Client, p.tools.Major, changed.Advice)
	}
	if len(changed.Changes) == 0 {
		return nil
	}
	return changed
}

// compact returns a value as it is shown, the same however it was indented.
func compact(value json.RawMessage) string {
	var b bytes.Buffer
	if len(value) == 0 || json.Compact(&b, value) != nil {
		return "not set"
	}
	return b.String()
}

// cuts returns where the file cuts the tables of the source, by their oids; without
// a file, nowhere.
func (f *PlanFile) cuts(cat pg.Catalog) map[uint32]plan.Cut {
	if f == nil {
		return nil
	}
	planned := map[tasks.Name]plan.Cut{}
	for _, t := range f.Tables {
		if t.SplitBy != "" {
			planned[t.Name] = plan.Cut{By: t.SplitBy, Bounds: t.Bounds}
		}
	}
	cuts := map[uint32]plan.Cut{}
	for _, r := range cat.Tables {
		if c, ok := planned[tasks.Name{Schema: r.Schema, Name: r.Name}]; ok {
			cuts[r.OID] = c
		}
	}
	return cuts
}
