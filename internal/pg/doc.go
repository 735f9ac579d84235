// Package pg knows Postgres and nothing of pgconvoy's runs: connecting with
// the right session settings, reading the catalog, exporting a snapshot,
// relaying COPY data between two connections, running pg_dump and pg_restore,
// and telling errors apart. A fact about Postgres belongs here; what a run
// makes of it belongs in the packages that import this one.
package pg
