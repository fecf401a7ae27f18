package api

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"sensorcast/auth"
)

func TestRegister_FirstAccountIsAdminAndLoggedIn(t *testing.T) {
	h := newHouse(t)
	a := h.call("POST", "/api/v1/auth/register", "", map[string]any{
		"username": "ada", "email": "ada@example.org", "password": goodPassword, "first_name": "Ada", "last_name": "Lovelace",
	}).want(http.StatusCreated)
	f := a.fields()
	u := f["user"].(map[string]any)
	if u["username"] != "ada" || u["role"] != "admin" || u["first_name"] != "Ada" || u["last_name"] != "Lovelace" || u["email"] != "ada@example.org" {
		t.Errorf("got user %v", u)
	}
	if len(u["id"].(string)) != 26 || !isTimestamp(u["created_at"]) || !isTimestamp(u["updated_at"]) {
		t.Errorf("got user %v, want an id of 26 characters and times with three decimals", u)
	}
	if f["expires_in"] != 600.0 {
		t.Errorf("got expires_in %v, want 600", f["expires_in"])
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got Cache-Control %q, want no-store", a.header.Get("Cache-Control"))
	}
	me := h.call("GET", "/api/v1/users/me", f["access_token"].(string), nil).want(http.StatusOK).fields()
	if me["username"] != "ada" {
		t.Errorf("got %v, want ada", me)
	}
	second := h.person("bob")
	if role := h.call("GET", "/api/v1/users/me", second.access, nil).want(http.StatusOK).fields()["role"]; role != "user" {
		t.Errorf("second account: got role %v, want user", role)
	}
}

func TestRegister_TakenNameIsConflictNamingTheField(t *testing.T) {
	h := newHouse(t)
	h.person("ada")
	h.call("POST", "/api/v1/auth/register", "", map[string]any{"username": "ADA", "email": "x@example.org", "password": goodPassword}).
		wantFault(http.StatusConflict, "conflict", "body.username")
	h.call("POST", "/api/v1/auth/register", "", map[string]any{"username": "x", "email": "Ada@example.org", "password": goodPassword}).
		wantProblem(http.StatusUnprocessableEntity, "invalid") // a user name is longer than that
	h.call("POST", "/api/v1/auth/register", "", map[string]any{"username": "grace", "email": "Ada@example.org", "password": goodPassword}).
		wantFault(http.StatusConflict, "conflict", "body.email")
}

func TestRegister_EveryMistakeIsNamedAtOnce(t *testing.T) {
	h := newHouse(t)
	a := h.call("POST", "/api/v1/auth/register", "", map[string]any{"username": "a b", "email": "nowhere", "password": "short"})
	for _, field := range []string{"body.username", "body.email", "body.password"} {
		a.wantFault(http.StatusUnprocessableEntity, "invalid", field)
	}
}

func TestRegister_ClosedServerSaysSo(t *testing.T) {
	h := newHouse(t, func(_ *Config, policy *auth.Config, _ *Deps) { policy.Registration = "closed" })
	h.call("POST", "/api/v1/auth/register", "", map[string]any{"username": "ada", "email": "ada@example.org", "password": goodPassword}).
		wantProblem(http.StatusForbidden, "registration-closed")
}

// The first account is admin. Whoever reaches the port first must not become it.
func TestRegister_FirstAccountFromAfarNeedsSetupToken(t *testing.T) {
	for _, c := range []struct {
		name    string
		trusted []netip.Prefix
		header  string
	}{
		{"through a trusted proxy", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "X-Forwarded-For: 203.0.113.7"},
		{"through a proxy on this machine that nobody declared", nil, "X-Forwarded-For: 203.0.113.7"},
		{"through one that speaks RFC 7239", nil, "Forwarded: for=203.0.113.7"},
		{"claiming to be here", nil, "X-Forwarded-For: 127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, func(cfg *Config, policy *auth.Config, _ *Deps) {
				cfg.TrustedProxies = c.trusted
				policy.SetupToken = "setup-token-of-this-start"
			})
			draft := map[string]any{"username": "mallory", "email": "m@example.org", "password": goodPassword}
			h.call("POST", "/api/v1/auth/register", "", draft, c.header).wantProblem(http.StatusForbidden, "setup-token-required")
			draft["setup_token"] = "wrong"
			h.call("POST", "/api/v1/auth/register", "", draft, c.header).wantProblem(http.StatusForbidden, "setup-token-required")
			draft["setup_token"] = "setup-token-of-this-start"
			h.call("POST", "/api/v1/auth/register", "", draft, c.header).want(http.StatusCreated)
		})
	}
}

