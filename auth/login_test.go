package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

func TestLogin_ByEitherNameOpensASession(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	mustRegister(t, f, "Ada")
	for _, login := range []string{"Ada", "ada", "ADA@example.org"} {
		g, err := f.Service.Login(t.Context(), logsIn(login, password, afar))
		if err != nil || g.User.Username != "Ada" || g.ExpiresIn != 10*time.Minute {
			t.Errorf("Login(%q): got %+v, %v, want Ada for 10 min", login, g, err)
			continue
		}
		if left := g.RefreshExpiresAt.Sub(telemetry.Now()); left < 30*24*time.Hour-time.Minute || left > 30*24*time.Hour {
			t.Errorf("session's life: got %v, want 30 days", left)
		}
		p := mustPrincipal(t, f, g)
		if p.Kind != auth.Person || p.UserID != g.User.ID || p.Username != "Ada" || p.Role != auth.RoleAdmin || p.SessionID == "" || p.Scope() != "u1" {
			t.Errorf("principal: got %+v", p)
		}
	}
}

func TestLogin_RefusesAlikeAndWorksAlikeForUnknownWrongAndDisabled(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	admin := mustPrincipal(t, f, mustRegister(t, f, "admin"))
	mustRegister(t, f, "bob")
	mustRegister(t, f, "eve")
	if _, err := f.Service.Administer(t.Context(), admin, "eve", auth.AccountChange{Disabled: new(true)}); err != nil {
		t.Fatal(err)
	}
	before := f.Service.Stats().LoginFailures
	var texts []string
	attempts := []struct{ login, password string }{
		{"bob", "wrong-password"}, {"bob", ""}, {"bob", password + "x"}, {"bob", strings.Repeat("x", 100_000)}, {"nobody", password}, {"eve", password},
		{"", password}, {"bob\x00", password}, {strings.Repeat("b", 10_000), password}, {"b_b", password}, {"%", password}, {"\xff\xfe", password},
	}
	for _, a := range attempts {
		_, err := f.Service.Login(t.Context(), logsIn(a.login, a.password, afar))
		_, merr := f.Service.Password(t.Context(), a.login, a.password, afar)
		for _, err := range []error{err, merr} {
			if !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Errorf("login %.20q, password %.10q: got %v, want ErrUnauthenticated", a.login, a.password, err)
				continue
			}
			texts = append(texts, err.Error())
		}
	}
	if texts = slices.Compact(texts); len(texts) != 1 {
		t.Errorf("refusals: got %q, want one text", texts)
	}
	// A failure is only booked after argon2 has run, so each attempt has paid for it.
	if got := f.Service.Stats().LoginFailures - before; got != int64(2*len(attempts)) {
		t.Errorf("passwords compared: got %d, want %d", got, 2*len(attempts))
	}
}

func TestLogin_FailuresThrottleTheNameAndOnlyFailuresCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{LoginFailuresPerMinute: 5})
		mustRegister(t, f, "ada")
		mustRegister(t, f, "bob")
		try := func(login, password string, i int) error {
			_, err := f.Service.Login(t.Context(), logsIn(login, password, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})))
			return err
		}
		for i := range 20 {
			if err := try("ada", password, 1); err != nil {
				t.Fatalf("right password, time %d: got %v, want nil", i, err)
			}
		}
		for i := range 5 { // from five addresses: the name counts
			if err := try("ADA", "wrong-password", i); !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Errorf("failure %d: got %v, want ErrUnauthenticated", i, err)
			}
		}
		compared := f.Service.Stats()
		err := try("ada", password, 9)
		re, ok := errors.AsType[*auth.RateError](err)
		if !ok || re.RetryAfter <= 0 || re.RetryAfter > 12*time.Second {
			t.Fatalf("right password after five failures: got %v, want RateError within 12 s", err)
		}
		if got := f.Service.Stats(); got.Logins != compared.Logins || got.LoginFailures != compared.LoginFailures || got.LoginsThrottled != 1 {
			t.Errorf("throttled login: got %+v after %+v, want no password compared, one throttled", got, compared)
		}
		if _, err := f.Service.Password(t.Context(), "ada", password, afar); !errors.Is(err, telemetry.ErrTooMany) {
			t.Errorf("over MQTT: got %v, want the same throttle", err)
		}
		if err := try("bob", password, 9); err != nil {
			t.Errorf("another account: got %v, want nil", err)
		}
		time.Sleep(re.RetryAfter)
		if err := try("ada", password, 9); err != nil {
			t.Errorf("after RetryAfter: got %v, want nil", err)
		}
		for i := range 5 { // the success has cleared the name
			if err := try("ada", "wrong-password", 10+i); !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Errorf("failure %d after a success: got %v, want ErrUnauthenticated", i, err)
			}
		}
	})
}

