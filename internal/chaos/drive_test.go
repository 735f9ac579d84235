package chaos_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

// maxPlanners bounds how many planners one run may need: more than a person
// would start.
const maxPlanners = 40

// drive starts planners until one says that the run is complete, as a person
// would: run at first, resume once there is a ledger, with recopy when the
// snapshot is lost.
func (s *scene) drive(pause time.Duration) error {
	for life := 1; life <= maxPlanners; life++ {
		if !s.awaitRelease() {
			return errors.New("the scene is closed")
		}
		c := s.child
		verb, err := s.nextVerb(life)
		if err != nil {
			return err
		}
		if verb == "" {
			s.say("the planner was killed after the end of the run")
			return nil
		}
		c.Verb = verb
		c.How.Recopy = s.lost
		p := s.start(fmt.Sprintf("planner-%d", life), c)
		if p == nil {
			return errors.New("no planner can be started")
		}
		s.mu.Lock()
		s.planner = p
		s.mu.Unlock()
		s.say("%s: %s", p.name, verb)
		if killed, _ := p.end(); killed {
			s.say("%s was killed", p.name)
		} else if done, err := s.heed(p); done || err != nil {
			return err
		}
		s.wait(pause)
	}
	return fmt.Errorf("%d planners did not complete the run", maxPlanners)
}

// nextVerb returns what to do with the run, "" if it is over.
func (s *scene) nextVerb(life int) (string, error) {
	deadline := time.Now().Add(time.Minute)
	for {
		planned, err := s.planned()
		switch {
		case err == nil && planned:
			return "resume", nil
		case err == nil && life == 1:
			return "run", nil
		case err == nil:
			copied, err := ask[bool](s.dst, "SELECT to_regclass('shop.big') IS NOT NULL")
			if err != nil {
				return "", err
			}
			if copied {
				return "", nil
			}
			return "run", nil
		case time.Now().After(deadline):
			return "", err
		}
		s.wait(100 * time.Millisecond)
	}
}

// heed decides by what a planner said whether the run is over.
func (s *scene) heed(p *process) (done bool, err error) {
	o, err := p.outcome()
	switch {
	case err != nil:
		return false, err
	case o.Error == "":
		if o.State != tasks.RunComplete {
			return false, fmt.Errorf("%s ended without an error, and the run is %s", p.name, o.State)
		}
		return true, nil
	case o.Lost:
		s.say("%s: %s", p.name, o.Error)
		// What the snapshot showed is on disk only when the source next flushes its WAL.
		if !s.mayLose || s.mustNot && !strings.Contains(o.Error, "source's disk") {
			return false, fmt.Errorf("the snapshot cannot be lost, or is proven: %s", o.Error)
		}
		if s.writer != nil {
			s.writer.halt()
		}
		s.lost = true
		return false, nil
	case len(o.Failures) > 0:
		return false, fmt.Errorf("faults that pass have failed tasks for good: %s: %+v", o.Error, o.Failures)
	case s.excused():
		s.say("%s gave up: %s", p.name, o.Error)
		return false, nil
	}
	return false, fmt.Errorf("%s gave up without a fault: %s", p.name, o.Error)
}
