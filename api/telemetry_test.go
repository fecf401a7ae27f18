package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/telemetry"
)

const telemetryOfSN1 = "/api/v1/sensors/SN1/telemetry"

func TestTelemetry_AcceptedMeansStored(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, secret := h.sensor(p, map[string]any{"serial_no": "SN1"})
	if a := h.call("POST", telemetryOfSN1, secret, []byte(`[{"time":"2026-01-01T00:00:00Z","data":{"t":1}},{"time":"2026-01-01T00:01:00Z","data":{"t":2}}]`)); a.status != http.StatusAccepted {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	var page pageAnswer
	h.call("GET", "/api/v1/sensors/SN1/readings", p.access, nil).want(http.StatusOK).into(&page)
	if len(page.Items) != 2 {
		t.Errorf("got %d readings right after the 202, want 2", len(page.Items))
	}
	// The media type is the sender's business, as over MQTT.
	h.call("POST", telemetryOfSN1, secret, []byte(`21.5`), "Content-Type: text/plain").want(http.StatusAccepted)
	h.call("POST", telemetryOfSN1, secret, []byte(`{"t":3}`), "Content-Type: application/x-www-form-urlencoded").want(http.StatusAccepted)
}

func TestTelemetry_MalformedIsRefusedAndCountedForTheOwner(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, secret := h.sensor(p, map[string]any{"serial_no": "SN1"})
	for _, payload := range []string{`{"t":`, ``, `nonsense`, `[]`} {
		h.call("POST", telemetryOfSN1, secret, []byte(payload)).wantFault(http.StatusUnprocessableEntity, "invalid", "body")
	}
	must(t, h.pipe.Close(t.Context())) // commits what waits, also problems
	f := h.call("GET", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusOK).fields()
	problems := f["problems"].(map[string]any)
	if problems["malformed"] != 4.0 || problems["last_reason"] == nil || !isTimestamp(problems["last_at"]) || f["state"] != "never_seen" {
		t.Errorf("got problems %v and state %v, want 4 malformed with reason and time, and no sign of life", problems, f["state"])
	}
}

func TestTelemetry_OnlyTheSensorsOwnSecretOpensIt(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, map[string]any{"serial_no": "SN1"})
	_, other := h.sensor(p, map[string]any{"serial_no": "SN2"})
	wrong := h.call("POST", telemetryOfSN1, "sdk_wrong-but-long-enough", []byte(`{"t":1}`))
	unknown := h.call("POST", "/api/v1/sensors/NOBODY/telemetry", "sdk_wrong-but-long-enough", []byte(`{"t":1}`))
	wrong.wantProblem(http.StatusUnauthorized, "unauthenticated")
	if wrong.status != unknown.status || !bytes.Equal(wrong.body, unknown.body) {
		t.Errorf("wrong secret got %s, unknown serial %s, want the same", wrong.body, unknown.body)
	}
	if wrong.header.Get("WWW-Authenticate") == "" {
		t.Errorf("401 without WWW-Authenticate")
	}
	for _, token := range []string{"", other, p.access, p.refresh} {
		h.call("POST", telemetryOfSN1, token, []byte(`{"t":1}`)).want(http.StatusUnauthorized)
	}
}

func TestTelemetry_TooLargeIsRefusedAtTheLimit(t *testing.T) {
	for _, limit := range []int{1000, 200_000} { // below and above what other bodies may have
		h := newHouse(t, func(cfg *Config, _ *auth.Config, _ *Deps) { cfg.MaxPayload = limit })
		p := h.person("ada")
		_, secret := h.sensor(p, map[string]any{"serial_no": "SN1"})
		fill := func(n int) []byte {
			b := append([]byte(`{"t":"`), bytes.Repeat([]byte("x"), n-len(`{"t":""}`))...)
			return append(b, `"}`...)
		}
		h.call("POST", telemetryOfSN1, secret, fill(limit+1)).wantProblem(http.StatusRequestEntityTooLarge, "too-large")
		if got := h.call("POST", telemetryOfSN1, secret, fill(limit)); got.status == http.StatusRequestEntityTooLarge {
			t.Errorf("a payload of exactly %d bytes was too large", limit)
		}
	}
}

func TestTelemetry_UnavailableSaysWhenToComeBack(t *testing.T) {
	for name, intake := range map[string]Intake{
		"stopping":    intake(func(ingest.Message, ingest.Receipt) error { return telemetry.ErrUnavailable }),
		"store fails": intake(func(_ ingest.Message, r ingest.Receipt) error { r.Committed(errors.New("disk full")); return nil }),
	} {
		h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) { deps.Intake = intake })
		_, secret := h.sensor(h.person("ada"), map[string]any{"serial_no": "SN1"})
		a := h.call("POST", telemetryOfSN1, secret, []byte(`{"t":1}`))
		a.wantProblem(http.StatusServiceUnavailable, "unavailable")
		if a.header.Get("Retry-After") == "" || strings.Contains(string(a.body), "disk") {
			t.Errorf("%s: got Retry-After %q and %s, want seconds and no inner text", name, a.header.Get("Retry-After"), a.body)
		}
	}
}

type intake func(ingest.Message, ingest.Receipt) error

func (f intake) Accept(m ingest.Message, r ingest.Receipt) error { return f(m, r) }

// A reading is handed over as the sensor's own whatever the path says, and its fate may come after nobody waits any more.
func TestTelemetry_SenderThatLeavesBlocksNobody(t *testing.T) {
	taken := make(chan ingest.Receipt, 1)
	h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) {
		deps.Intake = intake(func(m ingest.Message, r ingest.Receipt) error {
			if m.Serial != "SN1" || m.SensorID == 0 || m.Via != telemetry.ViaHTTP || m.Shed || m.Metric != "" || string(m.Payload) != `{"t":1}` {
				t.Errorf("got message %+v", m)
			}
			taken <- r
			return nil
		})
	})
	_, secret := h.sensor(h.person("ada"), map[string]any{"serial_no": "SN1"})
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", h.url+telemetryOfSN1, strings.NewReader(`{"t":1}`))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+secret)
	left := make(chan error, 1)
	go func() { // ends when leave is called
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		left <- err
	}()
	r := <-taken
	leave()
	if err := <-left; err == nil {
		t.Errorf("got an answer before the commit")
	}
	r.Committed(nil) // must not block
}

// While the store is slow, waiting senders and their payloads must not pile up without bound.
func TestTelemetry_SendersBeyondTheBoundAreToldToComeAgain(t *testing.T) {
	h := newHouse(t)
	_, secret := h.sensor(h.person("ada"), map[string]any{"serial_no": "SN1"})
	for range maxSenders {
		h.api.senders <- struct{}{}
	}
	a := h.call("POST", telemetryOfSN1, secret, []byte(`{"t":1}`))
	a.wantProblem(http.StatusServiceUnavailable, "unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("503 without Retry-After")
	}
	<-h.api.senders
	h.send("SN1", secret, `{"t":1}`)
	if len(h.api.senders) != maxSenders-1 {
		t.Errorf("a sender that was served still holds its place")
	}
}

func TestReceipt_WaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := make(receipt, 1).wait(t.Context()); !errors.Is(err, errNoCommit) || time.Since(start) != commitTimeout {
			t.Errorf("got %v after %v, want %v after %v", err, time.Since(start), errNoCommit, commitTimeout)
		}
	})
}
