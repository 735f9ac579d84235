package pgtest

import (
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// layout is where an installation keeps things, relative to its prefix. Postgres
// finds its files relative to its own program, so a tree of the same layout
// elsewhere works too.
type layout struct{ bin, lib, share string }

func layouts(major int) []layout {
	m := strconv.Itoa(major)
	return []layout{
		{"lib/postgresql/" + m + "/bin", "lib/postgresql/" + m + "/lib", "share/postgresql/" + m}, // Debian
		{"bin", "lib", "share/postgresql"}, // npm
		{"bin", "lib", "share"},            // built from source, or the PGDG's rpm
	}
}

// relocated returns a private copy of an installation in the process's folder,
// made at the first call. Programs are copied, the rest are links. It has the
// museum's own extension, which nobody wants in the system's folder, and is in
// reach of the user the server runs as. An installation of unknown layout is used
// where it is.
func (r *registry) relocated(found install, owner *syscall.Credential) (install, error) {
	r.mu.Lock()
	get, ok := r.trees[found.bin]
	if !ok {
		get = sync.OnceValues(func() (install, error) { return r.relocate(found, owner) })
		r.trees[found.bin] = get
	}
	r.mu.Unlock()
	return get()
}

func (r *registry) relocate(found install, owner *syscall.Credential) (install, error) {
	prefix, lay, ok := findLayout(found)
	if !ok {
		return found, nil
	}
	dir, err := r.workDir("tree" + strconv.Itoa(found.major))
	if err != nil {
		return found, err
	}
	// With a checkout below /root, another user cannot follow the links.
	link := os.Symlink
	if !runs(found, owner) {
		link = copyAll
	}
	moved := found
	moved.bin = filepath.Join(dir, lay.bin)
	if found.lib != "" {
		moved.lib = filepath.Join(dir, lay.lib)
	}
	if err := buildTree(prefix, dir, lay, link); err != nil {
		return found, err
	}
	if !runs(moved, owner) {
		return found, nil // the temporary folder is mounted noexec
	}
	return moved, nil
}

func findLayout(found install) (prefix string, lay layout, ok bool) {
	for _, lay := range layouts(found.major) {
		prefix, ok := strings.CutSuffix(found.bin, "/"+lay.bin)
		if !ok {
			continue
		}
		if _, err := os.Stat(filepath.Join(prefix, lay.share, "extension")); err == nil {
			return prefix, lay, true
		}
	}
	return "", layout{}, false
}

// buildTree makes the tree; link places a file or folder of the original.
func buildTree(prefix, dir string, lay layout, link func(from, to string) error) error {
	bin := filepath.Join(dir, lay.bin)
	extensions := filepath.Join(dir, lay.share, "extension")
	for _, d := range []string{bin, extensions, filepath.Dir(filepath.Join(dir, lay.lib))} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	// Copies, because Postgres resolves a link before it looks around.
	for _, program := range []string{"postgres", "initdb"} {
		if err := copyFile(filepath.Join(prefix, lay.bin, program), filepath.Join(bin, program)); err != nil {
			return err
		}
	}
	if err := link(filepath.Join(prefix, lay.lib), filepath.Join(dir, lay.lib)); err != nil {
		return err
	}
	for _, sub := range []string{lay.share, lay.share + "/extension"} {
		entries, err := os.ReadDir(filepath.Join(prefix, sub))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if sub == lay.share && e.Name() == "extension" {
				continue
			}
			if err := link(filepath.Join(prefix, sub, e.Name()), filepath.Join(dir, sub, e.Name())); err != nil {
				return err
			}
		}
	}
	return addExtension(extensions)
}

// addExtension writes the files of the museum's extension.
func addExtension(dir string) error {
	files, err := fs.Sub(museumFiles, "museum/extension")
	if err != nil {
		return err
	}
	return os.CopyFS(dir, files)
}

// runs says whether the server's user can execute the installation.
func runs(in install, owner *syscall.Credential) bool {
	cmd := exec.CommandContext(context.Background(), filepath.Join(in.bin, "postgres"), "--version")
	cmd.Env = in.env()
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	return cmd.Run() == nil
}

// copyAll copies a file, or a folder with what is below it.
func copyAll(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	return copyFile(from, to)
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		_ = dst.Close()
		return err
	}
	return dst.Close()
}
