// Package differ holds nothing but tests: databases drawn at random are copied
// twice, by pg_dump | pg_restore and by us, and both copies have to be equal.
//
// A seed decides what a database holds and how we copy it. A few seeds run with
// all tests; make differ SEEDS=300 runs more, FROM=14 TO=18 between other majors.
// A failure names its seed and shows what differs.
//
// Where a new line goes: what is drawn in the file of its family (types_test.go,
// values_test.go, tables_test.go, partitions_test.go, …), in what order the
// families come in world_test.go, odd names in names_test.go, what is known and
// right to differ in known_test.go, how the copies are made in copy_test.go.
package differ
