package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// List is a list of names. Its text form, for the environment and for flags, has
// commas between; one between double quotes or slashes belongs to a name.
type List []string

// UnmarshalText reads the text form.
func (l *List) UnmarshalText(text []byte) error {
	*l = nil
	var within byte // what ends what the text is in, 0 if it is in nothing
	start := 0
	add := func(end int) {
		if name := strings.TrimSpace(string(text[start:end])); name != "" {
			*l = append(*l, name)
		}
		start = end + 1
	}
	for i, c := range text {
		switch {
		case c == within:
			within = 0
		case within == 0 && (c == '"' || c == '/'):
			within = c
		case within == 0 && c == ',':
			add(i)
		}
	}
	if within != 0 {
		return fmt.Errorf("%q has an opening %c that nothing closes", text, within)
	}
	add(len(text))
	return nil
}

// readNode reads a sequence of names.
func (l *List) readNode(file, path string, node *yaml.Node, found *problems) bool {
	if node.Kind != yaml.SequenceNode {
		found.add(at(file, node), path+": must be a list of names, not "+kindName(node), `write [name, "/regular expression/"]`)
		return false
	}
	*l = nil
	for _, n := range node.Content {
		n = target(n)
		if n.Kind != yaml.ScalarNode || isNull(n) {
			found.add(at(file, n), path+": must be a name, not "+kindName(n), "")
			return false
		}
		*l = append(*l, n.Value)
	}
	return true
}

// Tables is what is said of single tables, by their names, in the order of the
// file. Its text form, for the environment, is that of the file in one line.
type Tables []Table

// Table is what is copied of one table, or of each partition of one.
type Table struct {
	Name string
	// Where is a condition in SQL that the copied rows meet; empty means all.
	Where string
	// Columns are those that are copied; empty means all.
	Columns []string
	// Parts is the number of parts that the rows are read in; 0 leaves it to
	// split.
	Parts int
}

// UnmarshalText reads the text form.
func (t *Tables) UnmarshalText(text []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return fmt.Errorf(`%q is not a mapping such as {app.orders: {where: "id > 7"}}`, text)
	}
	var found problems
	t.readNode("", "tables", target(doc.Content[0]), &found)
	lines := make([]error, len(found))
	for i, p := range found {
		lines[i] = errors.New(p.What)
	}
	return errors.Join(lines...)
}

// readNode reads a mapping of tables.
func (t *Tables) readNode(file, path string, node *yaml.Node, found *problems) bool {
	if node.Kind != yaml.MappingNode {
		found.add(at(file, node), path+" must be a mapping, not "+kindName(node), "its keys are names of tables")
		return false
	}
	*t = nil
	before := len(*found)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], target(node.Content[i+1])
		if slices.ContainsFunc(*t, func(other Table) bool { return other.Name == key.Value }) {
			found.add(at(file, key), fmt.Sprintf("key %q is here again", path+"."+key.Value), "")
			continue
		}
		*t = append(*t, readTable(file, path+"."+key.Value, key.Value, value, found))
	}
	return len(*found) == before
}

func readTable(file, path, name string, node *yaml.Node, found *problems) Table {
	t := Table{Name: name}
	if node.Kind != yaml.MappingNode {
		found.add(at(file, node), path+" must be a mapping, not "+kindName(node), "its keys are where, columns, parts")
		return t
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		k, v := node.Content[i], target(node.Content[i+1])
		var err error
		switch k.Value {
		case "where":
			t.Where, err = strings.TrimSpace(v.Value), scalarOnly(v)
		case "columns":
			var columns List
			if columns.readNode(file, path+".columns", v, found) {
				t.Columns = columns
			}
		case "parts":
			if t.Parts, err = strconv.Atoi(v.Value); err != nil || t.Parts < 1 || t.Parts > maxParts {
				err = fmt.Errorf("%q is not a number between 1 and %d", v.Value, maxParts)
			}
		default:
			known := []string{"where", "columns", "parts"}
			hint := "known here are where, columns, parts"
			if n := nearest(k.Value, known); n != "" {
				hint = "did you mean " + n + "?"
			}
			found.add(at(file, k), fmt.Sprintf("unknown key %q", path+"."+k.Value), hint)
		}
		if err != nil {
			found.add(at(file, v), path+"."+k.Value+": "+err.Error(), "")
		}
	}
	return t
}

func scalarOnly(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return errors.New("must be a single value, not " + kindName(node))
	}
	return nil
}

// MarshalYAML writes the tables as they are read.
func (t Tables) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	if len(t) == 0 {
		node.Style = yaml.FlowStyle
	}
	for _, table := range t {
		key, value := &yaml.Node{}, &yaml.Node{}
		key.SetString(table.Name)
		err := value.Encode(struct {
			Where   string   `yaml:"where,omitempty"`
			Columns []string `yaml:"columns,omitempty,flow"`
			Parts   int      `yaml:"parts,omitempty"`
		}{table.Where, table.Columns, table.Parts})
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, key, value)
	}
	return node, nil
}
