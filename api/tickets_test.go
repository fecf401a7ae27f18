package api

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"sensorcast/auth"
)

func TestTicket_OpensWhatWasNamed(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	for _, serial := range []string{"SN1", "SN2"} {
		h.sensor(p, map[string]any{"serial_no": serial})
	}
	for name, c := range map[string]struct {
		order   map[string]any
		serials int
		all     bool
	}{
		"one":  {map[string]any{"serial_no": "SN1"}, 1, false},
		"some": {map[string]any{"serial_nos": []string{"SN2", "SN1"}}, 2, false},
		"all":  {map[string]any{"all": true}, 0, true},
	} {
		f := h.call("POST", "/api/v1/tickets", p.access, c.order).want(http.StatusCreated).fields()
		token := f["ticket"].(string)
		if f["url"] != "/ws?ticket="+token || len(f) != 3 {
			t.Errorf("%s: got %d fields and another url than /ws?ticket=…", name, len(f))
		}
		expires, err := time.Parse(time.RFC3339, f["expires_at"].(string))
		if err != nil || !isTimestamp(f["expires_at"]) || time.Until(expires) > 5*time.Second || time.Until(expires) < time.Second {
			t.Errorf("%s: got expires_at %v, want in 5 s", name, f["expires_at"])
		}
		claim, err := h.auth.RedeemTicket(token)
		if err != nil || claim.Principal.Username != "ada" || claim.All != c.all || !c.all && len(claim.Serials) != c.serials || claim.Kind != "user" {
			t.Errorf("%s: got claim %+v, %v", name, claim, err)
		}
	}
}

func TestTicket_ExactlyOneWayToNameSensors(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, map[string]any{"serial_no": "SN1"})
	many := make([]string, 101)
	for i := range many {
		many[i] = "SN1"
	}
	for _, order := range []map[string]any{
		{}, {"all": false}, {"serial_no": ""}, {"serial_no": "SN1", "all": true}, {"serial_no": "SN1", "serial_nos": []string{"SN1"}},
		{"serial_nos": []string{}}, {"serial_nos": many}, {"serial_nos": "SN1"}, {"sensor": "SN1"},
	} {
		h.call("POST", "/api/v1/tickets", p.access, order).wantProblem(http.StatusUnprocessableEntity, "invalid")
	}
	h.call("POST", "/api/v1/tickets", p.access, map[string]any{"serial_nos": []string{"SN1", "NOBODY"}}).wantProblem(http.StatusNotFound, "not-found")
}

func TestTicket_TooManySayWhenToComeBack(t *testing.T) {
	h := newHouse(t, func(_ *Config, policy *auth.Config, _ *Deps) { policy.TicketsPerMinute = 3 })
	p := h.person("ada")
	for range 3 {
		h.call("POST", "/api/v1/tickets", p.access, map[string]any{"all": true}).want(http.StatusCreated)
	}
	a := h.call("POST", "/api/v1/tickets", p.access, map[string]any{"all": true})
	a.wantProblem(http.StatusTooManyRequests, "too-many-requests")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("429 without Retry-After")
	}
}

func TestDeviceTicket_ForTheSensorItself(t *testing.T) {
	h := newHouse(t)
	_, secret := h.sensor(h.person("ada"), map[string]any{"serial_no": "SN1"})
	f := h.call("POST", "/api/v1/device/tickets", "", map[string]any{"serial_no": "SN1", "secret_key": secret}).want(http.StatusCreated).fields()
	claim, err := h.auth.RedeemTicket(f["ticket"].(string))
	if err != nil || claim.Kind != "sensor" || claim.Principal.Serial != "SN1" {
		t.Errorf("got claim %+v, %v, want the sensor's", claim, err)
	}
	wrong := h.call("POST", "/api/v1/device/tickets", "", map[string]any{"serial_no": "SN1", "secret_key": "wrong"})
	unknown := h.call("POST", "/api/v1/device/tickets", "", map[string]any{"serial_no": "NOBODY", "secret_key": "wrong"})
	wrong.wantProblem(http.StatusUnauthorized, "unauthenticated")
	if wrong.status != unknown.status || !bytes.Equal(wrong.body, unknown.body) {
		t.Errorf("wrong secret got %s, unknown serial %s, want the same", wrong.body, unknown.body)
	}
}
