package check

import (
	"context"
	"fmt"
)

// checkCreateDatabase makes sure that the role may make the target database, if
// the run is to make it.
func checkCreateDatabase(ctx context.Context, p *probe) (Findings, error) {
	if p.Absent == "" {
		return nil, nil
	}
	var may bool
	if err := queryRow(ctx, p.Target, "SELECT rolsuper OR rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user", &may); err != nil || may {
		return nil, err
	}
	return Findings{blocker("create-database",
		fmt.Sprintf("on the target: ALTER ROLE %s CREATEDB; or make it by hand: CREATE DATABASE %s TEMPLATE template0 …", p.target.role(), quoteIdent(p.Absent)),
		"database %q does not exist on the target, and role %s may not create databases there", p.Absent, p.target.role())}, nil
}
