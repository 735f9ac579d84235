package check

import (
	"context"
	"fmt"

	"github.com/pgconvoy/pgconvoy/internal/pg"
)

// The oldest majors that a run supports.
const (
	oldestSource = 13
	oldestTarget = 14
)

// TargetOlder is the name of the check of targets that are older than the source.
// The plan of a run is tried on such a target before anything is changed.
const TargetOlder = "target-older"

// checkVersions refuses servers out of range, and warns of a target older than the
// source: pg_dump writes SQL for servers from its own major on.
func checkVersions(_ context.Context, p *probe) (Findings, error) {
	return versionFindings(p.Source.Major(), p.Target.Major()), nil
}

func versionFindings(source, target int) Findings {
	var found Findings
	if source < oldestSource {
		found = append(found, blocker("source-version", fmt.Sprintf("upgrade the source to PostgreSQL %d or newer with pg_upgrade first, or copy it with pg_dump", oldestSource),
			"the source runs PostgreSQL %d; the oldest that can be copied is %d", source, oldestSource))
	}
	if target < oldestTarget {
		found = append(found, blocker("target-version", fmt.Sprintf("copy into a server of PostgreSQL %d or newer", max(oldestTarget, source)),
			"the target runs PostgreSQL %d; the oldest that can be copied into is %d", target, oldestTarget))
	}
	if target < source {
		found = append(found, warning(TargetOlder, fmt.Sprintf("planner plan, and planner run before it changes anything, try every definition on it, in a transaction that is rolled back; a server of PostgreSQL %d or newer takes all of them", source),
			"the target runs PostgreSQL %d, older than the source's %d: it does not know all of what the source can hold", target, source))
	}
	return found
}

// checkTools looks at the pg_dump and pg_restore that were found.
func checkTools(_ context.Context, p *probe) (Findings, error) {
	return toolFindings(p.Tools, p.ToolsErr, p.Source.Major(), p.Target.Major()), nil
}

func toolFindings(tools pg.Tools, toolsErr error, source, target int) Findings {
	hint := fmt.Sprintf("install the package postgresql-client-%d (from the PGDG repository, https://www.postgresql.org/download/, if the system has only an older one), or name the folder of its programs in pg_bindir",
		source)
	switch {
	case toolsErr != nil:
		return Findings{blocker("tools", hint, "%v", toolsErr)}
	case tools.Major == 0 || tools.Dump == "" || tools.Restore == "":
		return Findings{blocker("tools", hint, "pg_dump and pg_restore were not found")}
	case tools.Major < source:
		return Findings{blocker("tools", hint, "%s is of major version %d, older than the source's %d, and refuses to dump it", tools.Dump, tools.Major, source)}
	case tools.Major > target && target >= source:
		return Findings{warning("tools", fmt.Sprintf("install postgresql-client-%d and name its folder in pg_bindir", target),
			"%s is of major version %d, newer than the target's %d: what it writes may not all be known there", tools.Dump, tools.Major, target)}
	}
	return nil
}
