package auth_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

func mustRefresh(t *testing.T, f *authtest.Fixture, token string) auth.Grant {
	t.Helper()
	g, err := f.Service.Refresh(t.Context(), token, auth.Origin{})
	if err != nil {
		t.Fatalf("Refresh: got %v, want nil", err)
	}
	if !strings.HasPrefix(g.RefreshToken, "rt_") || len(g.RefreshToken) != 46 || g.RefreshToken == token {
		t.Fatalf("new refresh token: got %q, want rt_ and 43 other characters", g.RefreshToken)
	}
	mustPrincipal(t, f, g)
	return g
}

// wantOver expects that nothing of the session works any more.
func wantOver(t *testing.T, f *authtest.Fixture, grants ...auth.Grant) {
	t.Helper()
	for i, g := range grants {
		if _, err := f.Service.Authenticate(g.AccessToken); !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Errorf("access token %d: got %v, want ErrUnauthenticated", i, err)
		}
		if _, err := f.Service.Refresh(t.Context(), g.RefreshToken, auth.Origin{}); !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Errorf("refresh token %d: got %v, want ErrUnauthenticated", i, err)
		}
	}
}

func TestRefresh_LostReplyAndTwoTabsStayLoggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{})
		changes := watch(f)
		first := mustRegister(t, f, "ada")
		mustRefresh(t, f, first.RefreshToken) // its reply is lost
		time.Sleep(9 * time.Second)
		left, right := mustRefresh(t, f, first.RefreshToken), mustRefresh(t, f, first.RefreshToken)
		for range 5 {
			time.Sleep(10 * time.Minute)
			left, right = mustRefresh(t, f, left.RefreshToken), mustRefresh(t, f, right.RefreshToken)
		}
		if a, b := mustPrincipal(t, f, left), mustPrincipal(t, f, right); a.SessionID != b.SessionID {
			t.Errorf("sessions of the tabs: got %s and %s, want one", a.SessionID, b.SessionID)
		}
		if got := changes.take(); len(got) != 0 {
			t.Errorf("changes: got %+v, want none", got)
		}
	})
}

func TestRefresh_ReuseEndsTheFamilyAndItsSockets(t *testing.T) {
	for what, wait := range map[string]time.Duration{"after the grace": 10 * time.Second, "of a grandparent within it": 0} {
		synctest.Test(t, func(t *testing.T) {
			f := authtest.New(t, auth.Config{})
			changes := watch(f)
			stolen := mustRegister(t, f, "ada")
			other, err := f.Service.Login(t.Context(), logsIn("ada", password, afar))
			if err != nil {
				t.Fatal(err)
			}
			next := mustRefresh(t, f, stolen.RefreshToken)
			if wait == 0 {
				next = mustRefresh(t, f, next.RefreshToken)
			}
			time.Sleep(wait)
			p := mustPrincipal(t, f, next)
			if _, err := f.Service.Refresh(t.Context(), stolen.RefreshToken, auth.Origin{}); !errors.Is(err, auth.ErrReused) || !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Errorf("reuse %s: got %v, want ErrReused", what, err)
			}
			want := []auth.Change{{Kind: auth.SessionEnded, UserID: p.UserID, SessionID: p.SessionID}}
			if got := changes.take(); !slices.Equal(got, want) || f.Service.Live(p) {
				t.Errorf("reuse %s: got %+v, live %v, want %+v, dead", what, got, f.Service.Live(p), want)
			}
			wantOver(t, f, stolen, next)
			mustRefresh(t, f, other.RefreshToken)
		})
	}
}

func TestRefresh_DoesNotProlongTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{RefreshTTL: time.Hour})
		g := mustRegister(t, f, "ada")
		end := g.RefreshExpiresAt
		time.Sleep(59 * time.Minute)
		if g = mustRefresh(t, f, g.RefreshToken); g.RefreshExpiresAt != end {
			t.Errorf("end of the session: got %v, want %v still", g.RefreshExpiresAt, end)
		}
		time.Sleep(time.Minute)
		if _, err := f.Service.Refresh(t.Context(), g.RefreshToken, auth.Origin{}); !errors.Is(err, telemetry.ErrUnauthenticated) || errors.Is(err, auth.ErrReused) {
			t.Errorf("after an hour: got %v, want ErrUnauthenticated", err)
		}
	})
}

func TestRefresh_RefusesEverythingElse(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	g := mustRegister(t, f, "ada")
	for _, token := range []string{"", "rt_", g.AccessToken, "rt_" + strings.Repeat("A", 43), g.RefreshToken + "A", g.RefreshToken[3:], strings.ToUpper(g.RefreshToken), strings.Repeat("x", 1<<20)} {
		if _, err := f.Service.Refresh(t.Context(), token, auth.Origin{}); !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Errorf("Refresh(%.20q): got %v, want ErrUnauthenticated", token, err)
		}
	}
	mustRefresh(t, f, g.RefreshToken)
}

