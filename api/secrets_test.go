package api

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func TestRotate_WithoutGraceTheOldSecretIsDeadAtOnce(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, old := h.sensor(p, map[string]any{"serial_no": "SN1"})
	for _, body := range []any{nil, map[string]any{}, map[string]any{"grace_seconds": 0}} {
		f := h.call("POST", "/api/v1/sensors/SN1/secret", p.access, body).want(http.StatusOK).fields()
		next := f["secret_key"].(string)
		if until, there := f["old_valid_until"]; !there || until != nil {
			t.Errorf("got old_valid_until %v, want null", until)
		}
		h.call("POST", telemetryOfSN1, old, []byte(`{"t":1}`)).want(http.StatusUnauthorized)
		h.send("SN1", next, `{"t":1}`)
		old = next
	}
	if n := h.changes.count(auth.SecretRotated, "SN1"); n != 3 {
		t.Errorf("got %d announcements, want 3", n)
	}
}

func TestRotate_WithGraceBothWorkAndNobodyIsDisconnected(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, old := h.sensor(p, map[string]any{"serial_no": "SN1"})
	f := h.call("POST", "/api/v1/sensors/SN1/secret", p.access, map[string]any{"grace_seconds": 3600}).want(http.StatusOK).fields()
	until, err := time.Parse(time.RFC3339, f["old_valid_until"].(string))
	if err != nil || time.Until(until) < 59*time.Minute || time.Until(until) > time.Hour || !isTimestamp(f["old_valid_until"]) {
		t.Errorf("got old_valid_until %v, want in an hour", f["old_valid_until"])
	}
	h.send("SN1", old, `{"t":1}`)
	h.send("SN1", f["secret_key"].(string), `{"t":2}`)
	if n := h.changes.count(auth.SecretRotated, "SN1"); n != 0 {
		t.Errorf("got %d announcements while the grace runs, want none", n)
	}
	stored, err := h.db.Devices(t.Context())
	must(t, err)
	if len(stored) != 1 || len(stored[0].Secrets) != 2 {
		t.Errorf("store has %+v, want both secrets for the next start", stored)
	}
	// Second thoughts: rotating again without grace ends both.
	h.call("POST", "/api/v1/sensors/SN1/secret", p.access, nil).want(http.StatusOK)
	h.call("POST", telemetryOfSN1, old, []byte(`{"t":1}`)).want(http.StatusUnauthorized)
	h.call("POST", telemetryOfSN1, f["secret_key"].(string), []byte(`{"t":1}`)).want(http.StatusUnauthorized)
}

func TestRotate_AgainWithinTheGraceKeepsTheNewestTwo(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, first := h.sensor(p, map[string]any{"serial_no": "SN1"})
	grace := map[string]any{"grace_seconds": 60}
	rotate := func() string {
		return h.call("POST", "/api/v1/sensors/SN1/secret", p.access, grace).want(http.StatusOK).fields()["secret_key"].(string)
	}
	second, third := rotate(), rotate()
	for secret, want := range map[string]int{first: http.StatusUnauthorized, second: http.StatusAccepted, third: http.StatusAccepted} {
		h.call("POST", "/api/v1/sensors/SN1/telemetry", secret, []byte(`{"t":1}`)).want(want)
	}
}

func TestRotate_RefusesAnEndlessGrace(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, map[string]any{"serial_no": "SN1"})
	for _, grace := range []any{-1, 604801, "60", 1.5} {
		h.call("POST", "/api/v1/sensors/SN1/secret", p.access, map[string]any{"grace_seconds": grace}).
			wantFault(http.StatusUnprocessableEntity, "invalid", "body.grace_seconds")
	}
}

func TestPredecessors_NoneOutlivesThisRotationsGrace(t *testing.T) {
	const now, until = 1000, 5000
	secret := func(name byte, validUntil telemetry.Millis) auth.Secret {
		return auth.Secret{Hash: [32]byte{name}, ValidUntil: validUntil}
	}
	old := []auth.Secret{secret('a', 0), secret('b', 9000)}
	for _, tc := range []struct {
		old  []auth.Secret
		want auth.Secret
	}{
		{old, secret('a', until)},
		{[]auth.Secret{secret('d', 900), secret('c', 2000), secret('e', 3000)}, secret('c', 2000)},
		{[]auth.Secret{secret('b', 9000)}, secret('b', until)},
	} {
		got := predecessors(tc.old, now, until)
		if len(got) != 1 || got[0].Hash != tc.want.Hash || got[0].ValidUntil != tc.want.ValidUntil {
			t.Errorf("predecessors(%d secrets) = %d of them, want %c alone until %d", len(tc.old), len(got), tc.want.Hash[0], tc.want.ValidUntil)
		}
	}
	if kept := predecessors(old, now, 0); len(kept) != 0 {
		t.Errorf("without grace: got %d secrets, want none", len(kept))
	}
	if old[0].ValidUntil != 0 {
		t.Errorf("the Directory's own slice was written to")
	}
}

func TestGraces_AnnounceAtTheEndAndOnlyTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g graces
		start := time.Now()
		fired := &firings{}
		note := func(name string) func() {
			return func() { fired.add(fmt.Sprintf("%s after %v", name, time.Since(start).Round(time.Second))) }
		}
		g.after(1, time.Minute, note("replaced"))
		g.after(1, time.Hour, note("last"))
		g.after(2, time.Minute, note("forgotten"))
		g.forget(2)
		time.Sleep(time.Hour) // until the millisecond before the announcement
		synctest.Wait()
		if got := fired.all(); len(got) != 0 {
			t.Errorf("got %v before the grace had ended, want nothing", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := fired.all(); len(got) != 1 || got[0] != "last after 1h0m0s" {
			t.Errorf("got %v, want only the last rotation's, after an hour", got)
		}
		if len(g.timers) != 0 {
			t.Errorf("got %d timers left, want none", len(g.timers))
		}
		g.after(3, time.Minute, note("closed"))
		g.close()
		g.after(4, time.Minute, note("after close"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := fired.all(); len(got) != 1 {
			t.Errorf("got %v after Close, want nothing more", got)
		}
	})
}

// firings are noted from the timers' goroutines.
type firings struct {
	mu    sync.Mutex
	names []string // guarded by mu
}

func (f *firings) add(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names = append(f.names, name)
}

func (f *firings) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.names)
}
