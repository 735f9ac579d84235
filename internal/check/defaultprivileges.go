package check

import (
	"context"
	_ "embed"
	"strings"
)

//go:embed sql/default_privileges.sql
var sqlDefaultPrivileges string

// checkDefaultPrivileges refuses default privileges on the target for the role
// that creates the copies: every object would get them, also one that has no
// privileges on the source. Those of other roles merely stay.
func checkDefaultPrivileges(ctx context.Context, p *probe) (Findings, error) {
	if p.ledger == ledgerUnfinished {
		return nil, nil
	}
	var found Findings
	ours, err := queryList(ctx, p.Target, defaultPrivileges("true"))
	if err != nil {
		return nil, err
	}
	if !ours.empty() {
		found = append(found, blocker("default-privileges", "on the target:\n"+ours.each("%s"),
			"the %s has default privileges for role %s, which creates the copies: they would get privileges that the originals lack", p.target.place(), p.target.role()))
	}
	others, err := queryList(ctx, p.Target, defaultPrivileges("false"))
	if err != nil {
		return nil, err
	}
	if !others.empty() {
		found = append(found, warning("default-privileges", "if the source has none of the kind:\n"+others.each("%s"),
			"the %s has default privileges for roles other than %s; they will stay", p.target.place(), p.target.role()))
	}
	return found, nil
}

func defaultPrivileges(ofSession string) string {
	return strings.Replace(sqlDefaultPrivileges, "current_user) = %s", "current_user) = "+ofSession, 1)
}
