package check

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/stretchr/testify/require"
)

// stage returns a stage of the Dockerfile, as BuildKit reads it.
func stage(t *testing.T, name string) instructions.Stage {
	t.Helper()
	text, err := os.ReadFile("../docker/Dockerfile")
	require.NoError(t, err)
	parsed, err := parser.Parse(bytes.NewReader(text))
	require.NoError(t, err)
	require.Empty(t, parsed.Warnings)
	stages, _, err := instructions.Parse(parsed.AST, nil)
	require.NoError(t, err)
	for _, s := range stages {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no stage %s", name)
	return instructions.Stage{}
}

// image is what a stage that only copies makes.
type image struct {
	root       string
	user       string
	entrypoint []string
}

// assemble makes the image of the worker as a builder would: its stage begins
// with nothing, and copies files of the first stage.
func assemble(t *testing.T) image {
	t.Helper()
	require.NoError(t, root())
	s := stage(t, "worker")
	require.Equal(t, "scratch", s.BaseName)
	made := image{root: t.TempDir()}
	for _, command := range s.Commands {
		switch c := command.(type) {
		case *instructions.CopyCommand:
			require.Equal(t, "build", c.From)
			for _, from := range c.SourcePaths {
				copyFile(t, filepath.Join(rootDir(), from), filepath.Join(made.root, c.DestPath))
			}
		case *instructions.UserCommand:
			made.user = c.User
		case *instructions.EntrypointCommand:
			require.False(t, c.PrependShell, "the image has no shell")
			made.entrypoint = c.CmdLine
		case *instructions.LabelCommand:
		default:
			t.Fatalf("a worker's image needs no %s", command.Name())
		}
	}
	return made
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	require.NoError(t, err)
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(t, os.WriteFile(to, text, info.Mode()))
}

// confine runs a program in an image: $1 is the image's root, $2 its user. It sees
// nothing but the image, cannot write to it, and has no way to more rights.
const confine = `mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd "$1" &&
exec setpriv --no-new-privs chroot --userspec="$2" --groups= . "${@:3}"`

// TestImageOfWorker runs what the Dockerfile makes, and looks at what is in it.
func TestImageOfWorker(t *testing.T) {
	t.Parallel()
	made := assemble(t)
	require.NotContains(t, strings.Split(made.user, ":"), "0")
	size := int64(0)
	require.NoError(t, filepath.WalkDir(made.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		size += info.Size()
		return err
	}))
	require.Less(t, size, int64(32<<20), "a worker is pulled wherever one is started")
	t.Logf("the image of the worker has %.1f MB", float64(size)/1e6)

	if !confinable() {
		t.Skip("NOT TESTED: the worker within its image, which takes root and a mount namespace")
	}
	out, err := inImage(t, made, "version").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "worker")
}

// TestStages makes sure that the first stage has what the others copy, and the
// Go that the module wants.
func TestStages(t *testing.T) {
	t.Parallel()
	require.NoError(t, root())
	text, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	_, version, _ := strings.Cut(stage(t, "build").BaseName, "golang:")
	version, _, _ = strings.Cut(version, "-")
	require.Contains(t, string(text), "\ngo "+version+".")
	for _, name := range []string{"planner", "worker"} {
		for _, command := range stage(t, name).Commands {
			if c, ok := command.(*instructions.CopyCommand); ok {
				require.FileExists(t, filepath.Join(rootDir(), c.SourcePaths[0]), name)
			}
		}
	}
}

// confinable reports whether programs can be run within an image here.
func confinable() bool {
	return os.Geteuid() == 0 && exec.Command("unshare", "--mount", "true").Run() == nil
}

// inImage returns the command that runs the image's program, within the image
// where that is possible.
func inImage(t *testing.T, made image, args ...string) *exec.Cmd {
	t.Helper()
	args = append(slices.Clone(made.entrypoint), args...)
	if !confinable() {
		return exec.CommandContext(t.Context(), filepath.Join(made.root, args[0]), args[1:]...)
	}
	return exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "bash", "-c", confine, "confine", made.root, made.user}, args...)...)
}
