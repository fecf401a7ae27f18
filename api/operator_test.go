package api

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"sensorcast/auth"
)

// shell turns h to the operator's door; in whose name is a header line.
func (h *house) shell() *house {
	h.t.Helper()
	server := httptest.NewServer(h.api.Shell())
	h.t.Cleanup(server.Close)
	inside := *h
	inside.url = server.URL
	return &inside
}

func as(name string) string { return headerAs + ": " + name }

var eve = fields{"username": "eve", "email": "eve@example.org", "password": goodPassword}

func TestShell_OperatorAdministersAccounts(t *testing.T) {
	h := newHouse(t, func(_ *Config, policy *auth.Config, _ *Deps) { policy.Registration = "closed" })
	s := h.shell()
	u := s.call("POST", "/api/v1/users", "", eve).want(http.StatusCreated).fields()
	if u["username"] != "eve" || u["role"] != "admin" {
		t.Errorf("the first account is %v, want eve and admin", u)
	}
	s.call("POST", "/api/v1/users", "", eve).wantFault(http.StatusConflict, "conflict", "body.username")
	s.call("POST", "/api/v1/users", "", fields{"username": "x", "email": "x", "password": "x"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.email")

	login := func(password string) answer {
		return h.call("POST", "/api/v1/auth/login", "", fields{"login": "eve", "password": password})
	}
	before := login(goodPassword).want(http.StatusOK).fields()["access_token"].(string)
	s.call("POST", "/api/v1/users/EVE/password", "", fields{"new_password": "short"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.new_password")
	s.call("POST", "/api/v1/users/EVE/password", "", fields{"new_password": "another good one"}).want(http.StatusNoContent)
	h.call("GET", "/api/v1/users/me", before, nil).want(http.StatusUnauthorized)
	login(goodPassword).want(http.StatusUnauthorized)
	login("another good one").want(http.StatusOK)

	s.call("DELETE", "/api/v1/users/eve", "", nil).want(http.StatusNoContent)
	s.call("DELETE", "/api/v1/users/eve", "", nil).wantProblem(http.StatusNotFound, "not-found")
	s.call("POST", "/api/v1/users/eve/password", "", fields{"new_password": "another good one"}).wantProblem(http.StatusNotFound, "not-found")
	login("another good one").want(http.StatusUnauthorized)
}

func TestShell_OperatorActsInAPersonsNameAndAsNoMore(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.person("ada"), h.person("bob")
	h.sensor(ada, fields{"serial_no": "SN1"})
	h.sensor(bob, fields{"serial_no": "SN2"})
	s := h.shell()
	s.call("POST", "/api/v1/sensors/SN2/secret", "", nil, as("bob")).want(http.StatusOK)
	s.call("POST", "/api/v1/sensors/SN2/secret", "", nil, as("ada")).wantProblem(http.StatusNotFound, "not-found")
	s.call("GET", "/api/v1/sensors/SN2", "", nil, as("BOB@example.org")).want(http.StatusOK)
	s.call("GET", "/api/v1/sensors", "", nil).wantProblem(http.StatusForbidden, "person-needed")
	s.call("GET", "/api/v1/sensors", "", nil, as("nobody")).wantProblem(http.StatusForbidden, "no-such-person")
	s.call("DELETE", "/api/v1/users/me", "", fields{"password": "not the password"}, as("bob")).want(http.StatusUnprocessableEntity)
	s.call("POST", "/api/v1/sensors/SN2/telemetry", "", []byte(`{"t":1}`)).want(http.StatusUnauthorized)
	if got := s.trail("", ""); got[len(got)-2].Via != "shell" || got[len(got)-2].Actor != "bob" || got[len(got)-2].Action != "rotate-secret" {
		t.Errorf("the trail ends in %q, want bob's rotation via shell before the last", strs(got))
	}
}

// The header is for the socket; from the network it is nobody's word.
func TestShell_NobodyElseIsTheOperator(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	for _, token := range []string{"", ada.access} {
		h.call("POST", "/api/v1/users", token, eve, as("ada")).wantProblem(http.StatusForbidden, "operator-only")
		h.call("POST", "/api/v1/users/ada/password", token, fields{"new_password": goodPassword}, as("ada")).wantProblem(http.StatusForbidden, "operator-only")
		h.call("DELETE", "/api/v1/users/ada", token, nil, as("ada")).wantProblem(http.StatusForbidden, "operator-only")
	}
	h.call("GET", "/api/v1/users/me", "", nil, as("ada")).want(http.StatusUnauthorized)
	h.call("GET", "/api/v1/audit", "", nil, as("ada")).want(http.StatusUnauthorized)
}