func TestLogin_FailuresThrottleTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{LoginFailuresPerMinute: 10})
		mustRegister(t, f, "ada")
		for i := range 30 {
			from := netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)) // one /64
			if _, err := f.Service.Login(t.Context(), logsIn(fmt.Sprint("guess", i), password, from)); !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Errorf("failure %d: got %v, want ErrUnauthenticated", i, err)
			}
		}
		if _, err := f.Service.Login(t.Context(), logsIn("ada", password, netip.MustParseAddr("2001:db8::ffff"))); !errors.Is(err, telemetry.ErrTooMany) {
			t.Errorf("31st from one /64: got %v, want ErrTooMany", err)
		}
		if _, err := f.Service.Login(t.Context(), logsIn("ada", password, netip.MustParseAddr("2001:db8:0:1::1"))); err != nil {
			t.Errorf("from the next /64: got %v, want nil", err)
		}
	})
}

// Devices that are set up and not registered yet try for ever, over MQTT, from the address of those who would register them.
func TestPassword_FailuresOverMQTTDoNotThrottleTheAddressElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{LoginFailuresPerMinute: 10})
		mustRegister(t, f, "ada")
		for i := range 30 {
			if _, err := f.Service.Password(t.Context(), fmt.Sprint("device", i), password, afar); !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Errorf("failure %d: got %v, want ErrUnauthenticated", i, err)
			}
		}
		if _, err := f.Service.Password(t.Context(), "ada", password, afar); !errors.Is(err, telemetry.ErrTooMany) {
			t.Errorf("31st over MQTT: got %v, want ErrTooMany", err)
		}
		if _, err := f.Service.Login(t.Context(), logsIn("ada", password, afar)); err != nil {
			t.Errorf("by HTTP: got %v, want nil", err)
		}
	})
}

// TestLogin_ConcurrentGuessesStayNearTheLimit: guesses that wait for a slot are asked again before they are compared.
func TestLogin_ConcurrentGuessesStayNearTheLimit(t *testing.T) {
	f := authtest.New(t, auth.Config{LoginFailuresPerMinute: 3})
	mustRegister(t, f, "ada")
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() { f.Service.Login(t.Context(), logsIn("ada", "wrong-password", afar)) })
	}
	wg.Wait()
	// Every slot may be at work on one when the limit is reached.
	if got, most := f.Service.Stats().LoginFailures, int64(3+max(1, runtime.GOMAXPROCS(0)/2)); got > most {
		t.Errorf("passwords compared of 40 at once with a limit of 3: got %d, want at most %d", got, most)
	}
}

func TestPassword_IsOverWhenTheAccountsAuthorityEnds(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	ada := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	p, err := f.Service.Password(t.Context(), "ada", password, afar)
	if err != nil || p.Kind != auth.Person || p.SessionID != "" || p.UserID != ada.UserID || !f.Service.Live(p) {
		t.Fatalf("Password: got %+v, %v, want ada, live", p, err)
	}
	if err := f.Service.EndSession(t.Context(), ada); err != nil || !f.Service.Live(p) {
		t.Errorf("after the end of some session: got %v, live %v, want live", err, f.Service.Live(p))
	}
	if err := f.Service.LogoutAll(t.Context(), ada.UserID); err != nil || f.Service.Live(p) {
		t.Errorf("after LogoutAll: got %v, live %v, want dead", err, f.Service.Live(p))
	}
	again, err := f.Service.Password(t.Context(), "ada", password, afar)
	if err != nil || !f.Service.Live(again) || f.Service.Live(p) {
		t.Errorf("logged in again: got %v, live %v, old one %v, want nil, true, false", err, f.Service.Live(again), f.Service.Live(p))
	}
}