func TestLogin_ByNameOrAddressAndNotWithoutThePassword(t *testing.T) {
	h := newHouse(t)
	h.person("ada")
	for _, login := range []string{"ada", "ADA", "ada@example.org"} {
		f := h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": login, "password": goodPassword}).want(http.StatusOK).fields()
		if f["access_token"] == "" || f["refresh_token"] == "" || f["user"] == nil {
			t.Errorf("login %q: got %v", login, f)
		}
	}
	wrong := h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": "ada", "password": "not the password"})
	wrong.wantProblem(http.StatusUnauthorized, "unauthenticated")
	unknown := h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": "nobody", "password": "not the password"})
	if string(wrong.body) != string(unknown.body) || wrong.status != unknown.status {
		t.Errorf("wrong password got %s, unknown login %s, want the same", wrong.body, unknown.body)
	}
}

func TestLogin_TooManyFailuresSayWhenToComeBack(t *testing.T) {
	h := newHouse(t, func(_ *Config, policy *auth.Config, _ *Deps) { policy.LoginFailuresPerMinute = 2 })
	h.person("ada")
	for range 2 {
		h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": "ada", "password": "not the password"}).want(http.StatusUnauthorized)
	}
	a := h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": "ada", "password": goodPassword})
	a.wantProblem(http.StatusTooManyRequests, "too-many-requests")
	if s := a.header.Get("Retry-After"); s == "" || s == "0" {
		t.Errorf("got Retry-After %q, want seconds", s)
	}
}

// ASVS 4.1.3: a limit per address must not be reset by a header anybody can write.
func TestLogin_SpoofedForwardedForDoesNotResetTheLimit(t *testing.T) {
	h := newHouse(t, func(_ *Config, policy *auth.Config, _ *Deps) { policy.LoginFailuresPerMinute = 1 }) // 3 per address
	for i, name := range []string{"a1", "a2", "a3"} {
		h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": name, "password": "x"}, "X-Forwarded-For: 203.0.113."+string(rune('1'+i))).
			want(http.StatusUnauthorized)
	}
	h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": "a4", "password": "x"}, "X-Forwarded-For: 203.0.113.99").
		want(http.StatusTooManyRequests)
}

func TestRefresh_RotatesInTheBody(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	f := h.call("POST", "/api/v1/auth/refresh", "", map[string]any{"refresh_token": p.refresh}).want(http.StatusOK).fields()
	if f["refresh_token"] == p.refresh || f["refresh_token"] == nil {
		t.Errorf("got refresh token %v, want a new one", f["refresh_token"])
	}
	h.call("GET", "/api/v1/users/me", f["access_token"].(string), nil).want(http.StatusOK)
	for _, bad := range []any{nil, map[string]any{}, map[string]any{"refresh_token": ""}, map[string]any{"refresh_token": "rt_no"}, map[string]any{"refresh_token": p.access}} {
		h.call("POST", "/api/v1/auth/refresh", "", bad).wantProblem(http.StatusUnauthorized, "unauthenticated")
	}
}

// Two tabs, a lost reply, a storm of both: within the grace everybody gets tokens, and everybody's tokens work.
func TestRefresh_HundredAtOnceAllStayLoggedIn(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	const n = 100
	var wg sync.WaitGroup
	answers := make([]answer, n)
	for i := range n {
		wg.Go(func() {
			answers[i] = h.call("POST", "/api/v1/auth/refresh", "", map[string]any{"refresh_token": p.refresh})
		})
	}
	wg.Wait()
	tokens := map[string]bool{}
	for _, a := range answers {
		f := a.want(http.StatusOK).fields()
		tokens[f["refresh_token"].(string)] = true
		h.call("GET", "/api/v1/users/me", f["access_token"].(string), nil).want(http.StatusOK)
	}
	if len(tokens) != n {
		t.Errorf("got %d different refresh tokens, want %d", len(tokens), n)
	}
}

