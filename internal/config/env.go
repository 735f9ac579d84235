package config

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

const (
	// envPrefix is what every environment variable of pgconvoy begins with,
	// with an underscore after it.
	envPrefix = "PGCONVOY"
	// testPrefix is what the variables begin with that steer the tests.
	testPrefix = envPrefix + "_TEST_"
)

// environment applies the environment variables. envconfig stops at the first
// value that it cannot read, so it is handed one setting at a time: all of
// them are reported together. A variable that is set to nothing counts as not
// set, since container platforms cannot always leave one out.
func (l *loader) environment() {
	for _, s := range l.settings {
		name := s.variable()
		if os.Getenv(name) == "" {
			continue
		}
		spec := reflect.New(reflect.StructOf([]reflect.StructField{{
			Name: s.field.Name, Type: s.field.Type, Tag: s.field.Tag,
		}}))
		group := variable(s.path[:max(strings.LastIndex(s.path, "."), 0)])
		err := envconfig.Process(group, spec.Interface())
		if p, ok := errors.AsType[*envconfig.ParseError](err); ok {
			err = readable(s.value, p.Value, p.Err)
		}
		if err != nil {
			l.unreadable(s, name, err)
			continue
		}
		s.value.Set(spec.Elem().Field(0))
		l.origins[s.path] = name
	}
}

// variable returns the name of the setting's environment variable.
func (s setting) variable() string { return variable(s.path) }

// variable returns the name of the environment variable of a path: caps.copy
// is PGCONVOY_CAPS_COPY. envconfig derives the same from the fields' names.
func variable(path string) string {
	if path == "" {
		return envPrefix
	}
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// Variables lists the environment variables that Load reads.
func Variables() []string {
	cfg := Default()
	var names []string
	for _, s := range settingsOf(&cfg) {
		names = append(names, s.variable())
	}
	return names
}

// UnknownVariables lists the variables in environ (as os.Environ gives it)
// that begin with PGCONVOY_ and are no setting. They are worth a warning and
// no error: Kubernetes injects variables such as PGCONVOY_SERVICE_HOST into
// every pod when a service is called pgconvoy, unless enableServiceLinks is
// false. Those that steer the tests (PGCONVOY_TEST_*) are left out.
func UnknownVariables(environ []string) []Problem {
	known := Variables()
	var unknown problems
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix+"_") || strings.HasPrefix(name, testPrefix) || slices.Contains(known, name) {
			continue
		}
		unknown.add(name, "unknown environment variable, ignored", variableHint(name, known))
	}
	slices.SortFunc(unknown, func(a, b Problem) int { return strings.Compare(a.Where, b.Where) })
	return unknown
}

// variableHint says what an unknown variable may have been meant to be.
func variableHint(name string, known []string) string {
	for _, mark := range []string{"_SERVICE_HOST", "_SERVICE_PORT", "_PORT", "_PORT_"} {
		if strings.HasSuffix(name, mark) || mark != "_PORT" && strings.Contains(name, mark) {
			return "if Kubernetes injected it, set enableServiceLinks: false in the pod's spec"
		}
	}
	short := make([]string, len(known))
	for i, k := range known {
		short[i] = strings.TrimPrefix(k, envPrefix+"_")
	}
	if n := nearest(strings.TrimPrefix(name, envPrefix+"_"), short); n != "" {
		return "did you mean " + envPrefix + "_" + n + "?"
	}
	return "docs/reference/configuration.md lists the variables; each is named after the setting's path in the file"
}
