package tasks_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

func TestRoomForWorkers(t *testing.T) {
	t.Parallel()
	side := func(needed int, limits ...tasks.SessionLimit) tasks.Sessions {
		for i := range limits {
			if limits[i].Needed == 0 {
				limits[i].Needed = needed
			}
		}
		return tasks.Sessions{Planner: 2, Tasks: needed - 2, Process: 10, Limits: limits}
	}
	for name, c := range map[string]struct {
		sides []tasks.Sessions
		want  int
	}{
		"nobody has counted": {nil, 0},
		"one limit":          {[]tasks.Sessions{side(9, tasks.SessionLimit{Max: 100, Reserved: 3, Used: 5})}, 9},
		"the lowest of all": {[]tasks.Sessions{
			side(9, tasks.SessionLimit{Max: 100}), side(19, tasks.SessionLimit{Max: 100}, tasks.SessionLimit{Max: 40, Used: 7})}, 3},
		"one server": {[]tasks.Sessions{
			side(9, tasks.SessionLimit{Max: 100, Needed: 28}), side(19, tasks.SessionLimit{Max: 100, Needed: 28})}, 4},
		"less than nothing": {[]tasks.Sessions{side(9, tasks.SessionLimit{Max: 5, Used: 9})}, 0},
	} {
		require.Equal(t, c.want, tasks.Outlook{Sessions: c.sides}.Room(), name)
	}
}
