package pgtest

import (
	"os/exec"
	"runtime"
)

// spawner starts server processes from one OS thread that lives as long as it
// does. The kernel sends a child its parent-death signal when the *thread* that
// forked it ends, so the fork must not happen on a thread that Go may retire.
type spawner struct {
	requests chan spawnRequest
	done     chan struct{}
}

type spawnRequest struct {
	cmd   *exec.Cmd
	reply chan error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan spawnRequest), done: make(chan struct{})}
	go s.loop()
	return s
}

// loop never unlocks its thread: the thread ends with the goroutine, and with it
// whatever server is still running.
func (s *spawner) loop() {
	runtime.LockOSThread()
	defer close(s.done)
	for r := range s.requests {
		r.reply <- r.cmd.Start()
	}
}

// start runs cmd.Start on the spawner's thread.
func (s *spawner) start(cmd *exec.Cmd) error {
	reply := make(chan error, 1)
	s.requests <- spawnRequest{cmd, reply}
	return <-reply
}

// close ends the thread. Nothing may be started afterwards.
func (s *spawner) close() {
	close(s.requests)
	<-s.done
}
