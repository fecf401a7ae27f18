package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
)

func TestServer_TellsWhatClientsNeed(t *testing.T) {
	h := newHouse(t, func(cfg *Config, _ *auth.Config, _ *Deps) {
		cfg.MQTTPort = func() int { return 1883 }
		cfg.MQTTSPort = func() int { return 0 }
		cfg.HTTPSPort = func() int { return 8443 }
		cfg.Certificates = func() []Certificate {
			return []Certificate{{Names: []string{"sensors.example"}, SHA256: []byte{0xab, 1}, SHA1: []byte{2, 0xcd}, Tasmota: []byte{3, 0xef}, SelfSigned: true, NotAfter: time.UnixMilli(0).AddDate(60, 0, 0)}, {}}
		}
	})
	const plain = `{"version":"v1.2.3","mqtt_port":1883,"mqtts_port":null,"https_port":8443,"silence_after":600,"registration":"open","mail":false,"max_payload":65536,"certificates":`
	for token, want := range map[string]string{
		"":        plain + `null}`,
		"garbage": plain + `null}`,
		h.person("ada").access: plain + `[{"names":["sensors.example"],"sha256":"AB:01","sha1":"02:CD","tasmota":"03 EF","self_signed":true,"not_after":"2030-01-01T00:00:00.000Z"},` +
			`{"names":[],"sha256":"","sha1":"","tasmota":null,"self_signed":false,"not_after":null}]}`,
	} {
		if got := string(h.call("GET", "/api/v1/server", token, nil).want(http.StatusOK).body); strings.TrimSpace(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestHealth_ReadinessFollowsTheStoreAndTheDrain(t *testing.T) {
	var failure error
	h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) {
		deps.Ready = func(context.Context) error { return failure }
	})
	ready := func(status int, want string) {
		t.Helper()
		h.api.readiness.every = 0
		a := h.call("GET", "/readyz?verbose", "", nil).want(status)
		if f := a.fields(); f["status"] != want || len(f) != 1 {
			t.Errorf("got %s, want only status %s", a.body, want)
		}
	}
	h.call("GET", "/healthz", "", nil).want(http.StatusOK)
	ready(http.StatusOK, "ready")
	failure = errors.New("disk full at /var/lib")
	ready(http.StatusServiceUnavailable, "unavailable")
	failure = nil
	ready(http.StatusOK, "ready")
	h.api.Drain()
	ready(http.StatusServiceUnavailable, "draining")
	h.call("GET", "/healthz", "", nil).want(http.StatusOK)
}

// Anybody may ask, and each question takes a turn of the store's writer.
func TestHealth_HammeringAsksTheStoreOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		r := newReadiness(time.Second)
		question := func(context.Context) error { asked++; return nil }
		for range 300 {
			must(t, r.ask(t.Context(), question))
			time.Sleep(10 * time.Millisecond)
		}
		if asked != 3 {
			t.Errorf("got %d questions in 3 s, want 3", asked)
		}
		slow := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		time.Sleep(time.Second)
		start := time.Now()
		if err := r.ask(t.Context(), slow); err == nil || time.Since(start) != readyTimeout {
			t.Errorf("got %v after %v, want a failure after %v", err, time.Since(start), readyTimeout)
		}
	})
}

func TestStats_CountByClass(t *testing.T) {
	h := newHouse(t)
	before := h.api.Stats()
	h.call("GET", "/healthz", "", nil).want(http.StatusOK)
	h.call("GET", "/nowhere", "", nil).want(http.StatusNotFound)
	h.call("GET", "/api/v1/sensors", "", nil).want(http.StatusUnauthorized)
	got := h.api.Stats()
	if got.OK != before.OK+1 || got.ClientError != before.ClientError+2 || got.ServerError != before.ServerError {
		t.Errorf("got %+v after %+v, want one 2xx and two 4xx more", got, before)
	}
}
