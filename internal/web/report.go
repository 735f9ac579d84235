package web

import (
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
	"github.com/pgconvoy/pgconvoy/internal/ui"
)

// card is one figure at the head of a page.
type card struct{ Name, Value, Mood string }

// Report writes the page of a run that has ended, however it has.
func Report(w io.Writer, r tasks.Report) error {
	css, err := style()
	if err != nil {
		return err
	}
	js, err := script("report.js")
	if err != nil {
		return err
	}
	source, err := asset("report.html")
	if err != nil {
		return err
	}
	page, err := template.New("report").Funcs(template.FuncMap{"duration": ui.Duration, "time": moment}).Parse(source)
	if err != nil {
		return fmt.Errorf("parse the page of a report: %w", err)
	}
	err = page.Execute(w, struct {
		Report tasks.Report
		Began  string
		Mood   string
		Cards  []card
		CSS    template.CSS
		JS     template.JS
		Data   any
	}{
		Report: r, Began: moment(r.Started), Mood: mood(r), Cards: cards(r), CSS: css, JS: js,
		Data: struct {
			Tables   []tasks.TableReport `json:"tables"`
			Timeline timeline            `json:"timeline"`
		}{append([]tasks.TableReport{}, r.Tables...), timelineOf(r.Timeline)},
	})
	if err != nil {
		return fmt.Errorf("write the page of a report: %w", err)
	}
	return nil
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// The words that page.css colours.
const (
	good = "good"
	bad  = "bad"
)

func mood(r tasks.Report) string {
	switch {
	case r.State == tasks.RunComplete && r.Inconsistent == "":
		return good
	case r.State == tasks.RunFailed || r.Inconsistent != "":
		return bad
	}
	return ""
}

func cards(r tasks.Report) []card {
	verified := card{"compared", "not compared", ""}
	if r.Verified != "" {
		verified.Value, verified.Mood = r.Verified+": equal", good
	}
	list := []card{
		{"rows", ui.Count(r.Rows), ""}, {"COPY data", ui.Bytes(r.Bytes), ""}, {"tables", ui.Count(int64(len(r.Tables))), ""},
		{"took", ui.Duration(r.Elapsed.Round(time.Second / 100)), ""}, verified,
	}
	if n := len(r.Failures); n > 0 {
		list = append(list, card{"failed", ui.Count(int64(n)), bad})
	}
	if r.Pending > 0 {
		list = append(list, card{"not done", ui.Count(int64(r.Pending)), bad})
	}
	return list
}
