package tasks

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ID names a task within its run: its stage and the tokens of what it works
// on, joined with dots, for example "copy.public.orders.p0003". It is the tail
// of the task's queue subject, so it holds only subject-safe characters.
//
// IDs of tasks on one table have at least four tokens (stage, schema, table,
// item); IDs of tasks that pgconvoy itself makes up, as bundles, have three.
// So a schema named "bundle" cannot collide with a bundle.
type ID string

// NewID builds the ID of a task of the kind from unescaped path elements.
func NewID(k Kind, path ...string) ID {
	tokens := make([]string, 0, len(path)+1)
	tokens = append(tokens, string(k.Stage()))
	for _, p := range path {
		tokens = append(tokens, Token(p))
	}
	return ID(strings.Join(tokens, "."))
}

// Stage returns the stage that the ID starts with; it may be invalid if the ID
// came from outside.
func (id ID) Stage() Stage {
	s, _, _ := strings.Cut(string(id), ".")
	return Stage(s)
}

// Group names a set of tasks that others wait for together, such as all parts
// of one table. Groups keep fan-in linear: 1,000 parts and 10 indexes are 10
// needs, not 10,000.
type Group string

// PieceGroup names the group of the task for one table that a bundle may be
// split into. Whatever needs the table needs this group beside the bundle's: it
// is empty, and holds nobody up, unless the bundle is split.
func PieceGroup(table uint32) Group { return Group(fmt.Sprintf("%s%d", piecePrefix, table)) }

const piecePrefix = "piece:"

// IsPiece reports whether the group is one of [PieceGroup].
func (g Group) IsPiece() bool { return strings.HasPrefix(string(g), piecePrefix) }

// The groups that every task of a span of the run belongs to, beside its own.
// They are barriers of the whole run.
const (
	WaveSchema Group = "wave:schema" // pre-data of the archive
	WaveData   Group = "wave:data"   // rows, indexes, constraints, statistics, foreign keys
	WaveLate   Group = "wave:late"   // what is left of the archive, sequences, refreshes
	WaveVerify Group = "wave:verify" // the checks of the finished copy
)

// Task is a unit of work that one worker leases. Tasks are made by the plan
// and never change, but for a bundle that is split.
type Task struct {
	ID     ID
	Kind   Kind
	Group  Group           // what others wait for, "" if nobody does
	Wave   Group           // one of the Wave constants
	Needs  []Group         // groups and waves whose tasks must all be done before this one is ready
	Weight int64           // estimated cost in bytes; larger ones are dispatched first
	Spec   json.RawMessage // the spec of the kind
	Again  bool            // it was done before: what it made but the rows is still there
}

// New makes a task of the kind with the spec encoded.
func New(k Kind, id ID, spec any) (Task, error) {
	raw, err := json.Marshal(spec)
	if err != nil {
		return Task{}, fmt.Errorf("encode spec of %s: %w", id, err)
	}
	return Task{ID: id, Kind: k, Spec: raw}, nil
}

// Decode decodes the task's spec into the type that its kind has.
func Decode[T any](t Task) (T, error) {
	var spec T
	if err := json.Unmarshal(t.Spec, &spec); err != nil {
		return spec, fmt.Errorf("decode spec of %s: %w", t.ID, err)
	}
	return spec, nil
}

// Result is what a finished task reports to the ledger.
type Result struct {
	Rows     int64        // rows copied, or compared
	Bytes    int64        // bytes of COPY data relayed, headers left out
	Snapshot int          // number of the snapshot that rows were read in, 0 if none was
	Tables   []TableCount // what was copied of each table
	Notes    []string     // what a person should know although the task is done
	Added    []Task       // tasks that this one was split into, with their groups

	Side        string       // of Measured: source or target
	Measured    []TableCount // what each table, or the part of one, holds there
	Differences []Difference // that a comparison has found
}

// TableCount is what one task copied of one table, or found in it.
type TableCount struct {
	Name   Name
	Rows   int64
	Bytes  int64
	Digest *Digest // of these rows, nil if none was made
}

// Add returns the count of both. It has a digest only if both have.
func (c TableCount) Add(other TableCount) TableCount {
	c.Rows += other.Rows
	c.Bytes += other.Bytes
	if c.Digest == nil || other.Digest == nil {
		c.Digest = nil
		return c
	}
	sum := c.Digest.Add(*other.Digest)
	c.Digest = &sum
	return c
}
