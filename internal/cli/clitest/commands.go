package clitest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Commands returns the folder of planner and worker, which it builds, once per
// process, as make build does: it has compiled their packages then. It is safe for
// concurrent use. A TestMain whose tests call it calls [RemoveCommands].
func Commands() (dir string, err error) { return commandsDir(), buildCommands() }

// RemoveCommands removes what [Commands] has built.
func RemoveCommands() { _ = os.RemoveAll(commandsDir()) }

func commandsDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("pgconvoy-commands-%d", os.Getpid()))
}

var buildCommands = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-trimpath", "-o", commandsDir()+"/", "github.com/pgconvoy/pgconvoy/cmd/planner", "github.com/pgconvoy/pgconvoy/cmd/worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return err
})
