// Package chaos holds nothing but tests: runs of real processes on real servers
// that are broken at random, and have to end with an equal copy all the same.
//
// A seed decides what is broken, how and when. Seeds 1 to 4 touch every kind of
// fault between them, and run with all tests; make chaos SEEDS=500 runs more. A
// failure names its seed.
//
// Where a new line goes: a kind of fault in faults_test.go, a step that a worker
// dies at in crash_test.go, what the processes do in child_test.go and how they
// are run in process_test.go, the source's objects in shop_test.go, what has to
// hold after a run in verdict_test.go, a run that is not random in
// scripted_test.go.
package chaos
