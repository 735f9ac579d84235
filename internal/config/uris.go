package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// URIs is a list of connection URIs. Its text form, for the environment, has white
// space between: a comma may be part of a URI.
type URIs []Secret

// UnmarshalText reads the text form.
func (u *URIs) UnmarshalText(text []byte) error {
	*u = nil
	for uri := range strings.FieldsSeq(string(text)) {
		*u = append(*u, Secret(uri))
	}
	return nil
}

// readNode reads a sequence of URIs.
func (u *URIs) readNode(file, path string, node *yaml.Node, found *problems) bool {
	if node.Kind != yaml.SequenceNode {
		found.add(at(file, node), path+": must be a list of URIs, not "+kindName(node), "write [postgres://user@host/database, …]")
		return false
	}
	*u = nil
	for _, n := range node.Content {
		n = target(n)
		if n.Kind != yaml.ScalarNode || isNull(n) {
			found.add(at(file, n), path+": must be a URI, not "+kindName(n), "")
			return false
		}
		*u = append(*u, Secret(n.Value))
	}
	return true
}

// clones holds the rules for the clones of the source.
func (c Config) clones(p *problems) {
	seen := map[Secret]bool{c.Source.URI: true}
	for _, uri := range c.SourceClones {
		text := string(uri)
		switch {
		case !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://"):
			p.add("source_clones", "one of them is no postgres:// URI", "write postgres://user@host:5432/database for each; key=value pairs are not for lists")
		case seen[uri]:
			p.add("source_clones", "one of them is there twice, or is source.uri", "list the other servers only")
		case uri.hasPassword() && (c.Source.PasswordFile != "" || c.Source.PasswordCommand != ""):
			p.add("source_clones", "one of them holds a password, and source.password_file or source.password_command is set, too", "these are for the clones as well: leave it out of the URI")
		}
		seen[uri] = true
	}
}
