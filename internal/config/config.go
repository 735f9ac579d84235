// Package config holds every setting of the planner and of the worker, and
// how it comes to its value: defaults, then the YAML file, then the
// environment (PGCONVOY_*), then the flags that were given.
//
// A new setting is one field here, with its yaml tag, its default in Default
// and its rule in validate.go; its environment variable and its override key
// follow from the field. A new kind of value gets a type with UnmarshalText
// and MarshalText in values.go.
package config

import (
	"iter"
	"time"
)

// Config is the effective configuration of one process. It is a plain value:
// copying it is safe, and nothing in it is shared or changes after Load.
type Config struct {
	// Run names the run; it is part of the stream's name and of its subjects.
	Run string `yaml:"run"`
	// Source and Target are the two databases of the run.
	Source Database `yaml:"source"`
	Target Database `yaml:"target"`
	// SourceClones are standbys of the same database that stand still where the
	// source does, and share the reading of rows with it.
	SourceClones URIs `yaml:"source_clones" split_words:"true"`
	// Databases lists the databases of the source's server that the run is of, by
	// names or regular expressions, or is the word all; empty means the one that
	// the URI names.
	Databases List `yaml:"databases"`
	// NATS says which queue to use; without a URL the planner embeds one.
	NATS NATS `yaml:"nats"`
	// Caps limits, per stage, how many tasks run at once in the whole fleet.
	Caps Stages `yaml:"caps"`
	// Slots says, per stage, how many tasks one worker process takes at once.
	Slots Stages `yaml:"slots"`
	// Limits bound what the run asks of the servers, and what it may do to them.
	Limits Limits `yaml:"limits"`
	// Split says which tables are copied in several parts.
	Split Split `yaml:"split"`
	// Bundle says which small tables travel together.
	Bundle Bundle `yaml:"bundle"`
	// Only names the sections that the run makes, see [Sections]; empty means all.
	// Without schema the tables must be in the target already.
	Only List `yaml:"only"`
	// Truncate empties the tables of the target that rows are copied into. Without
	// it they must be empty.
	Truncate bool `yaml:"truncate"`
	// Filter says what is copied of the database; without it all is.
	Filter Filter `yaml:"filter"`
	// Tables says what is copied of single tables, by their names.
	Tables Tables `yaml:"tables"`
	// NoOwner gives everything to the role that connects to the target.
	NoOwner bool `yaml:"no_owner" split_words:"true"`
	// NoACL leaves privileges and default privileges out.
	NoACL bool `yaml:"no_acl" split_words:"true"`
	// NoComments leaves comments out.
	NoComments bool `yaml:"no_comments" split_words:"true"`
	// NoTablespaces puts everything into the target database's own tablespace.
	NoTablespaces bool `yaml:"no_tablespaces" split_words:"true"`
	// OwnerMap names roles of the source that have another name on the target.
	OwnerMap Renames `yaml:"owner_map" split_words:"true"`
	// TablespaceMap names tablespaces of the source that have another name there.
	TablespaceMap Renames `yaml:"tablespace_map" split_words:"true"`
	// Roles says which roles of the source are made on the target.
	Roles RoleChoice `yaml:"roles"`
	// RolePasswords takes the passwords of those roles along.
	RolePasswords bool `yaml:"role_passwords" split_words:"true"`
	// CreateDatabase makes the target database if it does not exist.
	CreateDatabase bool `yaml:"create_database" split_words:"true"`
	// Requirements is the path of a file with versions of extensions; see
	// [ReadRequirements].
	Requirements string `yaml:"requirements"`
	// Verify is how the copy is compared with the source after it.
	Verify VerifyLevel `yaml:"verify"`
	// PGBindir is the directory of pg_dump and pg_restore; empty means that
	// they are looked for in PATH and in the usual places.
	PGBindir string `yaml:"pg_bindir" split_words:"true"`
	// KeepLedger leaves the schema pgconvoy in the target after a complete run.
	KeepLedger bool `yaml:"keep_ledger" split_words:"true"`
	// Reports is the directory that a run leaves its reports in; empty means none.
	Reports string `yaml:"reports"`
	// Workers says whether the planner's process also does tasks; see RunsWorkers.
	Workers Choice `yaml:"workers"`
	// HTTP is where a process says over HTTP how it is, and the planner how far the
	// run is.
	HTTP HTTP `yaml:"http"`
	// Webhook is told how a run has ended, and what stalls.
	Webhook Webhook `yaml:"webhook"`
	// Log shapes the log on stderr.
	Log Log `yaml:"log"`
	// ExitWhenIdle ends a worker that had nothing to do for so long; zero
	// means never. The planner ignores it.
	ExitWhenIdle time.Duration `yaml:"exit_when_idle" split_words:"true"`
	// Linger makes a worker with ExitWhenIdle stay until the run has ended,
	// however long others still have tasks in hand.
	Linger bool `yaml:"linger"`
	// Grace is how long a drain waits for running tasks before it cancels them.
	Grace time.Duration `yaml:"grace"`
}

