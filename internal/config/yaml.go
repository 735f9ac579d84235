package config

import (
	"bytes"
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// yamlLine matches the position in the messages of the YAML parser.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yaml applies a YAML document and reports whether it could be parsed. It
// walks the parsed nodes itself, because the library's strict mode names Go
// types and stops at the first value whose own decoder refuses it.
func (l *loader) yaml(file string, text []byte) bool {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return true
	}
	if err == nil {
		l.mapping(file, "", doc.Content[0])
		err = dec.Decode(&second)
	}
	switch {
	case err == nil:
		l.problems.add(at(file, &second), "a second YAML document begins here", "keep one document in the file")
	case !errors.Is(err, io.EOF):
		where := file
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
			where += ":" + m[1]
		}
		l.problems.add(where, "not valid YAML: "+yamlLine.ReplaceAllString(err.Error(), ""), "")
		return false
	}
	return true
}

// mapping applies the keys of one mapping, whose path is prefix.
func (l *loader) mapping(file, prefix string, node *yaml.Node) {
	node = target(node)
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		what, keys := "the configuration", l.keysUnder(prefix)
		if prefix != "" {
			what = strings.TrimSuffix(prefix, ".")
		}
		l.problems.add(at(file, node), what+" must be a mapping, not "+kindName(node), "its keys are "+strings.Join(keys, ", "))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if line, ok := seen[key.Value]; ok {
			l.problems.add(at(file, key), fmt.Sprintf("key %q is here again, first in line %d", prefix+key.Value, line), "")
			continue
		}
		seen[key.Value] = key.Line
		l.key(file, prefix, key, value)
	}
}

// key applies one key of the mapping at prefix.
func (l *loader) key(file, prefix string, key, value *yaml.Node) {
	path := prefix + key.Value
	if i := slices.IndexFunc(l.settings, func(s setting) bool { return s.path == path }); i >= 0 {
		l.scalar(file, l.settings[i], target(value))
		return
	}
	if key.Value != "" && len(l.keysUnder(path+".")) > 0 {
		l.mapping(file, path+".", value)
		return
	}
	here := l.keysUnder(prefix)
	hint := "known here are " + strings.Join(here, ", ")
	if n := cmp.Or(nearest(key.Value, here), nearest(key.Value, paths(l.settings))); n != "" {
		hint = "did you mean " + n + "?"
	}
	l.problems.add(at(file, key), fmt.Sprintf("unknown key %q", path), hint)
}

// scalar applies the value of one setting, a single one but for kinds that read
// nodes themselves; null leaves it as it is.
func (l *loader) scalar(file string, s setting, node *yaml.Node) {
	if isNull(node) {
		return
	}
	where := at(file, node)
	if v, ok := s.value.Addr().Interface().(nodeReader); ok && node.Kind != yaml.ScalarNode {
		if v.readNode(file, s.path, node, &l.problems) {
			l.origins[s.path] = where
		} else {
			l.broken = append(l.broken, s.path)
		}
		return
	}
	if node.Kind != yaml.ScalarNode {
		l.unreadable(s, where, errors.New("must be a single value, not "+kindName(node)))
		return
	}
	if err := setScalar(s.value, node.Value); err != nil {
		l.unreadable(s, where, err)
		return
	}
	l.origins[s.path] = where
}

// nodeReader is a kind of value that may be more than a single one in the file.
// readNode adds what is wrong, with the setting's path, and reports whether
// nothing is.
type nodeReader interface {
	readNode(file, path string, node *yaml.Node, found *problems) bool
}

// keysUnder lists the keys that the mapping at prefix may have.
func (l *loader) keysUnder(prefix string) []string {
	var keys []string
	for _, s := range l.settings {
		if rest, ok := strings.CutPrefix(s.path, prefix); ok {
			key, _, _ := strings.Cut(rest, ".")
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// target follows an alias to the node that it stands for.
func target(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// at returns the place of a node as file:line.
func at(file string, n *yaml.Node) string { return file + ":" + strconv.Itoa(n.Line) }

// kindName says what a node is, for people.
func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

// setScalar sets a setting from its text form.
func setScalar(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return readable(v, text, err)
		}
		*p = d
	case *bool:
		b, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return readable(v, text, err)
		}
		*p = b
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return readable(v, text, err)
		}
		*p = n
	default:
		v.SetString(text)
	}
	return nil
}

// readable words the error of a conversion for people, not for programmers.
func readable(v reflect.Value, text string, err error) error {
	switch v.Interface().(type) {
	case time.Duration:
		return fmt.Errorf("%q is not a duration such as 30s or 5m", text)
	case bool:
		return fmt.Errorf("%q is neither true nor false", text)
	case int:
		return fmt.Errorf("%q is not a whole number", text)
	default:
		return err
	}
}
