package api

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"sensorcast/auth"
)

func (h *house) createOnce(p personFixture, key string, draft fields) answer {
	h.t.Helper()
	return h.call("POST", "/api/v1/sensors", p.access, draft, "Idempotency-Key: "+key)
}

func TestIdempotencyKey_TheSameAgainIsTheSameSensorAndSecret(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	draft := fields{"name": "Attic"}
	first := h.createOnce(p, "order 4711", draft).want(http.StatusCreated)
	again := h.createOnce(p, "order 4711", draft).want(http.StatusCreated)
	var one, two sensorAnswer
	first.into(&one)
	again.into(&two)
	if one.Sensor["id"] != two.Sensor["id"] || one.Secret != two.Secret || h.count(p) != 1 {
		t.Errorf("got ids %v and %v, the same secret: %v, %d sensors", one.Sensor["id"], two.Sensor["id"], one.Secret == two.Secret, h.count(p))
	}
	if first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got Idempotency-Replayed %q and %q", first.header.Get("Idempotency-Replayed"), again.header.Get("Idempotency-Replayed"))
	}
	serial := one.Sensor["serial_no"].(string)
	h.send(serial, two.Secret, `{"t":1}`)
	if n := h.changes.count(auth.SensorAdded, serial); n != 1 {
		t.Errorf("got %d announcements, want 1", n)
	}
	if did := h.call("GET", "/api/v1/audit?action=create-sensor", p.access, nil).want(http.StatusOK).fields()["items"].([]any); len(did) != 1 {
		t.Errorf("got %d entries in the trail, want 1", len(did))
	}
	if another := h.createOnce(h.person("bob"), "order 4711", draft).want(http.StatusCreated); another.fields()["secret_key"] == one.Secret {
		t.Error("somebody else's same key made the same secret")
	}
	own := h.createOnce(p, "own secret", fields{"secret_key": "flashed-at-the-factory"}).want(http.StatusCreated).fields()
	if h.createOnce(p, "own secret", fields{"secret_key": "flashed-at-the-factory"}).want(http.StatusCreated).fields()["secret_key"] != own["secret_key"] {
		t.Error("an own secret did not come back")
	}
	h.createOnce(p, "own secret", fields{"secret_key": "flashed-at-the-fbctory"}).wantProblem(http.StatusUnprocessableEntity, "idempotency-key-reused")
}

func TestIdempotencyKey_AnotherBodyIsRefusedAndADeletedSensorFreesTheKey(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.createOnce(p, "k", fields{"serial_no": "SN1"}).want(http.StatusCreated)
	h.createOnce(p, "k", fields{"serial_no": "SN2"}).wantProblem(http.StatusUnprocessableEntity, "idempotency-key-reused")
	h.createOnce(p, "other", fields{"serial_no": "SN1"}).wantFault(http.StatusConflict, "conflict", "body.serial_no")
	h.createOnce(p, "bad", fields{"serial_no": "#", "secret_key": "short"}).wantProblem(http.StatusUnprocessableEntity, "invalid")
	h.call("DELETE", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusNoContent)
	h.createOnce(p, "k", fields{"serial_no": "SN2"}).want(http.StatusCreated)
	h.createOnce(p, strings.Repeat("x", 256), fields{}).wantFault(http.StatusUnprocessableEntity, "invalid", "header.Idempotency-Key")
	h.createOnce(p, "ä", fields{}).wantFault(http.StatusUnprocessableEntity, "invalid", "header.Idempotency-Key")
}

func TestIdempotencyKey_ManyAtOnceCreateOne(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	var wg sync.WaitGroup
	var mu sync.Mutex
	secrets := map[any]int{}
	for range 20 {
		wg.Go(func() {
			f := h.createOnce(p, "k", fields{"name": "x"}).fields()
			mu.Lock()
			defer mu.Unlock()
			secrets[f["secret_key"]]++
		})
	}
	wg.Wait()
	if len(secrets) != 1 || h.count(p) != 1 {
		t.Errorf("got %d secrets and %d sensors, want one of each", len(secrets), h.count(p))
	}
}
