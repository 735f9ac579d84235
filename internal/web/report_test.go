package web

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// nasty is text that would end a script, an element or an attribute.
const nasty = `</script><b onmouseover='x'>"&\`

func TestReportPage(t *testing.T) {
	t.Parallel()
	r := tasks.Report{
		Run: "r", RunUID: "uid", State: tasks.RunFailed, Version: "1.0", Rows: 12345, Bytes: 2 << 20, Elapsed: 90 * time.Second,
		Tables:   []tasks.TableReport{{Name: tasks.Name{Schema: "public", Name: nasty}, Rows: 1}},
		Failures: []tasks.Failure{{Task: "copy.public.a.all", Attempts: 3, Reason: nasty}},
		Skipped:  []tasks.Skipped{{Object: nasty, Reason: "so"}},
		Timeline: []tasks.Span{{Task: "copy.public.a.p1", Kind: tasks.KindCopy, Worker: nasty, Took: time.Second}},
		Pending:  7,
	}
	var page strings.Builder
	require.NoError(t, Report(&page, r))
	text := page.String()
	require.Equal(t, 2, strings.Count(text, "</script>"), "of the two that are ours")
	require.NotContains(t, text, "<b onmouseover")
	require.NotRegexp(t, `(?:src|href)=`, text, "nothing from elsewhere")
	require.Contains(t, text, `<dd class="bad">7</dd>`)
	require.Contains(t, text, "12 345")

	data := regexp.MustCompile(`(?s)<script id="data" type="application/json">(.*?)</script>`).FindStringSubmatch(text)
	require.NotNil(t, data)
	var got struct {
		Tables   []tasks.TableReport
		Timeline timeline
	}
	require.NoError(t, json.Unmarshal([]byte(data[1]), &got))
	require.Equal(t, nasty, got.Tables[0].Name.Name)
	require.Equal(t, timeline{
		Lanes: []string{nasty}, End: int64(time.Second),
		Spans: []span{{Task: "copy.public.a.p1", Stage: tasks.StageCopy, Took: int64(time.Second)}},
	}, got.Timeline)
}

// TestLanes gives tasks that run at once a lane each, and those after them the
// first one that is free.
func TestLanes(t *testing.T) {
	t.Parallel()
	at := func(task tasks.ID, worker string, start, took time.Duration) tasks.Span {
		return tasks.Span{Task: task, Kind: tasks.KindIndex, Worker: worker, Start: start, Took: took}
	}
	got := timelineOf([]tasks.Span{at("e", "w2", 1, 9), at("a", "w1", 0, 10), at("b", "w1", 2, 3), at("c", "w1", 5, 1), at("d", "w1", 7, 20)})
	require.Equal(t, []string{"w1", "w1", "w2"}, got.Lanes)
	lanes := map[tasks.ID]int{}
	for _, s := range got.Spans {
		lanes[s.Task] = s.Lane
	}
	require.Equal(t, map[tasks.ID]int{"a": 0, "b": 1, "c": 1, "d": 1, "e": 2}, lanes)
	require.EqualValues(t, 27, got.End)
	require.Equal(t, timeline{Lanes: []string{}, Spans: []span{}}, timelineOf(nil))
}
