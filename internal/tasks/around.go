package tasks

import (
	"cmp"
	"fmt"
)

// Around says what of the things around tables a run copies, and under which
// names. The zero value copies everything as it is.
type Around struct {
	NoOwner       bool `json:"no_owner,omitempty"` // everything belongs to the session's role
	NoACL         bool `json:"no_acl,omitempty"`   // neither privileges nor default privileges
	NoComments    bool `json:"no_comments,omitempty"`
	NoTablespaces bool `json:"no_tablespaces,omitempty"`

	Owners      map[string]string `json:"owners,omitempty"`      // roles of the source that have another name on the target
	Tablespaces map[string]string `json:"tablespaces,omitempty"` // the same for tablespaces
	Versions    map[string]string `json:"versions,omitempty"`    // to make extensions in; others are made in the target's default version
}

// Role returns the name on the target of a role of the source.
func (a Around) Role(name string) string { return cmp.Or(a.Owners[name], name) }

// Tablespace returns the name on the target of a tablespace of the source; "" is
// the default one of the database.
func (a Around) Tablespace(name string) string {
	if a.NoTablespaces {
		return ""
	}
	return cmp.Or(a.Tablespaces[name], name)
}

// Lodger is a role that owns something in a schema of another owner.
type Lodger struct {
	SchemaOID uint32 // on the source
	Schema    string
	Role      string // as the target calls it
}

// GrantSQL lets the role create in the schema; without that, no one but a superuser
// can give it anything there.
func (l Lodger) GrantSQL() string {
	return fmt.Sprintf("GRANT CREATE ON SCHEMA %s TO %s", QuoteIdent(l.Schema), QuoteIdent(l.Role))
}

// RevokeSQL takes that back. Privileges of the source's own are granted later.
func (l Lodger) RevokeSQL() string {
	return fmt.Sprintf("REVOKE CREATE ON SCHEMA %s FROM %s", QuoteIdent(l.Schema), QuoteIdent(l.Role))
}