// Database is one side of the copy. At most one of a password in the URI,
// PasswordFile and PasswordCommand is set; without any, the password comes from
// where libpq looks for it.
type Database struct {
	// URI is a connection string, either postgres://… or key=value pairs.
	URI Secret `yaml:"uri"`
	// PasswordFile is the path of a file that holds the password, and is read
	// for every connection.
	PasswordFile string `yaml:"password_file" split_words:"true"`
	// PasswordCommand is a command line for sh that prints the password, and
	// is run for every connection. It must not hold a secret itself: other
	// users of the machine can see it.
	PasswordCommand string `yaml:"password_command" split_words:"true"`
}

// HTTP is the server of a process: metrics, health and, of the planner, a page.
// Whoever can reach it may look.
type HTTP struct {
	// Listen is the host:port of the server; empty means none.
	Listen string `yaml:"listen"`
	// Token, of a planner, lets those who know it control the run; without one nobody may.
	Token Secret `yaml:"token"`
}

// Webhook is an HTTP server that the planner posts to.
type Webhook struct {
	// URL is where to post; empty means nowhere. It is a Secret because many such
	// addresses are all that it takes to post there.
	URL Secret `yaml:"url"`
}

// NATS is the connection to the queue's server. At most one way to
// authenticate is meant; the client library decides if several are set.
type NATS struct {
	// URL is nats://… or tls://…, several separated by commas. It is a
	// Secret because it may carry a password or a token.
	URL Secret `yaml:"url"`
	// Creds is the path of a .creds file (JWT and seed).
	Creds string `yaml:"creds"`
	// NKey is the path of an nkey seed file.
	NKey string `yaml:"nkey"`
	// User and Password, or Token, for servers with static accounts.
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
	Token    Secret `yaml:"token"`
	// CA, Cert and Key are paths of PEM files for TLS.
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// Replicas of the run's stream: 1, 3 or 5.
	Replicas int `yaml:"replicas"`
	// Listen is the host:port on which the embedded server also listens, so
	// that more workers or the nats CLI can join; empty means no port at all.
	Listen string `yaml:"listen"`
}

// Stages is one number per stage of the queue.
type Stages struct {
	Copy    int `yaml:"copy"`
	Index   int `yaml:"index"`
	Attach  int `yaml:"attach"`
	Analyze int `yaml:"analyze"`
	FKey    int `yaml:"fkey"`
	Blob    int `yaml:"blob"`
	Misc    int `yaml:"misc"`
}

// All yields every stage's name and number, in the order of a run.
func (s Stages) All() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for _, e := range []struct {
			stage string
			n     int
		}{
			{"copy", s.Copy},
			{"index", s.Index},
			{"attach", s.Attach},
			{"analyze", s.Analyze},
			{"fkey", s.FKey},
			{"blob", s.Blob},
			{"misc", s.Misc},
		} {
			if !yield(e.stage, e.n) {
				return
			}
		}
	}
}

