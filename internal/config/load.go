package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
)

// Override is the value of one flag that was given.
type Override struct {
	// Flag is what the user wrote, such as --source; it names the place of an error.
	Flag string
	// Key is the setting's path in the file, such as source.uri.
	Key string
	// Value is its text form, as it would stand in the file.
	Value string
}

// Load returns the effective configuration: the defaults, over them the YAML
// file at path (none if path is empty), over it the process's environment
// variables PGCONVOY_*, over them the overrides. Then it applies the rules,
// which are Config.Validate, Config.ValidateWorker, or none.
//
// Everything that is wrong is reported in one *ValidationError, in which a
// rule's problem names the place where the value was set. The configuration
// is returned beside the error as far as it could be read, for display only.
func Load(path string, overrides []Override, rules ...func(Config) error) (Config, error) {
	cfg := Default()
	settings := settingsOf(&cfg)
	l := loader{settings: settings, origins: map[string]string{}}
	readable := path == "" || l.file(path)
	l.environment()
	for _, o := range overrides {
		l.override(o)
	}
	if readable { // or the rules would complain about what the file may well set
		for _, rule := range rules {
			l.rule(rule(cfg))
		}
	}
	return cfg, l.problems.err()
}

// loader carries what Load collects on its way through the places.
type loader struct {
	settings []setting
	problems problems
	origins  map[string]string // path of a setting -> where it was last set
	broken   []string          // paths whose value could not be read
}

// file applies the YAML file and reports whether it could be read and parsed.
func (l *loader) file(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		hint := "give the path of the configuration file with --config"
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		l.problems.add(path, "reading the configuration: "+err.Error(), hint)
		return false
	}
	return l.yaml(path, text)
}

// override applies one flag.
func (l *loader) override(o Override) {
	i := slices.IndexFunc(l.settings, func(s setting) bool { return s.path == o.Key })
	if i < 0 {
		l.problems.add(o.Flag, fmt.Sprintf("no setting is called %q", o.Key), "")
		return
	}
	s := l.settings[i]
	if err := setScalar(s.value, o.Value); err != nil {
		l.unreadable(s, o.Flag, err)
		return
	}
	l.origins[s.path] = o.Flag
}

// unreadable notes that the value of s could not be read at a place.
func (l *loader) unreadable(s setting, where string, err error) {
	l.problems.add(where, s.path+": "+err.Error(), "")
	l.broken = append(l.broken, s.path)
}

// rule adds the problems of a rule, each with the place where its setting was
// set. A setting whose value could not be read has been reported already.
func (l *loader) rule(err error) {
	for _, p := range problemsOf(err) {
		if slices.Contains(l.broken, p.Where) {
			continue
		}
		if origin, ok := l.origins[p.Where]; ok {
			p.Where = origin + ": " + p.Where
		}
		l.problems = append(l.problems, p)
	}
}

// setting is one leaf of the configuration.
type setting struct {
	path  string              // as in the file: caps.copy
	field reflect.StructField // for its name and tags
	value reflect.Value       // addressable
}

// settingsOf lists the leaves of a configuration in the order of their fields.
func settingsOf(cfg *Config) []setting {
	return settingsIn(reflect.ValueOf(cfg).Elem(), "")
}

// settingsIn lists the leaves of a struct whose path is prefix.
func settingsIn(v reflect.Value, prefix string) []setting {
	var found []setting
	for i := range v.NumField() {
		f := v.Type().Field(i)
		path := prefix + f.Tag.Get("yaml")
		if f.Type.Kind() == reflect.Struct {
			found = append(found, settingsIn(v.Field(i), path+".")...)
			continue
		}
		found = append(found, setting{path: path, field: f, value: v.Field(i)})
	}
	return found
}

// paths lists the paths of settings.
func paths(settings []setting) []string {
	out := make([]string, len(settings))
	for i, s := range settings {
		out[i] = s.path
	}
	return out
}
