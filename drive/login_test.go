package drive

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"sensorcast/auth/authtest"
	"sensorcast/bridge"
)

// sessions are the ids of p's open sessions, newest login first.
func (p *person) sessions() (ids []string) {
	p.s.t.Helper()
	var page struct{ Items []struct{ ID string } }
	p.call("GET", "/api/v1/users/me/sessions", nil, 200, &page)
	for _, s := range page.Items {
		ids = append(ids, s.ID)
	}
	return ids
}

// enrol begins a second factor and returns the code to confirm it with.
func (p *person) enrol() (code string) {
	p.s.t.Helper()
	var begun struct{ Secret string }
	p.call("POST", "/api/v1/users/me/second-factor", map[string]any{"password": p.password}, 200, &begun)
	return authtest.Code(p.s.t, begun.Secret)
}

// rotate exchanges a refresh token.
func (p *person) rotate(refresh string, want int) (next string) {
	p.s.t.Helper()
	status, reply := p.request("POST", "/api/v1/auth/refresh", "", map[string]any{"refresh_token": refresh})
	if status != want {
		p.s.t.Fatalf("refresh = %d %s, want %d", status, reply, want)
	}
	var grant struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(reply, &grant); err != nil {
		p.s.t.Fatalf("refresh: %v in %s", err, reply)
	}
	return grant.RefreshToken
}

// TestRefresh_ReuseClosesTheSocketsWithinASecond: a token that was exchanged, and its successor too, comes again: somebody holds a copy.
func TestRefresh_ReuseClosesTheSocketsWithinASecond(t *testing.T) {
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	other := ann.watch("SN1")
	stolen := *ann
	token, refresh := stolen.login()
	stolen.token = token
	viewer := stolen.watch("SN1")
	stolen.rotate(stolen.rotate(refresh, 200), 200)
	stolen.rotate(refresh, 401)
	reused := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	for err == nil {
		_, err = viewer.Next(ctx)
	}
	if closed, ok := errors.AsType[*bridge.Closed](err); !ok || closed.Code != 4401 || time.Since(reused) > time.Second {
		t.Errorf("socket of the session: got %v after %v, want it closed with 4401 within a second", err, time.Since(reused))
	}
	if status, _ := stolen.request("GET", "/api/v1/users/me", token, nil); status != 401 {
		t.Errorf("its access token: got %d, want 401", status)
	}
	if out, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", `{"t":1}`); err != nil {
		t.Fatalf("publish: %v %s", err, out)
	}
	nextReading(t, other) // the other session watches on
}

// TestSecondFactor_PasswordAloneOpensNoMQTT: and mosquitto_sub is told so.
// TestRefresh_OfAHundredAtOnceIsOneSession: tabs that wake up together stay logged in, and are one session, which a copy of what they had ends for all.
func TestRefresh_OfAHundredAtOnceIsOneSession(t *testing.T) {
	const tabs = 100
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	bystander := *ann
	ann.token, _ = ann.login()
	_, refresh := ann.login()
	grants := make([]struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}, tabs)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range tabs {
		all.Go(func() {
			<-start
			status, reply, err := ann.try("POST", "/api/v1/auth/refresh", "", map[string]any{"refresh_token": refresh})
			if err != nil || status != 200 || json.Unmarshal(reply, &grants[i]) != nil {
				t.Errorf("tab %d: got %d %s, %v, want 200", i, status, reply, err)
			}
		})
	}
	close(start)
	all.Wait()
	if got := len(ann.sessions()); got != 3 {
		t.Errorf("got %d sessions, want 3: of the registration and two logins", got)
	}
	distinct := map[string]bool{}
	for _, g := range grants {
		distinct[g.Refresh] = true
		if status, _ := s.ask(g.Access); status != 200 {
			t.Errorf("a tab's access token: got %d, want 200", status)
		}
	}
	if len(distinct) != tabs {
		t.Errorf("got %d refresh tokens, want %d", len(distinct), tabs)
	}
	ann.rotate(ann.rotate(grants[0].Refresh, 200), 200)
	ann.rotate(refresh, 401)
	for _, g := range grants {
		if status, _ := s.ask(g.Access); status != 401 {
			t.Fatalf("a tab of the session that ended: got %d, want 401", status)
		}
	}
	ann.rotate(grants[1].Refresh, 401)
	for _, other := range []string{ann.token, bystander.token} {
		if status, _ := s.ask(other); status != 200 {
			t.Errorf("another session: got %d, want 200", status)
		}
	}
}

func TestSecondFactor_PasswordAloneOpensNoMQTT(t *testing.T) {
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	if out, err := s.mosquittoPub("ann", ann.password, "sensors/x/telemetry", "1", "-V", "5"); err != nil {
		t.Fatalf("before: %v %s", err, out)
	}
	ann.call("POST", "/api/v1/users/me/second-factor/confirm", map[string]any{"code": ann.enrol()}, 200, nil)
	out, err := s.mosquittoPub("ann", ann.password, "sensors/x/telemetry", "1", "-V", "5")
	if err == nil || !strings.Contains(strings.ToLower(out), "not authorized") {
		t.Errorf("mosquitto_pub: got %v, %q, want it refused as not authorized", err, out)
	}
	if !strings.Contains(s.log.String(), "use an API token") {
		t.Error("the log does not say what to use in place of the password")
	}
}

// TestThrottle_OutlivesAKill: whoever guesses must not be forgiven because the server was killed and started again.
func TestThrottle_OutlivesAKill(t *testing.T) {
	dir := t.TempDir()
	// Two failures at once, and then one in 30 s: longer than two starts take.
	start := func() *instance { return serve(t, dir, "--login-failures-per-minute", "2") }
	s := start()
	ann, bob := s.register("ann"), s.register("bob")
	try := func(login, password string, want int) {
		t.Helper()
		if status, reply := ann.request("POST", "/api/v1/auth/login", "", map[string]any{"login": login, "password": password}); status != want {
			t.Errorf("login of %s: got %d %s, want %d", login, status, reply, want)
		}
	}
	for range 2 {
		try("ann", "not the password", 401)
	}
	try("ann", ann.password, 429)
	time.Sleep(3 * time.Second) // what is written every two seconds is written
	s.kill()
	s = start()
	ann.s = s
	try("ann", ann.password, 429)
	try("bob", bob.password, 200)
}