// Of returns the number of the named stage, zero for a name that is no stage.
func (s Stages) Of(stage string) int {
	for name, n := range s.All() {
		if name == stage {
			return n
		}
	}
	return 0
}

// Total returns the sum over all stages.
func (s Stages) Total() int {
	total := 0
	for _, n := range s.All() {
		total += n
	}
	return total
}

// Split says when one table becomes several copy tasks.
type Split struct {
	// LargerThan is the size, TOAST included, from which a table is split;
	// it is also the aimed size of one part.
	LargerThan Bytes `yaml:"larger_than" split_words:"true"`
	// MaxParts bounds the parts of one table; 1 means that no table is split.
	MaxParts int `yaml:"max_parts" split_words:"true"`
}

// Bundle says when small tables share one task.
type Bundle struct {
	// MaxTable is the size below which a table may travel in a bundle; 0
	// means no bundles.
	MaxTable Bytes `yaml:"max_table" split_words:"true"`
	// MaxBytes is the size at which a bundle is full.
	MaxBytes Bytes `yaml:"max_bytes" split_words:"true"`
	// MaxTables is the number of tables at which a bundle is full.
	MaxTables int `yaml:"max_tables" split_words:"true"`
}

// Filter chooses what is copied. Names are written as in SQL, or as regular
// expressions between slashes; every rule narrows the choice.
type Filter struct {
	Include Include `yaml:"include"`
	Exclude Exclude `yaml:"exclude"`
	// File is the path of a filter file of pgcopydb, whose rules are added.
	File string `yaml:"file"`
}

// Include lists what alone is copied; an empty list means all.
type Include struct {
	Schemas    List `yaml:"schemas"`
	Tables     List `yaml:"tables"`
	Extensions List `yaml:"extensions"`
}

// Exclude lists what is not copied.
type Exclude struct {
	Schemas List `yaml:"schemas"`
	Tables  List `yaml:"tables"`
	// TableData lists tables that are made, but not their rows.
	TableData  List `yaml:"table_data" split_words:"true"`
	Indexes    List `yaml:"indexes"`
	Extensions List `yaml:"extensions"`
}

// Log shapes the log.
type Log struct {
	// Level is the least level that is logged: debug, info, warn or error.
	Level LogLevel `yaml:"level"`
	// Format is text, json, or auto: text on a terminal, JSON otherwise.
	Format LogFormat `yaml:"format"`
}

// Default returns the configuration of a process that was told nothing. It is
// not valid yet: the two databases have no default.
func Default() Config {
	perStage := Stages{Copy: 4, Index: 4, Attach: 2, Analyze: 2, FKey: 2, Blob: 1, Misc: 2}
	return Config{
		Run:     "main",
		NATS:    NATS{Replicas: 1},
		Caps:    perStage,
		Slots:   perStage,
		Split:   Split{LargerThan: GB, MaxParts: 64},
		Bundle:  Bundle{MaxTable: 8 * MB, MaxBytes: 32 * MB, MaxTables: 100},
		Roles:   RolesReferenced,
		Verify:  VerifyRows,
		Reports: ".",
		Workers: Auto,
		Log:     Log{Level: LevelInfo, Format: FormatAuto},
		Grace:   30 * time.Second,
	}
}

// AllDatabases is the word for every database in Config.Databases. A database of
// this name is written in double quotes, as in SQL.
const AllDatabases = "all"

// Several reports whether the run may be of several databases, each of which has
// the same name on both sides. Those that the URIs name are where the planner looks
// for them then.
func (c Config) Several() bool { return len(c.Databases) > 0 }

// Embedded reports whether the planner brings its own queue: no server is named.
func (c Config) Embedded() bool { return c.NATS.URL == "" }

// RunsWorkers reports whether the planner's process does tasks itself. Unless
// it is set, it does so exactly when the queue is embedded.
func (c Config) RunsWorkers() bool {
	switch c.Workers {
	case Yes:
		return true
	case No:
		return false
	default:
		return c.Embedded()
	}
}
