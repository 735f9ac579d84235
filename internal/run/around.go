package run

import (
	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// around turns settings into what is copied of the things around tables.
func around(c config.Config) tasks.Around {
	return tasks.Around{
		NoOwner: c.NoOwner, NoACL: c.NoACL, NoComments: c.NoComments, NoTablespaces: c.NoTablespaces,
		Owners: c.OwnerMap, Tablespaces: c.TablespaceMap,
	}
}
