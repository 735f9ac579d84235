package config

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Bytes{
		"0": 0, "4096": 4096, "8kB": 8192, "8 KB": 8192, "8KiB": 8192, "1MB": MB, "1gb": GB,
		"1.5GB": GB + GB/2, "0.5k": 512, "2T": 2 * TB, " 7b ": 7, "8388607TB": 8388607 * TB, ".5kB": 512, "5.": 5,
	} {
		got, err := ParseBytes(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"", "GB", ".", "-1", "1XB", "1.5", "1e3", "1 0", "1..5kB", "8388608TB", "0x10", "1/2k",
		"99999999999999999999999999999999999999999", "１MB",
	} {
		_, err := ParseBytes(text)
		require.Error(t, err, text)
	}
}

func TestBytesString(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]Bytes{
		"0B": 0, "1000B": 1000, "1kB": KB, "8MB": 8 * MB, "1GB": GB, "1536MB": GB + GB/2, "3TB": 3 * TB,
	} {
		require.Equal(t, want, b.String())
	}
}

func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"1GB", "1.5kB", "-1", "999999999999999999999TB", "0.0000000001TB", "5 k"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParseBytes(text)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, b, Bytes(0))
		again, err := ParseBytes(b.String())
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func TestWords(t *testing.T) {
	t.Parallel()
	var v VerifyLevel
	require.NoError(t, v.UnmarshalText([]byte("digest")))
	require.Equal(t, VerifyDigest, v)
	require.EqualError(t, v.UnmarshalText([]byte("all")), `"all" is none of rows, digest, none`)
	require.Equal(t, VerifyDigest, v, "a wrong word changes nothing")

	for text, want := range map[string]Choice{"auto": Auto, "yes": Yes, "No": No, "true": Yes, "FALSE": No} {
		var c Choice
		require.NoError(t, c.UnmarshalText([]byte(text)))
		require.Equal(t, want, c, text)
	}
	for text, want := range map[string]slog.Level{"debug": -4, "INFO": 0, "warn": 4, "Error": 8} {
		var l LogLevel
		require.NoError(t, l.UnmarshalText([]byte(text)))
		require.Equal(t, want, l.Slog(), text)
	}
	var format LogFormat
	require.Error(t, format.UnmarshalText([]byte("xml")))
}
