package queue

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pgconvoy/pgconvoy/internal/tasks"
)

const (
	goodSubject = "pgconvoy.shop.task.copy.public.orders.p0003"
	goodBody    = `{"v":1,"kind":"copy","run":"shop","run_uid":"u","task":"copy.public.orders.p0003","fp":{"source":"s","target":"t"}}`
)

func TestDecode(t *testing.T) {
	t.Parallel()
	want := tasks.Envelope{
		Version: 1, Kind: tasks.KindCopy, Run: "shop", RunUID: "u", Task: "copy.public.orders.p0003",
		FP: tasks.Fingerprint{Source: "s", Target: "t"},
	}
	got, err := decode(goodSubject, []byte(goodBody))
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = decode(goodSubject, []byte(strings.Replace(goodBody, `"v":1`, `"v":1,"priority":{"a":[1]},"trace":"x"`, 1)))
	require.NoError(t, err)
	require.Equal(t, want, got, "unknown fields are ignored")
}

func TestDecodeVersion(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"v":2}`, `{"v":2,"task":{"id":7}}`, `{"v":0}`, `{"v":-1}`, strings.Replace(goodBody, `"kind":"copy"`, `"kind":"stream"`, 1)} {
		_, err := decode(goodSubject, []byte(body))
		var version *VersionError
		require.ErrorAs(t, err, &version, body)
		var retry *tasks.RetryError
		require.ErrorAs(t, err, &retry, body)
		require.Equal(t, 30*time.Second, retry.Delay)
	}
}

func TestDecodeMalformed(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"", "null", "{}", "[]", "{", `"x"`, `{"v":"1"}`, `{"v":null}`, `{"v":1}`, `{"v":1.5}`, goodBody + "x",
		strings.Replace(goodBody, `"copy.public.orders.p0003"`, `7`, 1),
		strings.Replace(goodBody, `"copy.public.orders.p0003"`, `"vacuum.public.orders.p0003"`, 1),
		strings.Replace(goodBody, `"copy.public.orders.p0003"`, `"copy.public.>"`, 1),
	} {
		_, err := decode(goodSubject, []byte(body))
		var malformed *MalformedError
		require.ErrorAs(t, err, &malformed, body)
		require.Equal(t, goodSubject, malformed.Subject)
		var discard *tasks.DiscardError
		require.ErrorAs(t, err, &discard, body)
	}
}

func TestDecodeMismatch(t *testing.T) {
	t.Parallel()
	for _, subject := range []string{"", "pgconvoy.shop.task.copy.public.orders.p0004", "pgconvoy.other.task.copy.public.orders.p0003"} {
		_, err := decode(subject, []byte(goodBody))
		var mismatch *MismatchError
		require.ErrorAs(t, err, &mismatch, subject)
		var discard *tasks.DiscardError
		require.ErrorAs(t, err, &discard, subject)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(goodSubject, []byte(goodBody))
	f.Add("pgconvoy.a.task.misc.x", []byte(`{"v":1,"kind":"schema","run":"a","task":"misc.x"}`))
	f.Add("", []byte(`{"v":2}`))
	f.Add(goodSubject, []byte(`{"V":1,"v":null,"task":"copy.a..b"}`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		e, err := decode(subject, body)
		if err != nil {
			var retry *tasks.RetryError
			var discard *tasks.DiscardError
			if !errors.As(err, &retry) && !errors.As(err, &discard) {
				t.Fatalf("no verdict in %v", err)
			}
			if len(err.Error()) > 4096 {
				t.Fatalf("error has %d bytes", len(err.Error()))
			}
			return
		}
		if e.Version != tasks.EnvelopeVersion || !e.Task.Stage().Valid() || e.Kind.Stage() == "" || Subject(e.Run, e.Task) != subject {
			t.Fatalf("accepted %+v on %q", e, subject)
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(subject, again); err != nil || back != e {
			t.Fatalf("%+v came back as %+v, %v", e, back, err)
		}
	})
}

func TestCheckVersion(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"2.11.0", "2.11.15", "2.12.0-beta.1", "2.15.2", "3.0.0", "10.0.1"} {
		require.NoError(t, checkVersion(good), good)
	}
	for _, bad := range []string{"", "2.10.29", "1.99.0", "2.9", "2.x.1"} {
		require.ErrorContains(t, checkVersion(bad), "2.11 or newer", bad)
	}
}

func TestAddressHidesSecrets(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a:4222,b:4222,c", Options{URL: "nats://me:p@ss@a:4222, tls://token@b:4222,c"}.address())
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "23505 duplicate key", oneLine(" 23505\tduplicate\r\n\x00key ", maxText))
	require.Equal(t, strings.Repeat("ü", 4)+"…", oneLine(strings.Repeat("ü", 99), 9), "no character is cut in two")
}

func TestAnyVersionBecomesASemanticOne(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"": "0.0.0", "dev": "0.0.0+dev", "(devel)": "0.0.0+devel", "1.2.3": "1.2.3", "v1.2.3": "1.2.3", "v1.2": "0.0.0+1-2",
		"v0.1.0-3-gabcdef0-dirty": "0.1.0-3-gabcdef0-dirty", "v1.2.3-rc.1+dirty": "1.2.3-rc.1+dirty", "01.2.3": "0.0.0+01-2-3",
		"v0.0.0-20250509230407-a9884f6bd75a": "0.0.0-20250509230407-a9884f6bd75a", "1.2.3-a..b": "0.0.0+1-2-3-a--b",
		"1.2.3-007": "0.0.0+1-2-3-007", "1.2.3+a_b": "0.0.0+1-2-3-a-b", "ünïcode": "0.0.0+n-code",
	} {
		require.Equal(t, want, semver(version), version)
	}
}