// interrupting is a store that does something just before a session is created, an account deleted or a second factor written.
type interrupting struct {
	*authtest.Memory
	beforeSession func()
	beforeDelete  func()
	beforeFactor  func()
}

func (s *interrupting) PutSecondFactor(ctx context.Context, userID int64, factor auth.SecondFactor) error {
	if do := s.beforeFactor; do != nil {
		s.beforeFactor = nil
		do()
	}
	return s.Memory.PutSecondFactor(ctx, userID, factor)
}

func (s *interrupting) DeleteUser(ctx context.Context, id int64) error {
	if s.beforeDelete != nil {
		s.beforeDelete()
	}
	return s.Memory.DeleteUser(ctx, id)
}

func withInterruptions(t *testing.T) (*authtest.Fixture, *interrupting) {
	t.Helper()
	f := authtest.New(t, auth.Config{})
	store := &interrupting{Memory: f.Store}
	var err error
	f.Service, err = auth.NewService(auth.Config{}, f.Keys, store, store, store, f.Directory, f.Changes, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return f, store
}

func (s *interrupting) CreateSession(ctx context.Context, session auth.Session, hash []byte) error {
	if do := s.beforeSession; do != nil {
		s.beforeSession = nil
		do()
	}
	return s.Memory.CreateSession(ctx, session, hash)
}

// TestLogin_DoesNotSurviveAnEndThatItOverlapped: the old password was right when it was checked, and changed before the session existed.
func TestLogin_DoesNotSurviveAnEndThatItOverlapped(t *testing.T) {
	for what, end := range map[string]func(s *auth.Service, ada, admin auth.Principal) error{
		"password change": func(s *auth.Service, ada, _ auth.Principal) error {
			return s.ChangePassword(t.Context(), ada, password, "another-good-password")
		},
		"disabling": func(s *auth.Service, _, admin auth.Principal) error {
			_, err := s.Administer(t.Context(), admin, "ada", auth.AccountChange{Disabled: new(true)})
			return err
		},
		"deletion":   func(s *auth.Service, ada, _ auth.Principal) error { return s.DeleteAccount(t.Context(), ada, password) },
		"logout-all": func(s *auth.Service, ada, _ auth.Principal) error { return s.LogoutAll(t.Context(), ada.UserID) },
		"end of all others": func(s *auth.Service, ada, _ auth.Principal) error {
			return s.EndOtherSessions(t.Context(), ada)
		},
	} {
		t.Run(what, func(t *testing.T) {
			f, store := withInterruptions(t)
			s := f.Service
			admin := mustPrincipal(t, f, mustRegister(t, f, "admin"))
			ada := mustPrincipal(t, f, mustRegister(t, f, "ada"))
			store.beforeSession = func() {
				if err := end(s, ada, admin); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			g, err := s.Login(t.Context(), logsIn("ada", password, afar))
			if !errors.Is(err, telemetry.ErrUnauthenticated) || g != (auth.Grant{}) {
				t.Errorf("login overlapped by %s: got %v, %v, want ErrUnauthenticated", what, g, err)
			}
			ended, err := f.Store.EndedSince(t.Context(), 0)
			want := 2
			if what == "password change" || what == "end of all others" {
				want = 1 // the session that asked goes on
			}
			if err != nil || len(ended) != want {
				t.Errorf("sessions ended: got %v, %v, want %d, the one it opened too", ended, err, want)
			}
		})
	}
}

func TestLogin_StoreFailureIsNotARefusal(t *testing.T) {
	f := authtest.New(t, auth.Config{LoginFailuresPerMinute: 1})
	mustRegister(t, f, "ada")
	f.Store.Fail(fmt.Errorf("disk: %w", telemetry.ErrUnavailable))
	for range 3 {
		if _, err := f.Service.Login(t.Context(), logsIn("ada", password, afar)); !errors.Is(err, telemetry.ErrUnavailable) {
			t.Errorf("with a failing store: got %v, want ErrUnavailable", err)
		}
	}
	f.Store.Fail(nil)
	if _, err := f.Service.Login(t.Context(), logsIn("ada", password, afar)); err != nil {
		t.Errorf("afterwards: got %v, want nil: nothing was held against the name", err)
	}
}
