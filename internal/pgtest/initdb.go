package pgtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// walSystemID is where the first page of a WAL segment has the system identifier.
const walSystemID = 24

// initdb makes the cluster's data: a copy of what initdb has made of the same
// arguments in this process before, which takes a tenth of the time, with a system
// identifier of its own.
func (s *Server) initdb(ctx context.Context, args []string) error {
	template, err := s.reg.template(ctx, s, args)
	if err != nil {
		return err
	}
	if err := s.own(s.dir); err != nil {
		return err
	}
	if err := copyCluster(ctx, template, s.data()); err != nil {
		return err
	}
	return identify(s.data(), uint64(rand.Int64()))
}

// template returns the folder of a cluster that was never started, made by initdb
// at the first call for the installation and the arguments.
func (r *registry) template(ctx context.Context, s *Server, args []string) (string, error) {
	key := strings.Join(append([]string{s.in.bin}, args...), " ")
	r.mu.Lock()
	get, ok := r.templates[key]
	if !ok {
		get = sync.OnceValues(func() (string, error) { return r.runInitdb(ctx, s, args) })
		r.templates[key] = get
	}
	r.mu.Unlock()
	return get()
}

func (r *registry) runInitdb(ctx context.Context, s *Server, args []string) (string, error) {
	dir, err := r.workDir(fmt.Sprint("template", s.Major))
	if err == nil {
		err = s.own(dir)
	}
	if err != nil {
		return "", err
	}
	data := filepath.Join(dir, "data")
	args = append([]string{
		"-D", data, "-A", "trust", "-U", superuser, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
	}, args...)
	if out, err := s.command(ctx, "initdb", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return data, nil
}

// copyCluster copies the data of a cluster that does not run, with their owner.
func copyCluster(ctx context.Context, from, to string) error {
	out, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s: %w\n%s", from, err, out)
	}
	return nil
}

// identify gives a cluster that was never started another system identifier: in
// its control file, which begins with it and has a checksum, and in its WAL.
func identify(data string, id uint64) error {
	name := filepath.Join(data, "global", "pg_control")
	control, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	at, ok := controlSum(control)
	if !ok {
		return fmt.Errorf("%s has no checksum", name)
	}
	binary.NativeEndian.PutUint64(control, id)
	binary.NativeEndian.PutUint32(control[at:], castagnoli(control[:at]))
	if err := os.WriteFile(name, control, 0o600); err != nil {
		return err
	}
	segments, err := filepath.Glob(filepath.Join(data, "pg_wal", strings.Repeat("[0-9A-F]", 24)))
	for _, name := range segments {
		err = errors.Join(err, writeAt(name, walSystemID, binary.NativeEndian.AppendUint64(nil, id)))
	}
	return err
}

// controlSum finds the checksum of a control file: it is of all that is before
// it, which is not the same number of bytes in every major.
func controlSum(control []byte) (at int, ok bool) {
	for at := 8; at+4 <= len(control); at += 4 {
		if sum := castagnoli(control[:at]); sum == binary.NativeEndian.Uint32(control[at:]) {
			return at, true
		}
	}
	return 0, false
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func writeAt(name string, at int64, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}
