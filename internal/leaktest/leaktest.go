// Package leaktest finds goroutines that outlive what has started them. It is
// imported by tests only.
package leaktest

import (
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines have to end. goleak itself waits for half a second,
// which a machine that is busy may stand still for.
const patience = time.Minute

// Find returns an error that names goroutines which do not end, but for those that the
// options ignore.
func Find(ignore ...goleak.Option) error {
	for began := time.Now(); ; {
		err := goleak.Find(ignore...)
		if err == nil || time.Since(began) > patience {
			return err
		}
	}
}
