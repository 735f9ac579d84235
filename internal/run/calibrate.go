package run

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgconvoy/pgconvoy/internal/config"
	"github.com/pgconvoy/pgconvoy/internal/fleet"
	"github.com/pgconvoy/pgconvoy/internal/pg"
	"github.com/pgconvoy/pgconvoy/internal/plan"
	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// Estimate says how long a run of the plan would take: from assumptions, or from a
// short copy.
func (p *Prepared) Estimate(ctx context.Context, calibrate bool) error {
	rates := plan.AssumedRates(string(p.Config.Verify))
	if calibrate {
		var err error
		if rates, err = p.calibrate(ctx); err != nil {
			return fmt.Errorf("calibrate: %w", err)
		}
	}
	set := p.Config.Caps
	if p.Config.RunsWorkers() && p.Config.Embedded() {
		set = atOnce(p.Config)
	}
	crews := []plan.Crew{{Caps: fleet.StageNumbers(set)}}
	for _, n := range []int{1, 4, 16} {
		crew := plan.Crew{Workers: n, Caps: map[tasks.Stage]int{}}
		for _, stage := range tasks.Stages() {
			crew.Caps[stage] = n
		}
		crews = append(crews, crew)
	}
	p.Outlook.Estimate = plan.Estimate(p.Plan, rates, crews).After(p.took)
	return nil
}

// How a calibration measures. Samples grow until one takes long enough to say
// something.
const (
	sampleTables  = 3       // the largest ones
	sampleLeast   = 4 << 20 // bytes of the first sample, and of a table that is worth it
	sampleGrowth  = 4       // from one sample to the next
	sampleEnough  = 700 * time.Millisecond
	sampleStreams = 4 // at once, in the end
	sampleWithin  = time.Minute
)

// errNothingToSample says that a source is so small that its copy takes about as
// long as a calibration.
var errNothingToSample = errors.New("no table is large enough to copy some of it")

// calibrate returns measured rates: it copies parts of the largest tables into
// tables of its own, alone and several at once, and builds an index. All of that is
// in transactions on the target that are rolled back, so nothing is left of it,
// whatever happens.
func (p *Prepared) calibrate(ctx context.Context) (tasks.Rates, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, sampleWithin, fmt.Errorf("it took more than %s", sampleWithin))
	defer cancel()
	rates := plan.AssumedRates(string(p.Config.Verify))
	began := time.Now()
	c := &calibration{Options: p.Options}
	defer c.close()
	tables, err := c.tables(ctx, p.Plan.Tables)
	if errors.Is(err, errNothingToSample) {
		p.Log.Warn("nothing was measured", "err", err)
		return rates, nil
	}
	if err != nil {
		return rates, err
	}
	samples := make([]sample, len(tables))
	var planned, took float64 // bytes of these tables, and the seconds that they would take
	for i, t := range tables {
		if samples[i], err = c.grow(ctx, t); err != nil {
			return rates, fmt.Errorf("copy some of %s: %w", t.planned.Name, err)
		}
		planned += float64(t.planned.Bytes)
		took += float64(t.planned.Bytes) / samples[i].rate()
	}
	carried, streams, err := c.together(ctx, tables[0], samples[0])
	if err != nil {
		return rates, fmt.Errorf("copy some of %s in %d streams: %w", tables[0].planned.Name, streams, err)
	}
	rates.Measured = true
	rates.Copy = tasks.Rate{Slow: planned / took / 1.5, Fast: planned / took * 1.2}
	if p.Config.Verify == config.VerifyDigest {
		rates.Scan = rates.Copy
	}
	if c.index > 0 {
		rates.Index = tasks.Rate{Slow: c.index / 2, Fast: c.index * 1.2} // a larger sort has more to merge
	}
	rates.Carried = tasks.Rate{Slow: carried, Fast: max(carried*1.25, 1)}
	if carried > 0.8*float64(streams) { // nobody knows where that ends
		rates.Carried.Fast = max(rates.Carried.Fast, plan.AssumedRates("").Carried.Fast)
	}
	p.Log.Info("calibrated", "bytes", c.written, "duration", time.Since(began))
	return rates, nil
}

// calibration is the copy of samples.
type calibration struct {
	Options
	streams []stream
	taken   int64   // samples so far
	written int64   // bytes on the target, in all
	index   float64 // bytes per second of the largest index that was built, as index tasks are weighed; 0 if there was none
	indexed int64   // bytes of the table of that index
}

// stream is a pair of sessions of a calibration.
type stream struct{ source, target *pg.Conn }

// sampled is a table that samples are taken of.
type sampled struct {
	planned tasks.PlannedTable
	pg.Sample
}

// sample is one that was taken.
type sample struct {
	share int64 // of the table's bytes on the source that was asked for
	bytes int64 // of the table on the target
	took  time.Duration
}

func (s sample) rate() float64 { return float64(s.bytes) / s.took.Seconds() }

func (c *calibration) close() {
	for _, s := range c.streams {
		s.source.Discard()
		s.target.Discard() // which rolls back what is open
	}
}

// open makes sure that there are so many streams.
func (c *calibration) open(ctx context.Context, n int) error {
	for len(c.streams) < n {
		source, err := connectSide(ctx, c.Options, pg.Source)
		if err != nil {
			return err
		}
		target, err := connectSide(ctx, c.Options, pg.Target)
		if err != nil {
			source.Discard()
			return err
		}
		c.streams = append(c.streams, stream{source, target})
	}
	return nil
}

