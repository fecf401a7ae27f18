package drive

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestPulse_BeatsAsLongAsTheServerHears lets somebody outside watch over a server that is asked in three ways of getting in, and then cannot
// write: the beats end, and begin again when it can.
func TestPulse_BeatsAsLongAsTheServerHears(t *testing.T) {
	t.Parallel()
	var beats atomic.Int64
	watch := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { beats.Add(1) }))
	t.Cleanup(watch.Close)
	cert, key, _ := selfSigned(t, t.TempDir(), 1)
	heartbeat := []string{"--heartbeat-every", "1s", "--heartbeat-url", watch.URL + "/canary-heartbeat"}
	await := func(what string, n int64) {
		t.Helper()
		before := beats.Load()
		for deadline := time.Now().Add(patience); beats.Load() < before+n; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: got %d beats, want %d", what, beats.Load()-before, n)
			}
		}
	}
	for name, door := range map[string][]string{
		"over TLS":                    {"--mqtt-listen", "", "--mqtts-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key},
		"behind a proxy":              {"--proxy-protocol-from", "127.0.0.0/8", "--proxy-protocol-on", "mqtt"},
		"behind a proxy and over TLS": {"--mqtt-listen", "", "--mqtts-listen", "[::]:0", "--tls-cert", cert, "--tls-key", key, "--proxy-protocol-from", "127.0.0.0/8"},
	} {
		s := serve(t, t.TempDir(), append(door, heartbeat...)...)
		await(name, 2)
		if err := s.terminate(); err != nil {
			t.Errorf("%s: stopping: %v", name, err)
		}
	}
	dir := t.TempDir()
	s := serve(t, dir, heartbeat...)
	await("plainly", 2)
	unlock := lockDatabase(t, dir)
	time.Sleep(500 * time.Millisecond) // what was under way is over
	before := beats.Load()
	time.Sleep(3 * time.Second)
	if got := beats.Load() - before; got != 0 {
		t.Errorf("%d beats of a server that cannot keep what it hears", got)
	}
	unlock()
	await("again", 2)
	if strings.Contains(s.log.String(), "canary-heartbeat") {
		t.Error("the log holds the address")
	}
}
