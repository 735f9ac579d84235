package bench_test

import (
	"fmt"
	"time"
)

// dataSet is a database to be copied.
type dataSet struct {
	name  string
	fill  func(percent int) []string // statements that make it, at a size in percent
	delay time.Duration              // that a message takes to either server, and back again
	files bool                       // a copy is many small files
}

// dataSets are those of docs/benchmarks.md. At 100 % a set has the size that its
// comment says; far is many, with a round trip of 20 ms to either server.
var dataSets = []dataSet{
	{name: "skew", fill: skew},
	{name: "many", fill: many, files: true},
	{name: "wide", fill: wide},
	{name: "tiny", fill: tiny},
	{name: "far", fill: many, files: true, delay: 10 * time.Millisecond},
}

// skew is one table of 1.3 GB with three indexes, and 20 small ones.
func skew(percent int) []string {
	statements := []string{
		`CREATE TABLE events (id int8 NOT NULL, customer int NOT NULL, at timestamptz NOT NULL, amount numeric(12,2), kind text, note text)`,
		fmt.Sprintf(`INSERT INTO events SELECT n, (n::int8 * 7919) %% 100003, '2020-01-01'::timestamptz + n * interval '1 second', n %% 100000 / 7.0,
			(ARRAY['view', 'click', 'order', 'refund'])[1 + n %% 4], md5(n::text) || ' ' || md5((n / 2)::text) FROM generate_series(1, %d) n`, 75_000*percent),
		`ALTER TABLE events ADD PRIMARY KEY (id)`,
		`CREATE INDEX events_customer ON events (customer, at)`,
		`CREATE INDEX events_at ON events (at)`,
	}
	for i := range 20 {
		statements = append(statements, fmt.Sprintf(`CREATE TABLE small_%d (id int PRIMARY KEY, name text);
			INSERT INTO small_%[1]d SELECT n, 'name ' || n FROM generate_series(1, 1000) n`, i))
	}
	return statements
}

// many is 2,000 small tables with 4,000 indexes and 200 foreign keys.
func many(percent int) []string {
	var statements []string
	for i := range max(20*percent, 10) {
		reference := ""
		if i > 0 && i%10 == 0 {
			reference = fmt.Sprintf("; ALTER TABLE t%d ADD FOREIGN KEY (parent) REFERENCES t%d (id)", i, i-1)
		}
		statements = append(statements, fmt.Sprintf(`CREATE TABLE t%d (id serial PRIMARY KEY, parent int, name text NOT NULL, at timestamptz DEFAULT now());
			INSERT INTO t%[1]d (parent, name) SELECT 1 + n %% 50, 'name ' || n FROM generate_series(1, 50) n;
			CREATE INDEX ON t%[1]d (name)%[2]s`, i, reference))
	}
	return statements
}

// wide is 2 GB in several large tables, with values out of line and foreign keys.
func wide(percent int) []string {
	return []string{
		`CREATE TABLE branches (id int PRIMARY KEY, balance int, filler char(88))`,
		`INSERT INTO branches SELECT n, 0, '' FROM generate_series(1, 100) n`,
		`CREATE TABLE accounts (id int NOT NULL, branch int NOT NULL, balance int, filler char(84))`,
		fmt.Sprintf(`INSERT INTO accounts SELECT n, 1 + n %% 100, 0, '' FROM generate_series(1, %d) n`, 50_000*percent),
		`ALTER TABLE accounts ADD PRIMARY KEY (id)`,
		`ALTER TABLE accounts ADD FOREIGN KEY (branch) REFERENCES branches (id)`,
		`CREATE TABLE tracking (id int8 NOT NULL, account int NOT NULL, at timestamptz NOT NULL, lat float8, lon float8, state text)`,
		fmt.Sprintf(`INSERT INTO tracking SELECT n, 1 + n %% %d, '2024-01-01'::timestamptz + n * interval '3 seconds', sin(n) * 90, cos(n) * 180, 'state ' || n %% 12
			FROM generate_series(1, %d) n`, 50_000*percent, 60_000*percent),
		`ALTER TABLE tracking ADD PRIMARY KEY (id)`,
		`CREATE INDEX ON tracking (account)`,
		`ALTER TABLE tracking ADD FOREIGN KEY (account) REFERENCES accounts (id)`,
		`CREATE TABLE documents (id int NOT NULL, account int NOT NULL, body text, raw bytea)`,
		`ALTER TABLE documents ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL`,
		fmt.Sprintf(`INSERT INTO documents SELECT n, n, repeat(md5(n::text), 250), decode(repeat(md5((n + 1)::text), 100), 'hex') FROM generate_series(1, %d) n`, 400*percent),
		`ALTER TABLE documents ADD PRIMARY KEY (id)`,
		`ALTER TABLE documents ADD FOREIGN KEY (account) REFERENCES accounts (id)`,
	}
}

// tiny is three tables of a few rows: what a copy costs that copies nothing.
func tiny(int) []string {
	return []string{
		`CREATE TABLE a (id serial PRIMARY KEY, name text); INSERT INTO a (name) VALUES ('one'), ('two')`,
		`CREATE TABLE b (id serial PRIMARY KEY, a int REFERENCES a (id)); INSERT INTO b (a) VALUES (1), (2)`,
		`CREATE TABLE c (id int PRIMARY KEY, note text)`,
	}
}
