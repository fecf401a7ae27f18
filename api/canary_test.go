package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// canary is put wherever a client can put a string. It may come back in what was asked to be stored, never in an error and never in a log.
// It fits a secret, a token and a name.
const canary = "canary-Zx81-aVeryOwnSecret"

func TestCanary_NoErrorAndNoLogRepeatsWhatWasSent(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	serial, secret := h.sensor(p, fields{"serial_no": "SN1"})
	h.send(serial, secret, `{"t":1}`)
	schemas := h.api.huma.OpenAPI().Components.Schemas

	sent := 0
	check := func(a answer, what string) {
		t.Helper()
		sent++
		if a.status >= 500 {
			t.Errorf("%s, %s: got %d %s", a.what, what, a.status, a.body)
		}
		if a.status < 400 {
			return
		}
		if bytes.Contains(a.body, []byte(canary)) {
			t.Errorf("%s, %s: the answer repeats the secret: %s", a.what, what, a.body)
		}
		for name, values := range a.header {
			if strings.Contains(strings.Join(values, " "), canary) {
				t.Errorf("%s, %s: header %s repeats the secret", a.what, what, name)
			}
		}
	}

	operations(h.api, func(op *huma.Operation) {
		path := strings.ReplaceAll(op.Path, "{serial_no}", serial)
		if op.OperationID == "delete-sensor" || op.OperationID == "logout-all" {
			path = strings.ReplaceAll(op.Path, "{serial_no}", canary) // success would end the fixture
		}
		token := p.access
		switch {
		case op.OperationID == "logout" || op.OperationID == "logout-all":
			token = "" // as above
		case allows(op.Security, schemeSensor):
			token = secret
		}
		check(h.call(op.Method, path, canary, nil), "as bearer")
		check(h.call(op.Method, path, token, nil, "Cookie: "+cookieName+"="+canary+"; "+secureCookieName+"="+canary), "as cookie")
		check(h.call(op.Method, path, token, nil, "Authorization: Basic "+canary), "as basic credential")
		check(h.call(op.Method, strings.ReplaceAll(op.Path, "{serial_no}", canary), token, nil), "as serial")
		for _, param := range op.Parameters {
			if param.In == "query" {
				check(h.call(op.Method, path+"?"+param.Name+"="+canary, token, nil), "as query parameter "+param.Name)
			}
		}
		if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
			return
		}
		for what, body := range canaryBodies(t, schemas, op.RequestBody.Content["application/json"].Schema) {
			check(h.call(op.Method, path, token, body), what)
		}
		check(h.call(op.Method, path, token, []byte(`{"password":"`+canary+`"}`), "Content-Type: text/plain"), "as text")
		check(h.call(op.Method, path, token, []byte(`{}`), "Content-Type: application/"+canary), "as content type")
	})
	if sent < 200 {
		t.Errorf("only %d requests were sent: the walk has a hole", sent)
	}
	if logs := h.logs.String(); strings.Contains(logs, canary) {
		for line := range strings.Lines(logs) {
			if strings.Contains(line, canary) {
				t.Errorf("the log repeats the secret: %s", line)
			}
		}
	}
	for what, s := range map[string]string{"password": goodPassword, "access token": p.access, "refresh token": p.refresh, "sensor's secret": secret} {
		if strings.Contains(h.logs.String(), s) {
			t.Errorf("the log holds the %s", what)
		}
	}
}

// canaryBodies are bodies with the canary in each field in every wrong way, in all fields at once, and in no JSON at all.
func canaryBodies(t *testing.T, schemas huma.Registry, s *huma.Schema) map[string][]byte {
	t.Helper()
	if s.Ref != "" {
		s = schemas.SchemaFromRef(s.Ref)
	}
	bodies := map[string][]byte{
		"as text":           []byte(canary),
		"as string":         []byte(`"` + canary + `"`),
		"cut off":           []byte(`{"password":"` + canary),
		"with broken UTF-8": []byte("{\"password\":\"" + canary + "\xff\"}"),
		"in an array":       []byte(`["` + canary + `"]`),
	}
	add := func(what string, body fields) {
		b, err := json.Marshal(body)
		must(t, err)
		bodies[what] = b
	}
	all := fields{}
	for name := range s.Properties {
		all[name] = canary
	}
	add("in all fields", all)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		for i, wrong := range []any{canary, []string{canary}, fields{"x": canary}, canary + strings.Repeat("\a", 10), strings.Repeat(canary, 100), []fields{{canary: canary}}} {
			add(fmt.Sprintf("alone in %s, way %d", name, i), fields{name: wrong})
			some := maps.Clone(all)
			some[name] = wrong
			add(fmt.Sprintf("wrongly in %s, way %d", name, i), some)
		}
	}
	unknown := maps.Clone(all)
	unknown["unknown"] = canary
	add("in an unknown field", unknown)
	return bodies
}

// The same for credentials that are good: nothing of a whole life of a session may be logged.
func TestCanary_GoodCredentialsAreNotLoggedEither(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, secret := h.sensor(p, fields{"serial_no": "SN1", "secret_key": canary})
	h.send("SN1", secret, `{"payload":"`+canary+`-payload"}`)
	ticket := h.call("POST", "/api/v1/tickets", p.access, fields{"all": true}).want(http.StatusCreated).fields()["ticket"].(string)
	device := h.call("POST", "/api/v1/device/tickets", "", fields{"serial_no": "SN1", "secret_key": secret}).want(http.StatusCreated).fields()["ticket"].(string)
	cookie := h.call("POST", "/api/v1/auth/login", "", fields{"login": "ada", "password": goodPassword, "session": "cookie"}).want(http.StatusOK).cookie()
	next := h.call("POST", "/api/v1/auth/refresh", "", nil, cookieLine(cookie)).want(http.StatusOK)
	h.call("POST", "/api/v1/users/me/password", p.access, fields{"current_password": goodPassword, "new_password": canary + "-new"})
	rotated := h.call("POST", "/api/v1/sensors/SN1/secret", p.access, nil).want(http.StatusOK).fields()["secret_key"].(string)
	made := h.call("POST", "/api/v1/users/me/tokens", p.access, fields{"name": "a script", "scopes": []string{"write"}}).want(http.StatusCreated).fields()
	token := made["token"].(string)
	h.call("GET", "/api/v1/sensors", token, nil).want(http.StatusOK)
	h.call("GET", "/api/v1/users/me", token, nil).want(http.StatusForbidden)
	h.call("DELETE", "/api/v1/users/me/tokens/"+made["api_token"].(fields)["id"].(string), p.access, nil).want(http.StatusNoContent)
	h.call("GET", "/api/v1/sensors", token, nil).want(http.StatusUnauthorized)
	logs := h.logs.String()
	for what, s := range map[string]string{
		"API token": token, "own secret, payload or new password": canary, "password": goodPassword, "ticket": ticket, "device ticket": device, "cookie": cookie.Value,
		"next cookie": next.cookie().Value, "rotated secret": rotated, "access token": next.fields()["access_token"].(string),
	} {
		if strings.Contains(logs, s) {
			t.Errorf("the log holds the %s", what)
		}
	}
	if !strings.Contains(logs, `"route":"POST /api/v1/sensors/{serial_no}/telemetry"`) {
		t.Errorf("the access log does not name routes by their template")
	}
}
