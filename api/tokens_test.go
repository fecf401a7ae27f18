package api

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sensorcast/auth"
)

// token makes an API token and returns it with its id.
func (h *house) token(p personFixture, draft fields) (token, id string) {
	h.t.Helper()
	if draft["name"] == nil {
		draft["name"] = "a script"
	}
	f := h.call("POST", "/api/v1/users/me/tokens", p.access, draft).want(http.StatusCreated).fields()
	return f["token"].(string), f["api_token"].(fields)["id"].(string)
}

func pick[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}

func TestToken_SeesTheSensorsItIsFor(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	for _, serial := range []string{"SN1", "SN2", "SN3"} {
		_, secret := h.sensor(ada, fields{"serial_no": serial})
		h.send(serial, secret, `{"t":1}`)
	}
	token, _ := h.token(ada, fields{"scopes": []string{"read"}, "serial_nos": []string{"SN3", "SN1"}})
	list := func(query string) (serials []string, next any) {
		t.Helper()
		f := h.call("GET", "/api/v1/sensors?"+query, token, nil).want(http.StatusOK).fields()
		for _, s := range f["items"].([]any) {
			serials = append(serials, s.(fields)["serial_no"].(string))
		}
		return serials, f["next_cursor"]
	}
	if got, next := list("sort=-serial_no"); !slices.Equal(got, []string{"SN3", "SN1"}) || next != nil {
		t.Errorf("list: got %v and a next page %v, want SN3 and SN1 alone", got, next)
	}
	if got, next := list("limit=1"); !slices.Equal(got, []string{"SN1"}) || next == nil {
		t.Errorf("first page: got %v and %v, want SN1 and another page", got, next)
	}
	for serial, status := range map[string]int{"SN1": 200, "SN2": 404, "SN3": 200, "absent": 404} {
		h.call("GET", "/api/v1/sensors/"+serial+"/readings", token, nil).want(status)
		h.call("POST", "/api/v1/tickets", token, fields{"serial_no": serial}).want(pick(status == 200, 201, 404))
	}
	read := h.call("PATCH", "/api/v1/sensors/SN1", token, fields{"name": "x"})
	if p := read.wantProblem(http.StatusForbidden, "token-scope"); !strings.Contains(p.Detail, "write") {
		t.Errorf("got %q, want the scope named", p.Detail)
	}
	if again := h.call("PATCH", "/api/v1/sensors/absent", token, fields{"name": "x"}); !bytes.Equal(again.body, read.body) {
		t.Errorf("absent: got %s, present %s, want the same", again.body, read.body)
	}
}

func TestToken_IsShownOnceAndListedWithoutItself(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.person("ada"), h.person("bob")
	h.sensor(ada, fields{"serial_no": "SN1"})
	ends := time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")
	made := h.call("POST", "/api/v1/users/me/tokens", ada.access, fields{
		"name": "Grafana — read", "scopes": []string{"write", "read"}, "serial_nos": []string{"SN1"}, "expires_at": ends,
	}).want(http.StatusCreated)
	token, shown := made.fields()["token"].(string), made.fields()["api_token"].(fields)
	if shown["name"] != "Grafana — read" || shown["expires_at"] != ends || shown["last_used_at"] != nil || len(shown["scopes"].([]any)) != 2 {
		t.Errorf("made: got %v", shown)
	}
	h.call("GET", "/api/v1/sensors/SN1", token, nil).want(http.StatusOK)
	if v := h.call("POST", "/api/v1/auth/verify", "", fields{"token": token}).want(http.StatusOK).fields(); v["valid"] != true || v["role"] != "user" {
		t.Errorf("verify: got %v, want it valid, and no admin's though ada is one", v)
	}
	h.token(ada, fields{"scopes": []string{"read"}, "serial_nos": nil, "expires_at": nil})
	a := h.call("GET", "/api/v1/users/me/tokens", ada.access, nil).want(http.StatusOK)
	items := a.fields()["items"].([]any)
	if len(items) != 2 || items[0].(fields)["id"] != shown["id"] || items[0].(fields)["last_used_at"] == nil || bytes.Contains(a.body, []byte(token)) {
		t.Errorf("list: got %s, want both, the first used", a.body)
	}
	if second := items[1].(fields); second["serial_nos"] != nil || second["expires_at"] != nil || len(second["scopes"].([]any)) != 1 {
		t.Errorf("the second: got %v, want it for all sensors and for ever", second)
	}
	if got := h.call("GET", "/api/v1/users/me/tokens", bob.access, nil).want(http.StatusOK).fields()["items"].([]any); len(got) != 0 {
		t.Errorf("bob sees %v", got)
	}
	path := "/api/v1/users/me/tokens/" + shown["id"].(string)
	foreign := h.call("DELETE", path, bob.access, nil).want(http.StatusNotFound)
	if absent := h.call("DELETE", "/api/v1/users/me/tokens/absent", bob.access, nil); !bytes.Equal(absent.body, foreign.body) {
		t.Errorf("foreign: got %s, absent %s, want the same", foreign.body, absent.body)
	}
	h.call("DELETE", path, ada.access, nil).want(http.StatusNoContent)
	if got := h.changes.count(auth.TokenEnded, ""); got != 1 {
		t.Errorf("ends told: got %d, want 1", got)
	}
	h.call("GET", "/api/v1/sensors/SN1", token, nil).wantProblem(http.StatusUnauthorized, "unauthenticated")
	h.call("DELETE", path, ada.access, nil).want(http.StatusNotFound)
}

func TestToken_MistakesAreNamed(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.person("ada"), h.person("bob")
	h.sensor(bob, fields{"serial_no": "BOBS"})
	for location, draft := range map[string]fields{
		"body.name":          {"name": " ", "scopes": []string{"read"}},
		"body.scopes":        {"name": "a", "scopes": []string{}},
		"body.scopes[0]":     {"name": "a", "scopes": []string{"admin"}},
		"body.serial_nos":    {"name": "a", "scopes": []string{"read"}, "serial_nos": []string{}},
		"body.serial_nos[0]": {"name": "a", "scopes": []string{"read"}, "serial_nos": []string{"BOBS"}},
		"body.expires_at":    {"name": "a", "scopes": []string{"read"}, "expires_at": "2020-01-01T00:00:00Z"},
	} {
		h.call("POST", "/api/v1/users/me/tokens", ada.access, draft).wantFault(http.StatusUnprocessableEntity, "invalid", location)
	}
	h.call("POST", "/api/v1/users/me/tokens", ada.access, fields{"name": "a", "scopes": []string{"read"}, "expires_at": "tomorrow"}).
		wantFault(http.StatusUnprocessableEntity, "invalid", "body.expires_at")
	for range auth.MaxAPITokens {
		h.token(ada, fields{"scopes": []string{"read"}})
	}
	h.call("POST", "/api/v1/users/me/tokens", ada.access, fields{"name": "a", "scopes": []string{"read"}}).wantProblem(http.StatusConflict, "conflict")
}
