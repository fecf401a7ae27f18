package api

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"sensorcast/auth"
)

// satchel is an auth.Courier that keeps errands until the test has them written.
type satchel struct {
	mu      sync.Mutex
	errands []func(context.Context) (auth.Letter, error)
}

func (s *satchel) Post(write func(context.Context) (auth.Letter, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errands = append(s.errands, write)
}

var codePattern = regexp.MustCompile(`(?:ev|pr|inv)_[A-Za-z0-9_-]{43}`)

// letters has what waits written.
func (h *house) letters() (all []auth.Letter) {
	h.t.Helper()
	h.mail.mu.Lock()
	errands := h.mail.errands
	h.mail.errands = nil
	h.mail.mu.Unlock()
	for _, write := range errands {
		l, err := write(h.t.Context())
		must(h.t, err)
		if l != (auth.Letter{}) {
			all = append(all, l)
		}
	}
	return all
}

// code returns the code in the newest letter to the address.
func (h *house) code(to string) string {
	h.t.Helper()
	code := ""
	for _, l := range h.letters() {
		if l.To == to {
			code = codePattern.FindString(l.Text)
		}
	}
	if code == "" {
		h.t.Fatalf("no letter with a code went to %s", to)
	}
	return code
}

func TestLetters_AddressIsConfirmedAndPasswordReplaced(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	verified := func() any {
		return h.call("GET", "/api/v1/users/me", p.access, nil).want(http.StatusOK).fields()["email_verified"]
	}
	if verified() != false {
		t.Error("a new account's address counts as confirmed")
	}
	h.code("ada@example.org")
	h.call("POST", "/api/v1/auth/email-verification", p.access, nil).want(http.StatusAccepted)
	token := h.code("ada@example.org")
	h.call("POST", "/api/v1/auth/email-verification/confirm", "", fields{"token": token}).want(http.StatusNoContent)
	if verified() != true {
		t.Error("the confirmed address does not count as such")
	}
	trail := h.call("GET", "/api/v1/audit?action=confirm-email", p.access, nil).want(http.StatusOK).fields()["items"].([]any)
	if len(trail) != 1 || trail[0].(fields)["username"] != "ada" {
		t.Errorf("trail: got %v, want one entry of ada's account", trail)
	}
	h.call("POST", "/api/v1/auth/email-verification/confirm", "", fields{"token": token}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.token")
	h.call("POST", "/api/v1/auth/email-verification", p.access, nil).wantFault(http.StatusConflict, "conflict", "body.email")

	h.call("POST", "/api/v1/auth/password-reset", "", fields{"email": "ada@example.org"}).want(http.StatusAccepted)
	token = h.code("ada@example.org")
	h.call("POST", "/api/v1/auth/password-reset/confirm", "", fields{"token": token, "new_password": "short"}).
		wantFault(http.StatusUnprocessableEntity, "invalid", "body.new_password")
	h.call("POST", "/api/v1/auth/password-reset/confirm", "", fields{"token": token, "new_password": "another good one"}).want(http.StatusNoContent)
	h.call("POST", "/api/v1/auth/password-reset/confirm", "", fields{"token": token, "new_password": "another good two"}).
		wantFault(http.StatusUnprocessableEntity, "invalid", "body.token")
	h.call("GET", "/api/v1/users/me", p.access, nil).want(http.StatusUnauthorized)
	h.call("POST", "/api/v1/auth/login", "", fields{"login": "ada", "password": "another good one"}).want(http.StatusOK)
	for what, secret := range map[string]string{"token": token, "password": "another good one"} {
		if strings.Contains(h.logs.String(), secret) {
			t.Errorf("the log holds the %s", what)
		}
	}
}

func TestLetters_ResetAnswersAlikeForKnownAndUnknown(t *testing.T) {
	h := newHouse(t)
	h.person("ada")
	h.call("POST", "/api/v1/auth/email-verification/confirm", "", fields{"token": h.code("ada@example.org")}).want(http.StatusNoContent)
	for i := range 7 {
		known := h.call("POST", "/api/v1/auth/password-reset", "", fields{"email": "ada@example.org"})
		unknown := h.call("POST", "/api/v1/auth/password-reset", "", fields{"email": "eve@example.org"})
		want := http.StatusAccepted
		if i >= 5 {
			want = http.StatusTooManyRequests
		}
		known.want(want)
		if unknown.status != known.status || string(unknown.body) != string(known.body) || unknown.header.Get("Retry-After") != known.header.Get("Retry-After") {
			t.Errorf("request %d: got %d %s for who is there, %d %s for who is not", i+1, known.status, known.body, unknown.status, unknown.body)
		}
	}
}

func TestLetters_WithoutMailSaysSo(t *testing.T) {
	h := newHouse(t, func(_ *Config, policy *auth.Config, _ *Deps) { policy.Courier = nil })
	p := h.person("ada")
	h.call("POST", "/api/v1/auth/email-verification", p.access, nil).wantProblem(http.StatusForbidden, "mail-not-configured")
	h.call("POST", "/api/v1/auth/password-reset", "", fields{"email": "ada@example.org"}).wantProblem(http.StatusForbidden, "mail-not-configured")
}

// A link made from the request would lead wherever the stranger who sent it likes.
func TestLetters_ForgedHostIsInNoLetter(t *testing.T) {
	h := newHouse(t)
	h.person("ada")
	h.call("POST", "/api/v1/auth/email-verification/confirm", "", fields{"token": h.code("ada@example.org")}).want(http.StatusNoContent)
	h.call("POST", "/api/v1/auth/password-reset", "", fields{"email": "ada@example.org"}, "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example", "Origin: http://"+strings.TrimPrefix(h.url, "http://")).
		want(http.StatusAccepted)
	for _, l := range h.letters() {
		if strings.Contains(l.Text, "evil") || strings.Contains(l.Text, "http") {
			t.Errorf("got a letter with an address of the request's:\n%s", l.Text)
		}
	}
}

// What may not be in names and addresses is a 422 that names the field, wherever it is sent.
func TestFields_TricksAreNamed(t *testing.T) {
	h := newHouse(t, func(_ *Config, policy *auth.Config, _ *Deps) { policy.RegistrationsPerHour = 0 })
	p := h.person("ada")
	good := func(name string, value any) fields {
		f := fields{"username": "bob", "email": "bob@example.org", "password": goodPassword, "first_name": "Bob", "last_name": "B"}
		f[name] = value
		return f
	}
	for _, c := range []struct {
		field string
		bad   []string
	}{
		{"username", []string{"bob\r\n", "b\u00f6b", "\u0430da", "bob\u200d", "bob\u202e", "ｂｏｂ", "b ob", strings.Repeat("b", 60_000), "../bob", "bob\x00"}},
		{"email", []string{"bob@example.org\r\nBcc: eve@example.org", "bob@example.org\nX: y", "bob\u202e@example.org", "bob@exam\u200bple.org", "\"b\r\nb\"@example.org",
			"bob@example.org, eve@example.org", "<bob@example.org>", strings.Repeat("b", 60_000) + "@example.org", "bob@example.org\x00", "bob@\u2028example.org"}},
		{"first_name", []string{"B\r\nBcc: eve@example.org", "B\u202eob", "B\u2066ob", "B\u200bob", "B\u2029ob", "B\x1b[31mob", strings.Repeat("b", 60_000), "B\U000e0062"}},
		{"last_name", []string{"B\nob", "\ufeffB"}},
	} {
		for _, v := range c.bad {
			h.call("POST", "/api/v1/auth/register", "", good(c.field, v)).wantFault(http.StatusUnprocessableEntity, "invalid", "body."+c.field)
			if c.field != "username" {
				h.call("PATCH", "/api/v1/users/me", p.access, fields{c.field: v, "current_password": goodPassword}).
					wantFault(http.StatusUnprocessableEntity, "invalid", "body."+c.field)
			}
			if c.field == "email" {
				h.call("POST", "/api/v1/auth/password-reset", "", fields{"email": v}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.email")
				h.call("POST", "/api/v1/invitations", p.access, fields{"email": v}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.email")
			}
		}
		for _, wrong := range []any{1, true, []string{"x"}, fields{"x": "y"}} {
			h.call("POST", "/api/v1/auth/register", "", good(c.field, wrong)).wantFault(http.StatusUnprocessableEntity, "invalid", "body."+c.field)
		}
	}
	if _, err := h.auth.Login(t.Context(), auth.Credentials{Login: "bob", Password: goodPassword}); err == nil {
		t.Error("one of them made an account")
	}
}