func TestRefresh_ReuseEndsTheSession(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	next := h.call("POST", "/api/v1/auth/refresh", "", map[string]any{"refresh_token": p.refresh}).want(http.StatusOK).fields()
	last := h.call("POST", "/api/v1/auth/refresh", "", map[string]any{"refresh_token": next["refresh_token"]}).want(http.StatusOK).fields()
	h.call("POST", "/api/v1/auth/refresh", "", map[string]any{"refresh_token": p.refresh}).wantProblem(http.StatusUnauthorized, "unauthenticated")
	h.call("POST", "/api/v1/auth/refresh", "", map[string]any{"refresh_token": last["refresh_token"]}).want(http.StatusUnauthorized)
	h.call("GET", "/api/v1/users/me", last["access_token"].(string), nil).want(http.StatusUnauthorized)
}

func TestCookieMode_TokenNeverReachesTheBody(t *testing.T) {
	h := newHouse(t)
	h.person("ada")
	a := h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": "ada", "password": goodPassword, "session": "cookie"}).want(http.StatusOK)
	cookie := a.cookie()
	if _, there := a.fields()["refresh_token"]; there {
		t.Errorf("cookie mode: got refresh_token in the body")
	}
	if cookie.Name != "sensorcast_refresh" || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/api/v1/auth" || cookie.Secure || cookie.MaxAge < 3600 {
		t.Errorf("got cookie %+v, want HttpOnly, SameSite=Strict, Path=/api/v1/auth, not Secure over plain HTTP, and a life", cookie.Raw)
	}

	rotated := h.call("POST", "/api/v1/auth/refresh", "", nil, cookieLine(cookie)).want(http.StatusOK)
	if _, there := rotated.fields()["refresh_token"]; there {
		t.Errorf("refresh by cookie: got refresh_token in the body")
	}
	next := rotated.cookie()
	if next.Value == cookie.Value || next.Value == "" {
		t.Errorf("refresh by cookie: got the same cookie back, want a new one")
	}

	gone := h.call("POST", "/api/v1/auth/logout", "", nil, cookieLine(next)).want(http.StatusNoContent)
	if c := gone.cookie(); c.MaxAge >= 0 || c.Value != "" || c.Path != "/api/v1/auth" {
		t.Errorf("logout: got cookie %q, want one that is dropped", c.Raw)
	}
	h.call("POST", "/api/v1/auth/refresh", "", nil, cookieLine(next)).wantProblem(http.StatusUnauthorized, "unauthenticated")
	h.call("GET", "/api/v1/users/me", rotated.fields()["access_token"].(string), nil).want(http.StatusUnauthorized)
}

func TestCookieMode_WorksForRegistrationToo(t *testing.T) {
	h := newHouse(t)
	a := h.call("POST", "/api/v1/auth/register", "", map[string]any{"username": "ada", "email": "ada@example.org", "password": goodPassword, "session": "cookie"}).
		want(http.StatusCreated)
	if _, there := a.fields()["refresh_token"]; there || a.cookie().Value == "" {
		t.Errorf("got %s and cookie %q, want the refresh token in the cookie only", a.body, a.cookie().Raw)
	}
}

