package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// passwordTimeout bounds one run of a password command.
	passwordTimeout = 30 * time.Second
	// passwordWait bounds the wait for what a password command has left
	// running when it ended, or was ended.
	passwordWait = 2 * time.Second
	// maxComplaint bounds, in bytes, how much a password command's stderr
	// adds to an error.
	maxComplaint = 1000
)

// Password returns what resolves the password of the database, which is called
// for every connection, and nil if neither password_file nor password_command
// is set: the password is then where libpq looks for it. side is source or
// target.
//
// The function is safe for concurrent use. Its errors name the setting and say
// what the command wrote to stderr; nothing of the file, or of what the command
// wrote to stdout, is in them.
func (d Database) Password(side string) func(context.Context) (string, error) {
	setting, read := side+".password_file", d.readPassword
	switch {
	case d.PasswordCommand != "":
		setting, read = side+".password_command", d.runPassword
	case d.PasswordFile == "":
		return nil
	}
	return func(ctx context.Context) (string, error) {
		text, err := read(ctx)
		if err == nil {
			text, err = oneLine(text)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", setting, err)
		}
		return text, nil
	}
}

// readPassword reads the file. Who else may read it is not looked at, unlike
// libpq does for .pgpass: container platforms mount secrets readable by all
// users of the container, of which there is one.
func (d Database) readPassword(context.Context) (string, error) {
	text, err := os.ReadFile(d.PasswordFile)
	return string(text), err
}

// runPassword runs the command with sh, without input, and returns its stdout.
func (d Database) runPassword(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, passwordTimeout, fmt.Errorf("no end within %s", passwordTimeout))
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", d.PasswordCommand)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, passwordWait
	err := cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it has ended well, and left something running
		return stdout.String(), nil
	case ctx.Err() != nil: // rather than the signal that the command got
		err = context.Cause(ctx)
	}
	if said := complaint(stderr.String(), stdout.String()); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return "", err
}

// complaint returns the end of what a command wrote to stderr, in one line and
// without anything that it wrote to stdout: under set -x, sh repeats it.
func complaint(stderr, stdout string) string {
	for secret := range strings.FieldsSeq(stdout) {
		stderr = strings.ReplaceAll(stderr, secret, hidden)
	}
	said := strings.Join(strings.Fields(stderr), " ")
	return strings.ToValidUTF8(said[max(len(said)-maxComplaint, 0):], "")
}

// oneLine removes the end of the line. A password of no or several lines is an
// error: it would only be refused by the server, and nobody knew why.
func oneLine(text string) (string, error) {
	line := strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	switch {
	case line == "":
		return "", errors.New("the password is empty")
	case strings.ContainsAny(line, "\r\n\x00"):
		return "", errors.New("the password is not one line of text")
	}
	return line, nil
}
