package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Renames maps names on the source to names on the target. Its text form is
// old=new, with commas between; a name with a comma, an equals sign, a quote or
// white space at its ends stands in double quotes, as in SQL. In YAML it may be a
// mapping, too.
type Renames map[string]string

// String returns the text form, in the order of the names.
func (r Renames) String() string {
	pairs := make([]string, 0, len(r))
	for old, name := range r {
		pairs = append(pairs, renamed(old)+"="+renamed(name))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// renamed quotes a name if the text form needs it.
func renamed(name string) string {
	if strings.ContainsAny(name, `,="`) || strings.TrimSpace(name) != name {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return name
}

// MarshalText returns the form of String.
func (r Renames) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the text form.
func (r *Renames) UnmarshalText(text []byte) error {
	found := Renames{}
	for rest := strings.TrimSpace(string(text)); rest != ""; {
		var names [2]string
		for i, end := range []string{"=", ","} {
			var err error
			if names[i], rest, err = cutName(rest, end); err != nil {
				return err
			}
		}
		if err := found.add(names[0], names[1]); err != nil {
			return err
		}
	}
	*r = found.orNil()
	return nil
}

// cutName reads a name and the sign that ends it; the end of the text does for a
// comma.
func cutName(text, end string) (name, rest string, err error) {
	bad := fmt.Errorf("%q is not old=new, with commas between pairs", text)
	text = strings.TrimSpace(text)
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		closing := 0
		for closing < len(quoted) && (quoted[closing] != '"' || strings.HasPrefix(quoted[closing:], `""`)) {
			if quoted[closing] == '"' {
				closing++
			}
			closing++
		}
		if closing >= len(quoted) {
			return "", "", bad
		}
		name, rest = strings.ReplaceAll(quoted[:closing], `""`, `"`), strings.TrimSpace(quoted[closing+1:])
		if rest == "" && end == "," {
			return name, "", nil
		}
		if rest, ok = strings.CutPrefix(rest, end); !ok {
			return "", "", bad
		}
		return name, rest, nil
	}
	name, rest, found := strings.Cut(text, end)
	if !found && end != "," {
		return "", "", bad
	}
	return strings.TrimSpace(name), rest, nil
}

// readNode reads a mapping of names to names.
func (r *Renames) readNode(file, path string, node *yaml.Node, found *problems) bool {
	if node.Kind != yaml.MappingNode {
		found.add(at(file, node), path+": must be a mapping of names to names, not "+kindName(node), "write {old: new}")
		return false
	}
	names := Renames{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := target(node.Content[i]), target(node.Content[i+1])
		if key.Kind != yaml.ScalarNode || value.Kind != yaml.ScalarNode {
			found.add(at(file, key), fmt.Sprintf("%s: %q must be renamed to a name", path, key.Value), "")
			return false
		}
		if err := names.add(key.Value, value.Value); err != nil {
			found.add(at(file, key), path+": "+err.Error(), "")
			return false
		}
	}
	*r = names.orNil()
	return true
}

func (r Renames) add(old, name string) error {
	if old == "" || name == "" {
		return fmt.Errorf("%q=%q lacks a name", old, name)
	}
	if _, twice := r[old]; twice {
		return fmt.Errorf("%q is renamed twice", old)
	}
	r[old] = name
	return nil
}

// orNil returns nil in place of an empty map, so that equal settings are equal.
func (r Renames) orNil() Renames {
	if len(r) == 0 {
		return nil
	}
	return r
}

// around holds the rules for owners, privileges and tablespaces.
func (c Config) around(p *problems) {
	if _, ok := c.OwnerMap["public"]; ok {
		p.add("owner_map", "public stands for everybody and is no role", "leave it out; no_acl: true leaves privileges out")
	}
	if c.RolePasswords && c.Roles == RolesNone {
		p.add("role_passwords", "roles is none", "set roles to all or referenced, or leave role_passwords out")
	}
	if c.NoTablespaces && len(c.TablespaceMap) > 0 {
		p.add("tablespace_map", "no_tablespaces is set, too", "remove one of the two")
	}
}
