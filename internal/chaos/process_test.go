package chaos_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// process is a planner or a worker. All methods may be called concurrently.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	out   bytes.Buffer // read after ended is closed
	log   string       // file
	ended chan struct{}

	mu     sync.Mutex
	killed bool // by the test
}

// spawn starts the test binary as the child; its log goes to a file in dir.
func spawn(dir, name string, c child) (*process, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(text), "TMPDIR="+dir)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.ended)
	}()
	return p, nil
}

// kill ends the process as kill -9 does, and waits for that.
func (p *process) kill() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// signal sends a signal; a process that has ended does not mind.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// end tells how an ended process ended: by our kill, by its own crash, or with
// an exit status.
func (p *process) end() (killed bool, status int) {
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return p.killed || s.Signal() == syscall.SIGKILL, -1
	}
	return false, p.cmd.ProcessState.ExitCode()
}

// outcome returns what an ended planner said.
func (p *process) outcome() (o outcome, err error) {
	<-p.ended
	if err := json.Unmarshal(p.out.Bytes(), &o); err != nil {
		return o, fmt.Errorf("%s ended without a word: %v", p.name, p.cmd.ProcessState)
	}
	return o, nil
}

// dump makes the process write what its goroutines do, and end.
func (p *process) dump() {
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGQUIT)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		p.kill()
	}
}