// tables returns those to take samples of, the largest one first.
func (c *calibration) tables(ctx context.Context, planned []tasks.PlannedTable) ([]sampled, error) {
	if err := c.open(ctx, 1); err != nil {
		return nil, err
	}
	var tables []sampled
	for _, t := range planned[:min(len(planned), sampleTables)] {
		if t.Bytes < sampleLeast || t.Bytes < planned[0].Bytes/10 {
			break
		}
		like, err := pg.ReadSample(ctx, c.streams[0].source, t.Name.String())
		if err != nil {
			return nil, err
		}
		if like.Blocks > 0 && len(like.Columns) > 0 {
			tables = append(tables, sampled{t, like})
		}
	}
	if len(tables) == 0 {
		return nil, errNothingToSample
	}
	return tables, nil
}

// grow takes larger and larger samples of the table until one says something.
func (c *calibration) grow(ctx context.Context, t sampled) (sample, error) {
	for share := int64(sampleLeast); ; share *= sampleGrowth {
		c.taken++
		got, err := c.take(ctx, c.streams[0], t, share, c.taken, true)
		if err != nil {
			return got, err
		}
		c.written += got.bytes
		if got.took >= sampleEnough || share >= t.planned.Bytes {
			return got, nil
		}
	}
}

// together takes several samples of the table at once, and returns how many times
// as fast as one alone that was.
func (c *calibration) together(ctx context.Context, t sampled, alone sample) (times float64, streams int, err error) {
	if streams = min(sampleStreams, c.Config.Caps.Copy); streams < 2 {
		return 1, streams, nil
	}
	if err := c.open(ctx, streams); err != nil {
		return 0, streams, err
	}
	samples := make([]sample, streams)
	group, copying := errgroup.WithContext(ctx)
	for i, s := range c.streams {
		nth := c.taken + int64(i) + 1
		group.Go(func() (err error) {
			samples[i], err = c.take(copying, s, t, alone.share, nth, false)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, streams, err
	}
	all := sample{}
	for _, s := range samples {
		all.bytes += s.bytes
		all.took = max(all.took, s.took)
	}
	c.written += all.bytes
	return max(all.rate()/alone.rate(), 1), streams, nil
}

// take copies a share of the table, given in bytes, into a table of its own on the
// target, and rolls that back. Every n-th one is of another place in the table, so
// that none finds its rows in the source's cache because an earlier one was there.
func (c *calibration) take(ctx context.Context, s stream, t sampled, share, nth int64, build bool) (got sample, err error) {
	own := tasks.Name{Schema: "pgconvoy_calibration_" + strconv.Itoa(s.target.Backend().PID), Name: "sample"}
	columns, names := make([]string, len(t.Columns)), make([]string, len(t.Columns))
	for i, column := range t.Columns {
		names[i] = column.Name
		columns[i] = tasks.QuoteIdent(column.Name) + " " + column.Type
	}
	_, err = s.target.Exec(ctx, fmt.Sprintf("BEGIN; CREATE SCHEMA %s; CREATE TABLE %s (%s)", tasks.QuoteIdent(own.Schema), own, strings.Join(columns, ", ")))
	if err != nil {
		return got, err
	}
	spec := tasks.Copy{Table: tasks.Table{Name: t.planned.Name, Columns: names}, Into: &own, Freeze: true, Binary: t.planned.Binary}
	began := time.Now()
	if _, err := pg.Relay(ctx, s.source, s.target, t.some(spec, share, nth), spec.TargetSQL()); err != nil {
		return got, err
	}
	got = sample{share: share, took: time.Since(began)}
	if err := s.target.QueryRow(ctx, "SELECT pg_catalog.pg_table_size($1::text::regclass)", own.String()).Scan(&got.bytes); err != nil {
		return got, err
	}
	if build && len(t.Index) > 0 && got.bytes >= c.indexed {
		if err := c.build(ctx, s.target, own, t.Index, got.bytes); err != nil {
			return got, err
		}
	}
	_, err = s.target.Exec(ctx, "ROLLBACK")
	return got, err
}

// some returns the COPY that reads a share of the table's rows.
func (t sampled) some(spec tasks.Copy, share, nth int64) string {
	part := min(float64(share)/float64(t.planned.Bytes), 1)
	format := ""
	if spec.Binary {
		format = " WITH (FORMAT binary)"
	}
	blocks := max(int64(part*float64(t.Blocks)), 1)
	if t.Ranges {
		from := max(t.Blocks-blocks, 0) * (nth * 5 % 13) / 13 // never near the one before
		first, last := strconv.FormatInt(from, 10), strconv.FormatInt(from+blocks, 10)
		spec.Part = tasks.Part{Index: 1, From: &first, To: &last}
		return fmt.Sprintf("COPY (%s) TO STDOUT%s", spec.SelectSQL(tasks.QuoteIdents(spec.Table.Columns)), format)
	}
	const perBlock = 50 // rows, where nobody knows
	rows := blocks * perBlock
	if t.planned.Rows > 0 {
		rows = max(int64(part*float64(t.planned.Rows)), 1)
	}
	return fmt.Sprintf("COPY (%s LIMIT %d) TO STDOUT%s", spec.SelectSQL(tasks.QuoteIdents(spec.Table.Columns)), rows, format)
}

// build measures how fast an index of the sample is built.
func (c *calibration) build(ctx context.Context, target *pg.Conn, table tasks.Name, columns []string, bytes int64) error {
	began := time.Now()
	if _, err := target.Exec(ctx, fmt.Sprintf("CREATE INDEX ON %s (%s)", table, tasks.QuoteIdents(columns))); err != nil {
		return fmt.Errorf("build an index: %w", err)
	}
	took := time.Since(began)
	var size int64
	if err := target.QueryRow(ctx, "SELECT pg_catalog.pg_indexes_size($1::text::regclass)", table.String()).Scan(&size); err != nil {
		return err
	}
	c.index, c.indexed = float64(max(size, bytes/10))/took.Seconds(), bytes
	return nil
}
