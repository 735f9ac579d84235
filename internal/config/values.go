package config

import (
	"fmt"
	"log/slog"
	"math/big"
	"strconv"
	"strings"
)

// VerifyLevel is how thoroughly the target is compared with the source.
type VerifyLevel string

// The levels: row counts, digests over all rows, or nothing.
const (
	VerifyRows   VerifyLevel = "rows"
	VerifyDigest VerifyLevel = "digest"
	VerifyNone   VerifyLevel = "none"
)

// UnmarshalText accepts rows, digest and none.
func (v *VerifyLevel) UnmarshalText(text []byte) error {
	return oneOf(v, string(text), VerifyRows, VerifyDigest, VerifyNone)
}

// RoleChoice is which roles of the source are made on the target.
type RoleChoice string

// The choices: every role, those that own or are named by what is copied with
// what they are members of, or none.
const (
	RolesAll        RoleChoice = "all"
	RolesReferenced RoleChoice = "referenced"
	RolesNone       RoleChoice = "none"
)

// UnmarshalText accepts all, referenced and none.
func (r *RoleChoice) UnmarshalText(text []byte) error {
	return oneOf(r, string(text), RolesAll, RolesReferenced, RolesNone)
}

// Choice is a yes or no that can be left to the program.
type Choice string

// The three choices.
const (
	Auto Choice = "auto"
	Yes  Choice = "yes"
	No   Choice = "no"
)

// UnmarshalText accepts auto, yes and no, and true and false for the latter.
func (c *Choice) UnmarshalText(text []byte) error {
	switch s := strings.ToLower(string(text)); s {
	case "true":
		*c = Yes
	case "false":
		*c = No
	default:
		return oneOf(c, s, Auto, Yes, No)
	}
	return nil
}

// LogLevel is the least level of the lines that are logged.
type LogLevel string

// The levels.
const (
	LevelDebug LogLevel = "debug"
	LevelInfo  LogLevel = "info"
	LevelWarn  LogLevel = "warn"
	LevelError LogLevel = "error"
)

// UnmarshalText accepts the four levels in any case.
func (l *LogLevel) UnmarshalText(text []byte) error {
	return oneOf(l, strings.ToLower(string(text)), LevelDebug, LevelInfo, LevelWarn, LevelError)
}

// Slog returns the level in slog's terms; an unset one is info.
func (l LogLevel) Slog() slog.Level {
	switch l {
	case LevelDebug:
		return slog.LevelDebug
	case LevelWarn:
		return slog.LevelWarn
	case LevelError:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// LogFormat is the form of a log line.
type LogFormat string

// The forms; auto is text on a terminal and JSON otherwise.
const (
	FormatAuto LogFormat = "auto"
	FormatText LogFormat = "text"
	FormatJSON LogFormat = "json"
)

// UnmarshalText accepts auto, text and json.
func (f *LogFormat) UnmarshalText(text []byte) error {
	return oneOf(f, string(text), FormatAuto, FormatText, FormatJSON)
}

// oneOf sets dst to the allowed word that text is.
func oneOf[T ~string](dst *T, text string, allowed ...T) error {
	words := make([]string, len(allowed))
	for i, a := range allowed {
		if T(text) == a {
			*dst = a
			return nil
		}
		words[i] = string(a)
	}
	return fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
}

// Bytes is an amount of data. Its text form has a unit; units are powers of
// 1024 as in Postgres, so 1kB is 1024 bytes.
type Bytes int64

// Multiples of a byte.
const (
	KB Bytes = 1 << 10
	MB Bytes = 1 << 20
	GB Bytes = 1 << 30
	TB Bytes = 1 << 40
)

// String returns the amount in the largest unit that needs no fraction, in a
// form that ParseBytes reads back to the same amount.
func (b Bytes) String() string {
	for _, u := range []struct {
		size Bytes
		name string
	}{{TB, "TB"}, {GB, "GB"}, {MB, "MB"}, {KB, "kB"}} {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalText returns the form of String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText accepts what ParseBytes accepts.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// ParseBytes reads an amount such as 1GB, 1.5 GB, 64kB, 8MiB or 4096. Case and
// an i before the B do not matter. An amount that is negative, too large for
// an int64 or not a whole number of bytes is an error.
func ParseBytes(text string) (Bytes, error) {
	s := strings.TrimSpace(text)
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(s)
	}
	number, unit := s[:end], strings.ToLower(strings.TrimSpace(s[end:]))
	factor, ok := unitSize(unit)
	// A short number bounds the work of the exact arithmetic below.
	if !ok || number == "" || len(number) > 40 || strings.Count(number, ".") > 1 || number == "." {
		return 0, fmt.Errorf("%q is not an amount of bytes such as 64MB or 1GB", text)
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("%q is not an amount of bytes such as 64MB or 1GB", text)
	}
	r.Mul(r, new(big.Rat).SetInt64(int64(factor)))
	if !r.IsInt() {
		return 0, fmt.Errorf("%q is not a whole number of bytes", text)
	}
	if !r.Num().IsInt64() {
		return 0, fmt.Errorf("%q is more than an amount of bytes can be", text)
	}
	return Bytes(r.Num().Int64()), nil
}

// unitSize returns the size of a unit in lower case.
func unitSize(unit string) (Bytes, bool) {
	switch unit {
	case "", "b":
		return 1, true
	case "k", "kb", "kib":
		return KB, true
	case "m", "mb", "mib":
		return MB, true
	case "g", "gb", "gib":
		return GB, true
	case "t", "tb", "tib":
		return TB, true
	default:
		return 0, false
	}
}