func TestCookieMode_SecureWhenTheClientSpokeTLS(t *testing.T) {
	h := newHouse(t, func(cfg *Config, _ *auth.Config, _ *Deps) {
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	h.person("ada")
	login := map[string]any{"login": "ada", "password": goodPassword, "session": "cookie"}
	c := h.call("POST", "/api/v1/auth/login", "", login, "X-Forwarded-Proto: https").want(http.StatusOK).cookie()
	if !c.Secure || c.Name != "__Secure-sensorcast_refresh" {
		t.Errorf("through a trusted proxy with TLS: got cookie %q, want Secure and named for it", c.Raw)
	}
	slipped := "Cookie: sensorcast_refresh=" + c.Value
	h.call("POST", "/api/v1/auth/refresh", "", nil, "X-Forwarded-Proto: https", slipped).want(http.StatusUnauthorized)
	next := h.call("POST", "/api/v1/auth/refresh", "", nil, "X-Forwarded-Proto: https", cookieLine(c)).want(http.StatusOK).cookie()
	gone := h.call("POST", "/api/v1/auth/logout", "", nil, "X-Forwarded-Proto: https", cookieLine(next)).want(http.StatusNoContent).cookie()
	if gone.Name != c.Name || gone.MaxAge >= 0 || gone.Value != "" || !gone.Secure {
		t.Errorf("logout over TLS: got cookie %q, want the same one dropped", gone.Raw)
	}
	if c := h.call("POST", "/api/v1/auth/login", "", login).want(http.StatusOK).cookie(); c.Secure {
		t.Errorf("without TLS: got cookie %q, which a browser would not send back", c.Raw)
	}
}

// CSRF: a page of another site makes the browser send the cookie along (were it not for SameSite), or an unauthenticated POST to a
// server on the person's own machine.
func TestPublicRoutes_RefuseOtherSitesPages(t *testing.T) {
	h := newHouse(t)
	h.person("ada")
	host := strings.TrimPrefix(h.url, "http://")
	cookie := h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": "ada", "password": goodPassword, "session": "cookie"}).want(http.StatusOK).cookie()

	for _, origin := range []string{"https://evil.example", "null", "http://" + host + ".evil.example", "http://127.0.0.1:1", "http://evil.example/" + host} {
		a := h.call("POST", "/api/v1/auth/refresh", "", nil, cookieLine(cookie), "Origin: "+origin)
		a.wantProblem(http.StatusForbidden, "foreign-origin")
		if a.header.Get("Set-Cookie") != "" || a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("origin %s: got headers %v", origin, a.header)
		}
		h.call("POST", "/api/v1/auth/logout", "", nil, cookieLine(cookie), "Origin: "+origin).want(http.StatusForbidden)
		h.call("POST", "/api/v1/auth/register", "", map[string]any{"username": "mallory", "email": "m@example.org", "password": goodPassword}, "Origin: "+origin).
			want(http.StatusForbidden)
	}
	h.call("POST", "/api/v1/auth/refresh", "", nil, cookieLine(cookie), "Sec-Fetch-Site: cross-site").want(http.StatusForbidden)
	h.call("POST", "/api/v1/auth/refresh", "", nil, cookieLine(cookie), "Origin: http://"+host).want(http.StatusOK)
}

func TestLogout_EndsTheSessionItNamesAndOnlyThat(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	login := func() (access, refresh string) {
		f := h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": "ada", "password": goodPassword}).want(http.StatusOK).fields()
		return f["access_token"].(string), f["refresh_token"].(string)
	}
	alive := func(access string, want int) {
		t.Helper()
		h.call("GET", "/api/v1/users/me", access, nil).want(want)
	}

	access, refresh := login()
	for range 2 { // the second finds the session over, which is what was asked for
		h.call("POST", "/api/v1/auth/logout", "", map[string]any{"refresh_token": refresh}).want(http.StatusNoContent)
	}
	alive(access, http.StatusUnauthorized)

	access, refresh = login()
	h.call("POST", "/api/v1/auth/logout", access, nil).want(http.StatusNoContent)
	alive(access, http.StatusUnauthorized)
	h.call("POST", "/api/v1/auth/refresh", "", map[string]any{"refresh_token": refresh}).want(http.StatusUnauthorized)

	h.call("POST", "/api/v1/auth/logout", "", nil).wantProblem(http.StatusUnauthorized, "unauthenticated")
	h.call("POST", "/api/v1/auth/logout", access, nil).want(http.StatusUnauthorized)
	alive(p.access, http.StatusOK)

	other, _ := login()
	h.call("POST", "/api/v1/auth/logout-all", p.access, nil).want(http.StatusNoContent)
	alive(other, http.StatusUnauthorized)
	alive(p.access, http.StatusUnauthorized)
}

func TestVerify_AnswersWhether(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	f := h.call("POST", "/api/v1/auth/verify", "", map[string]any{"token": p.access}).want(http.StatusOK).fields()
	if f["valid"] != true || f["username"] != "ada" || f["role"] != "admin" {
		t.Errorf("got %v, want valid, ada, admin", f)
	}
	for _, bad := range []string{"", "garbage", p.refresh, p.access + "x"} {
		f := h.call("POST", "/api/v1/auth/verify", "", map[string]any{"token": bad}).want(http.StatusOK).fields()
		if f["valid"] != false || len(f) != 1 {
			t.Errorf("got %v, want only valid: false", f)
		}
	}
}

func TestProfile_PatchLeavesWhatIsAbsent(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.call("PATCH", "/api/v1/users/me", p.access, map[string]any{"first_name": "Ada", "last_name": "Byron"}).want(http.StatusOK)
	f := h.call("PATCH", "/api/v1/users/me", p.access, map[string]any{"last_name": nil}).want(http.StatusOK).fields()
	if f["first_name"] != "Ada" || f["last_name"] != "" || f["email"] != "ada@example.org" {
		t.Errorf("got %v, want the first name kept, the last cleared", f)
	}
	h.person("bob")
	h.call("PATCH", "/api/v1/users/me", p.access, map[string]any{"email": "bob@example.org", "current_password": goodPassword}).wantFault(http.StatusConflict, "conflict", "body.email")
	h.call("PATCH", "/api/v1/users/me", p.access, map[string]any{"email": "nowhere"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.email")
	h.call("PATCH", "/api/v1/users/me", p.access, map[string]any{"role": "admin"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.role")
}

func TestPassword_ChangeEndsTheOtherSessions(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	other := h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": "ada", "password": goodPassword}).want(http.StatusOK).fields()
	h.call("POST", "/api/v1/users/me/password", p.access, map[string]any{"current_password": "not the password", "new_password": "another good one"}).
		wantFault(http.StatusUnprocessableEntity, "invalid", "body.current_password")
	h.call("POST", "/api/v1/users/me/password", p.access, map[string]any{"current_password": goodPassword, "new_password": "short"}).
		wantFault(http.StatusUnprocessableEntity, "invalid", "body.new_password")
	h.call("POST", "/api/v1/users/me/password", p.access, map[string]any{"current_password": goodPassword, "new_password": "another good one"}).want(http.StatusNoContent)
	h.call("GET", "/api/v1/users/me", other["access_token"].(string), nil).want(http.StatusUnauthorized)
	h.call("GET", "/api/v1/users/me", p.access, nil).want(http.StatusOK)
	h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": "ada", "password": "another good one"}).want(http.StatusOK)
}

func TestDeleteMe_NeedsThePasswordAndTakesTheSensorsAlong(t *testing.T) {
	h := newHouse(t)
	h.person("ada")
	p := h.person("bob")
	serial, secret := h.sensor(p, map[string]any{"serial_no": "BOBS-1"})
	h.call("DELETE", "/api/v1/users/me", p.access, map[string]any{"password": "not the password"}).
		wantFault(http.StatusUnprocessableEntity, "invalid", "body.password")
	h.call("DELETE", "/api/v1/users/me", p.access, map[string]any{"password": goodPassword}).want(http.StatusNoContent)
	h.call("GET", "/api/v1/users/me", p.access, nil).want(http.StatusUnauthorized)
	h.call("POST", "/api/v1/sensors/"+serial+"/telemetry", secret, []byte(`{"a":1}`)).want(http.StatusUnauthorized)
	if n := h.changes.count(auth.SensorRemoved, serial); n != 1 {
		t.Errorf("got %d announcements that the sensor is gone, want 1", n)
	}
}

func (a answer) cookie() *http.Cookie {
	a.t.Helper()
	c, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
	if err != nil {
		a.t.Fatalf("%s: Set-Cookie %q: %v", a.what, a.header.Get("Set-Cookie"), err)
	}
	return c
}

func cookieLine(c *http.Cookie) string { return "Cookie: " + c.Name + "=" + c.Value }