func TestLogout_EndsTheSessionOnceAndForAll(t *testing.T) {
	for what, end := range map[string]func(f *authtest.Fixture, g auth.Grant) error{
		"by refresh token": func(f *authtest.Fixture, g auth.Grant) error { return f.Service.Logout(t.Context(), g.RefreshToken) },
		"by access token": func(f *authtest.Fixture, g auth.Grant) error {
			return f.Service.EndSession(t.Context(), mustPrincipal(t, f, g))
		},
	} {
		f := authtest.New(t, auth.Config{})
		changes := watch(f)
		g, other := mustRegister(t, f, "ada"), mustRegister(t, f, "bob")
		p := mustPrincipal(t, f, g)
		if err := end(f, g); err != nil {
			t.Errorf("logout %s: got %v, want nil", what, err)
		}
		want := []auth.Change{{Kind: auth.SessionEnded, UserID: p.UserID, SessionID: p.SessionID}}
		if got := changes.take(); !slices.Equal(got, want) {
			t.Errorf("logout %s: got %+v, want %+v", what, got, want)
		}
		wantOver(t, f, g)
		if err := f.Service.Logout(t.Context(), g.RefreshToken); err != nil {
			t.Errorf("logout again: got %v, want nil", err)
		}
		mustRefresh(t, f, other.RefreshToken)
		// Its access token stays dead over a restart, which forgets everything but the store.
		f = authtest.Restart(t, auth.Config{}, f.Keys, f.Store)
		wantOver(t, f, g)
		mustPrincipal(t, f, other)
	}
	f := authtest.New(t, auth.Config{})
	for _, token := range []string{"", "nonsense", "rt_" + strings.Repeat("A", 43)} {
		if err := f.Service.Logout(t.Context(), token); err != nil {
			t.Errorf("Logout(%q): got %v, want nil", token, err)
		}
	}
	if err := f.Service.EndSession(t.Context(), auth.Principal{Kind: auth.Person, UserID: 1}); !errors.Is(err, telemetry.ErrInvalid) {
		t.Errorf("EndSession without a session: got %v, want ErrInvalid", err)
	}
}

func TestLogout_ClosesWhatIsOpenThoughTheStoreFails(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	changes := watch(f)
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	f.Store.Fail(fmt.Errorf("disk: %w", telemetry.ErrUnavailable))
	if err := f.Service.EndSession(t.Context(), p); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("EndSession: got %v, want ErrUnavailable", err)
	}
	if got := changes.take(); len(got) != 1 || f.Service.Live(p) {
		t.Errorf("session: got %d changes, live %v, want 1, dead", len(got), f.Service.Live(p))
	}
	if err := f.Service.LogoutAll(t.Context(), p.UserID); !errors.Is(err, telemetry.ErrUnavailable) || len(changes.take()) != 1 {
		t.Errorf("LogoutAll: got %v, want ErrUnavailable and a change", err)
	}
}

func TestLogoutAll_EndsEverySessionOfTheAccount(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	changes := watch(f)
	one, other := mustRegister(t, f, "ada"), mustRegister(t, f, "bob")
	two, err := f.Service.Login(t.Context(), logsIn("ada", password, afar))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Service.LogoutAll(t.Context(), one.User.ID); err != nil {
		t.Errorf("LogoutAll: got %v, want nil", err)
	}
	if got := changes.take(); !slices.Equal(got, []auth.Change{{Kind: auth.UserEnded, UserID: one.User.ID}}) {
		t.Errorf("changes: got %+v, want UserEnded", got)
	}
	wantOver(t, f, one, two)
	mustRefresh(t, f, other.RefreshToken)
}

func TestEndOtherSessions_LeavesTheOneThatAsks(t *testing.T) {
	f, ada, bob := withSensors(t, auth.Config{})
	bearer, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: read})
	var lost []auth.Grant
	for range 3 {
		g, err := f.Service.Login(t.Context(), logsIn("ada", password, afar))
		if err != nil {
			t.Fatal(err)
		}
		lost = append(lost, g)
	}
	other := mustPrincipal(t, f, lost[0])
	overMQTT, err := f.Service.Password(t.Context(), "ada", password, afar)
	if err != nil {
		t.Fatal(err)
	}
	changes := watch(f)
	if err := f.Service.EndOtherSessions(t.Context(), ada); err != nil {
		t.Errorf("EndOtherSessions: got %v, want nil", err)
	}
	want := []auth.Change{{Kind: auth.UserEnded, UserID: ada.UserID, SessionID: ada.SessionID}}
	if got := changes.take(); !slices.Equal(got, want) {
		t.Errorf("changes: got %+v, want %+v", got, want)
	}
	wantOver(t, f, lost...)
	for what, p := range map[string]auth.Principal{"another session": other, "a login over MQTT": overMQTT} {
		if f.Service.Live(p) {
			t.Errorf("%s: got it live, want it over", what)
		}
	}
	for what, p := range map[string]auth.Principal{"the session that asks": ada, "an API token": bearer, "somebody else": bob} {
		if !f.Service.Live(p) {
			t.Errorf("%s: got it over, want it live", what)
		}
	}
	for _, p := range []auth.Principal{bearer, overMQTT, {}} {
		if err := f.Service.EndOtherSessions(t.Context(), p); !errors.Is(err, telemetry.ErrForbidden) || !f.Service.Live(ada) {
			t.Errorf("%+v: got %v, want ErrForbidden and ada's session untouched", p, err)
		}
	}
}

// TestService_RemembersAnEndedSessionAsLongAsItsTokens: the list of ended sessions forgets, and never too early.
func TestService_RemembersAnEndedSessionAsLongAsItsTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{})
		g := mustRegister(t, f, "ada")
		if err := f.Service.EndSession(t.Context(), mustPrincipal(t, f, g)); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			wantOver(t, f, g)
			wantOver(t, authtest.Restart(t, auth.Config{}, f.Keys, f.Store), g)
			time.Sleep(time.Minute)
		}
		if err := f.Service.EndSession(t.Context(), mustPrincipal(t, f, mustRegister(t, f, "bob"))); err != nil {
			t.Fatal(err)
		}
		if got := f.Service.Stats().EndedSessions; got != 1 {
			t.Errorf("ended sessions remembered after 12 min: got %d, want the new one only", got)
		}
	})
}
