package check

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

//go:embed sql/superuser.sql
var sqlSuperuser string

// sqlInSchema is the part of the query that servers before 15 do not know.
const sqlInSchema = ` OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid)`

// checkSuperuserObjects lists what the source has and only a superuser can
// create, if the role on the target is none. Managed services have roles that
// may do some of it, so a member of one is only warned.
func checkSuperuserObjects(ctx context.Context, p *probe) (Findings, error) {
	if p.target.Facts.Superuser {
		return nil, nil
	}
	inSchema := ""
	if p.Source.Major() >= 15 {
		inSchema = sqlInSchema
	}
	objects, err := queryList(ctx, p.Source, p.Choice.withObjects(fmt.Sprintf(sqlSuperuser, inSchema)))
	if err != nil || objects.empty() {
		return nil, err
	}
	return Findings{p.superuserFinding("superuser",
		"%s of the source can only be created by a superuser, which role %s of the target is not: %s", tasks.Plural(objects.total, "object"), p.target.role(), objects)}, nil
}

// superuserFinding is a blocker, or a warning for a member of a role that
// stands in for superuser.
func (p *probe) superuserFinding(name, format string, args ...any) Finding {
	hint := fmt.Sprintf("connect to the target as superuser, or on the target: ALTER ROLE %s SUPERUSER; or drop them on the source", p.target.role())
	if p.target.Facts.Delegate != "" {
		return warning(name, fmt.Sprintf("role %s may stand in for it, see the service's manual; else drop them on the source", quoteIdent(p.target.Facts.Delegate)), format, args...)
	}
	return blocker(name, hint, format, args...)
}
