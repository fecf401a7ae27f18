package drive

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sensorcast/auth"
)

// A life with a secret of every kind in it, each used, used again and held where it does not belong; then the server is killed, with all it has in
// its write-ahead log. What it told and what it kept is searched as for every test; the secrets themselves are the canaries.
func TestCanary_NoKindOfSecretIsToldOrKept(t *testing.T) {
	box := newMailbox(t)
	s := serve(t, t.TempDir(), "--log-level", "debug", "--login-failures-per-minute", "0", "--smtp-url", "smtp://"+box.addr,
		"--mail-from", "Sensorcast <no-reply@example.com>", "--public-url", "https://sensors.example.com", "--ticket-ttl", "30s")
	ann, ben := s.register("ann"), s.register("ben")
	var found []string // each kind, as it was given
	keep := func(secret string) string {
		if secret == "" {
			t.Fatalf("secret %d is missing", len(found)+1)
		}
		found = append(found, secret)
		return secret
	}
	given := func(p *person, method, path string, body any, want int) string { // the one secret of an answer
		t.Helper()
		status, reply := p.request(method, path, p.token, body)
		m := regexp.MustCompile(`"(?:secret_key|token|ticket|claim_code|secret|code)":"([^"]+)"`).FindSubmatch(reply)
		if status != want || m == nil {
			t.Fatalf("%s %s = %d %s, want %d and a secret", method, path, status, reply, want)
		}
		return keep(string(m[1]))
	}
	const mine, theirs = "a-secret-of-one-s-own", "what-a-device-shows"
	keep(mine)
	keep(theirs)
	secrets.add("secret_key", theirs)

	access, refresh := ann.login()
	keep(access)
	keep(ann.rotate(keep(refresh), 200))
	keep(box.code(t, "ann@example.com", "https://sensors.example.com/confirm-email#"))
	given(ann, "POST", "/api/v1/sensors", map[string]any{"serial_no": "SN1"}, 201)
	ann.call("POST", "/api/v1/sensors", map[string]any{"serial_no": "SN2", "secret_key": mine}, 201, nil)
	given(ann, "POST", "/api/v1/sensors/SN1/secret", map[string]any{"grace_seconds": 60}, 200)
	_, reply := s.csv("POST", "/api/v1/sensors/import", ann.token, "serial_no\nSN3\n")
	keep(regexp.MustCompile(`sdk_[\w-]+`).FindString(reply))
	if _, err := s.mosquittoPub("SN4", theirs, "sensors/SN4/telemetry", "1"); err == nil {
		t.Fatal("an unknown device was let in")
	}
	eventually(t, "the device to be listed", func() int {
		status, _ := ann.request("POST", "/api/v1/inbox/SN4/adopt", ann.token, map[string]any{})
		return status - http.StatusCreated
	})
	ticket := given(ann, "POST", "/api/v1/tickets", map[string]any{"all": true}, 201)
	viewer := s.dial("/ws?ticket=" + ticket)
	resume := next(t, viewer)
	for resume.Type != "resume" {
		resume = next(t, viewer)
	}
	keep(resume.Token)
	given(ann, "POST", "/api/v1/users/me/tokens", map[string]any{"name": "a script", "scopes": []string{"write"}}, 201)
	keep(box.code(t, "ben@example.com", "https://sensors.example.com/confirm-email#"))
	ben.call("PATCH", "/api/v1/users/me", map[string]any{"first_name": "Ben"}, 200, nil)
	given(ann, "POST", "/api/v1/sensors/SN1/transfer", nil, 201)
	var claimed struct {
		Secret string `json:"secret_key"`
	}
	ben.call("POST", "/api/v1/sensors/claim", map[string]any{"claim_code": found[len(found)-1]}, 200, &claimed)
	keep(claimed.Secret)
	given(ann, "POST", "/api/v1/invitations", map[string]any{"email": "cai@example.com"}, 201)
	const hook = "http://127.0.0.1:9/hooks/what-only-its-owner-knows"
	given(ann, "POST", "/api/v1/channels", map[string]any{"name": "hook", "type": "webhook", "url": keep(hook)}, 201)
	var recovery struct {
		Codes []string `json:"recovery_codes"`
	}
	ben.call("POST", "/api/v1/users/me/second-factor/confirm", map[string]any{"code": ben.enrol()}, 200, &recovery)
	for _, code := range recovery.Codes[:2] {
		ben.call("POST", "/api/v1/auth/login", map[string]any{"login": "ben", "password": ben.password, "code": keep(code)}, 200, nil)
	}
	keep(ann.password)

	nobody := &person{s: s} // holds each where it does not belong, and the server has it in an error
	for _, secret := range found {
		for _, at := range []struct{ method, path, bearer, name string }{
			{"GET", "/api/v1/sensors", secret, ""}, {"GET", "/api/v1/sensors/" + url.PathEscape(secret), ann.token, ""},
			{"GET", "/api/v1/sensors?cursor=" + url.QueryEscape(secret), ann.token, ""}, {"GET", "/api/v1/events?ticket=" + url.QueryEscape(secret), "", ""},
			{"GET", "/ws?ticket=" + url.QueryEscape(secret) + "x", "", ""}, {"GET", "/ws?resume=" + url.QueryEscape(secret) + "x", "", ""},
			{"POST", "/api/v1/auth/login", "", "login"}, {"POST", "/api/v1/auth/login", "", "password"}, {"POST", "/api/v1/auth/refresh", "", "refresh_token"},
			{"POST", "/api/v1/auth/password-reset", "", "email"}, {"POST", "/api/v1/auth/password-reset/confirm", "", "token"},
			{"POST", "/api/v1/sensors/claim", ann.token, "claim_code"}, {"POST", "/api/v1/tickets", ann.token, "serial_no"}, {"POST", "/api/v1/sensors", ann.token, "mac_address"},
		} {
			var body any
			if at.name != "" {
				body = map[string]any{at.name: secret}
			}
			nobody.request(at.method, at.path, at.bearer, body)
		}
		for _, l := range []login{{role: role{"SN2", mine}, id: secret}, {role: role{"nobody", secret}, id: "x"}, {role: role{"SN5", "no secret"}, id: secret}, {role: role{secret, secret}, id: secret}} {
			if l.id == secret && !auth.HoldsSecret(secret) {
				continue // one cannot tell it from a name of the device's own choice
			}
			l.version = 5
			if c, err := s.client("tcp", l); err == nil {
				c.vanish()
			}
		}
	}
	eventually(t, "the last device to be listed", func() int {
		_, listed := ann.request("GET", "/api/v1/inbox", ann.token, nil)
		return 1 - strings.Count(string(listed), `"SN5"`)
	})
	s.inspect()
	s.kill()
}

// Every field of the interface that the document calls secret is one that the canaries know.
func TestCanary_KnowsEverySecretField(t *testing.T) {
	s := serve(t, t.TempDir())
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Description string
					WriteOnly   bool
				}
			}
		}
	}
	(&person{s: s}).call("GET", "/openapi.json", nil, 200, &doc)
	n := 0
	for name, schema := range doc.Components.Schemas {
		for field, p := range schema.Properties {
			if !p.WriteOnly && !strings.Contains(p.Description, "this once") && !strings.Contains(p.Description, "shown once") {
				continue
			}
			if n++; !slices.Contains(secretFields, field) {
				t.Errorf("%s of %s is a secret that no test looks for: %s", field, name, fmt.Sprint(p))
			}
		}
	}
	if n < 15 {
		t.Errorf("got %d secret fields, want more: the document does not say what it said", n)
	}
}
