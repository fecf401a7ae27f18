package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/telemetry"
)

// fakeRegistry is the sensors part of the contract, §3.
type fakeRegistry struct {
	mu      sync.Mutex // guards what follows
	sensors map[string]map[string]any
	foreign map[string]bool // taken by another account
	busy    int             // answers 429 that often first
	secrets int
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	problem := func(status int, detail string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
	}
	if r.Header.Get("Authorization") != "Bearer t0ken" {
		problem(http.StatusUnauthorized, "the token is not valid")
		return
	}
	if f.busy > 0 {
		f.busy--
		w.Header().Set("Retry-After", "7")
		problem(http.StatusTooManyRequests, "slow down")
		return
	}
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		problem(http.StatusBadRequest, err.Error())
		return
	}
	f.secrets++
	secret := fmt.Sprintf("secret-%d", f.secrets)
	rest, _ := strings.CutPrefix(r.URL.Path, "/api/v1/sensors")
	switch serial, isSecret := strings.CutSuffix(strings.TrimPrefix(rest, "/"), "/secret"); {
	case rest == "":
		serial, _ := body["serial_no"].(string)
		if f.sensors[serial] != nil || f.foreign[serial] {
			problem(http.StatusConflict, "the serial is taken")
			return
		}
		if body["name"] == "" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = w.Write([]byte(`{"title":"Unprocessable Entity","status":422,"detail":"validation failed","errors":[{"location":"body.name","message":"must not be empty"}]}`))
			return
		}
		f.sensors[serial] = body
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"sensor": body, "secret_key": secret})
	case isSecret && f.sensors[serial] != nil && body["grace_seconds"] == 0.0:
		_ = json.NewEncoder(w).Encode(map[string]any{"secret_key": secret, "old_valid_until": nil})
	default:
		problem(http.StatusNotFound, "no such sensor")
	}
}

// handlerTransport answers in memory, so that waiting can be tested with a virtual clock.
type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

func planOf(t *testing.T, n int) []Spec {
	t.Helper()
	specs, err := Config{Sensors: n}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

func TestProvision_CreatesWhatIsMissingAndRotatesWhatIsThere(t *testing.T) {
	specs := planOf(t, 25)
	registry := &fakeRegistry{sensors: map[string]map[string]any{"SIM-0003": {}}}
	server := httptest.NewServer(registry)
	defer server.Close()
	var progress []int
	p := Provisioning{BaseURL: server.URL + "/", Token: "t0ken", SilenceAfter: time.Minute, OnProgress: func(done, _ int) { progress = append(progress, done) }}
	credentials, err := Provision(t.Context(), p, specs)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, c := range credentials {
		if c.Serial != specs[i].Serial || c.Secret == "" || seen[c.Secret] {
			t.Errorf("credential %d got %+v for %s", i, c, specs[i].Serial)
		}
		seen[c.Secret] = true
	}
	if len(credentials) != 25 || len(registry.sensors) != 25 {
		t.Errorf("got %d credentials and %d sensors want 25", len(credentials), len(registry.sensors))
	}
	if len(progress) != 25 || !slices.IsSorted(progress) || progress[24] != 25 {
		t.Errorf("progress got %v", progress)
	}
	got := registry.sensors["SIM-0002"]
	want := map[string]any{"serial_no": "SIM-0002", "name": "Weather station 1", "sensor_type": "outdoor", "manufacturer": Manufacturer, "silence_after": 60.0}
	delete(got, "tags")
	if !maps.Equal(got, want) {
		t.Errorf("sensor got %v want %v", got, want)
	}
}

func TestProvision_WaitsAsLongAsRetryAfterSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := &fakeRegistry{sensors: map[string]map[string]any{}, busy: 3}
		start := time.Now()
		p := Provisioning{BaseURL: "http://server", Token: "t0ken", Concurrency: 1, Client: &http.Client{Transport: handlerTransport{registry}}}
		credentials, err := Provision(t.Context(), p, planOf(t, 2))
		if err != nil || len(credentials) != 2 {
			t.Fatalf("got %v, %v", credentials, err)
		}
		if got := time.Since(start); got != 21*time.Second {
			t.Errorf("took %v want three times 7s", got)
		}
	})
}

func TestProvision_GivesUpOnAServerThatStaysBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Provisioning{BaseURL: "http://server", Token: "t0ken", Client: &http.Client{Transport: handlerTransport{&fakeRegistry{busy: 1 << 30}}}}
		if _, err := Provision(t.Context(), p, planOf(t, 1)); !errors.Is(err, telemetry.ErrTooMany) || !strings.Contains(err.Error(), "slow down") {
			t.Errorf("got %v want ErrTooMany with its detail", err)
		}
	})
}

func TestProvision_RefusalsAreTold(t *testing.T) {
	unnamed := planOf(t, 1)
	unnamed[0].Name = ""
	for name, c := range map[string]struct {
		token, want string
		specs       []Spec
		kind        error
	}{
		"foreign serial": {"t0ken", "provision sensor SIM-0001: the serial is taken by another account", planOf(t, 1), telemetry.ErrNotFound},
		"bad token":      {"wrong", "the token is not valid", planOf(t, 3), telemetry.ErrUnauthenticated},
		"wrong field":    {"t0ken", "body.name: must not be empty", unnamed, telemetry.ErrInvalid},
	} {
		registry := &fakeRegistry{sensors: map[string]map[string]any{}, foreign: map[string]bool{"SIM-0001": name == "foreign serial"}}
		p := Provisioning{BaseURL: "http://server", Token: c.token, Client: &http.Client{Transport: handlerTransport{registry}}}
		credentials, err := Provision(t.Context(), p, c.specs)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), c.token) || len(credentials) != 0 {
			t.Errorf("%s: got %v, %v want %q", name, credentials, err, c.want)
		}
	}
}

func TestProvision_KeepsTheSecretsItGotBeforeAFailure(t *testing.T) {
	registry := &fakeRegistry{sensors: map[string]map[string]any{}, foreign: map[string]bool{"SIM-0004": true}}
	p := Provisioning{BaseURL: "http://server", Token: "t0ken", Concurrency: 1, Client: &http.Client{Transport: handlerTransport{registry}}}
	credentials, err := Provision(t.Context(), p, planOf(t, 9))
	if err == nil || len(credentials) < 3 || credentials[2].Serial != "SIM-0003" {
		t.Errorf("got %v, %v want an error and at least the first three", credentials, err)
	}
}

func TestProvision_EndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	entered := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body) // the server notices a client that went away only after that
		<-r.Context().Done()               // hangs
	}))
	defer server.Close()
	go func() { <-entered; cancel() }()
	if _, err := Provision(ctx, Provisioning{BaseURL: server.URL, Token: "t"}, planOf(t, 5)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v want context.Canceled", err)
	}
}

func TestProvision_RefusesABadBaseURL(t *testing.T) {
	for _, base := range []string{"", "localhost:8080", "ftp://x", "http://"} {
		if _, err := Provision(t.Context(), Provisioning{BaseURL: base}, nil); !errors.Is(err, telemetry.ErrInvalid) || !strings.Contains(err.Error(), "base_url") {
			t.Errorf("%q: got %v", base, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": time.Second, "3": 3 * time.Second, "0": 0, "-1": time.Second, "soon": time.Second, "86400": time.Minute, "99999999999999999999": time.Second,
		"Thu, 01 Jan 2026 00:00:05 GMT": 5 * time.Second, "Wed, 31 Dec 2025 00:00:00 GMT": 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: got %v want %v", header, got, want)
		}
	}
}
