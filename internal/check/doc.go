// Package check is the preflight of a run: it looks at both databases and
// reports every blocker at once, each with its fix, before anything is
// touched. It only reads, in READ ONLY transactions, and needs no superuser.
//
// Each file holds one check, or a small family of them, with its SQL and its
// test beside it. A new check is a function of type checkFunc, listed in
// checks (check.go) with the sections of a copy that it is about. Its queries
// are set-based, so that their number does not grow with the number of objects,
// and what they return is bounded: the first few objects and a count (see list).
// Objects that a person can own or grant are listed in one place, objects.go.
package check
