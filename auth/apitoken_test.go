package auth_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

var read, write = []string{auth.ScopeRead}, []string{auth.ScopeWrite}

func mustToken(t testing.TB, f *authtest.Fixture, p auth.Principal, d auth.TokenDraft) (auth.APIToken, string) {
	t.Helper()
	if d.Name == "" {
		d.Name = "a script"
	}
	made, token, err := f.Service.CreateToken(t.Context(), p, d)
	if err != nil {
		t.Fatalf("CreateToken(%+v): got %v, want nil", d, err)
	}
	return made, token
}

// mustBear is the principal of a new token.
func mustBear(t testing.TB, f *authtest.Fixture, p auth.Principal, d auth.TokenDraft) (auth.Principal, string) {
	t.Helper()
	_, token := mustToken(t, f, p, d)
	bearer, err := f.Service.Authenticate(token)
	if err != nil {
		t.Fatalf("Authenticate with a new token: got %v, want nil", err)
	}
	return bearer, token
}

func wantRefused(t testing.TB, f *authtest.Fixture, when, token string) {
	t.Helper()
	if p, err := f.Service.Authenticate(token); !errors.Is(err, telemetry.ErrUnauthenticated) || p != (auth.Principal{}) {
		t.Errorf("%s: got %v, %v, want ErrUnauthenticated", when, p, err)
	}
}

func TestAPIToken_OpensWhatItsScopesSay(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	for _, c := range []struct {
		draft           auth.TokenDraft
		view, manage    []string // serials
		registers, only bool
	}{
		{auth.TokenDraft{Scopes: read}, []string{"SN1", "SN2"}, nil, false, false},
		{auth.TokenDraft{Scopes: write}, []string{"SN1", "SN2"}, []string{"SN1", "SN2"}, true, false},
		{auth.TokenDraft{Scopes: []string{"read", "write", "read"}}, []string{"SN1", "SN2"}, []string{"SN1", "SN2"}, true, false},
		{auth.TokenDraft{Scopes: read, Serials: []string{"SN2"}}, []string{"SN2"}, nil, false, true},
		{auth.TokenDraft{Scopes: write, Serials: []string{"SN2", "SN1", "SN2"}}, []string{"SN1", "SN2"}, []string{"SN1", "SN2"}, false, true},
	} {
		p, token := mustBear(t, f, ada, c.draft)
		if !strings.HasPrefix(token, "sct_") || len(token) != 47 || p.Role != auth.RoleUser || p.UserID != ada.UserID || p.Username != "ada" || p.SessionID != "" {
			t.Errorf("%+v: got %q and %+v, want sct_, 43 characters, and ada without a session or a role", c.draft, token, p)
		}
		for _, serial := range []string{"SN1", "SN2", "X1", "absent"} {
			for action, want := range map[auth.Action][]string{auth.View: c.view, auth.Manage: c.manage, auth.Own: c.manage, auth.Publish: nil} {
				if got := f.Directory.Can(p, action, serial); got != slices.Contains(want, serial) {
					t.Errorf("%+v: action %d on %s: got %v", c.draft, action, serial, got)
				}
			}
		}
		if got := f.Directory.SerialsOf(p); !slices.Equal(got, c.view) {
			t.Errorf("%+v: SerialsOf: got %v, want %v", c.draft, got, c.view)
		}
		if _, confined := p.Confined(); confined != c.only || auth.MayRegister(p) != c.registers || p.ReadOnly() != (c.manage == nil) {
			t.Errorf("%+v: got confined %v, registers %v, read-only %v", c.draft, confined, auth.MayRegister(p), p.ReadOnly())
		}
		if f.Directory.MaySubscribe(p, "$SYS/#") || f.Directory.MayReceive(p, "$SYS/broker/uptime") {
			t.Errorf("%+v: an admin's token reads $SYS", c.draft)
		}
	}
	confined, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: read, Serials: []string{"SN1"}})
	all, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: read})
	f.Directory.Put(auth.Device{SensorID: 13, Serial: "SN3", OwnerID: ada.UserID})
	if f.Directory.Can(confined, auth.View, "SN3") || !f.Directory.Can(all, auth.View, "SN3") {
		t.Errorf("a sensor registered later: got it seen by who is for another, or not by who is for all")
	}
	if !f.Directory.MaySubscribe(confined, "#") || f.Directory.MaySubscribe(confined, "sensors/SN2/#") || f.Directory.MayReceive(confined, "sensors/SN2/telemetry") || !f.Directory.MayReceive(confined, "sensors/SN1/telemetry") {
		t.Errorf("subscriptions with a token for SN1: want wildcards granted, and SN1 delivered alone")
	}
}

func TestCreateToken_NamesEveryMistake(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	for _, c := range []struct {
		draft auth.TokenDraft
		want  []string
	}{
		{auth.TokenDraft{}, []string{"name", "scopes"}},
		{auth.TokenDraft{Name: " \t", Scopes: []string{"read", "admin"}, Serials: []string{}}, []string{"name", "scopes[1]", "serial_nos"}},
		{auth.TokenDraft{Name: "a\x00b", Scopes: read, Serials: []string{"SN1", "absent"}, ExpiresAt: telemetry.Now() - 1}, []string{"name", "serial_nos[1]", "expires_at"}},
		{auth.TokenDraft{Name: strings.Repeat("ä", 101), Scopes: read, Serials: []string{"X1"}}, []string{"name", "serial_nos[0]"}},
		{auth.TokenDraft{Name: "a", Scopes: read, Serials: slices.Repeat([]string{"SN1"}, 101)}, []string{"serial_nos"}},
	} {
		_, token, err := f.Service.CreateToken(t.Context(), ada, c.draft)
		if got := fieldsOf(err); !slices.Equal(got, c.want) || token != "" || !errors.Is(err, telemetry.ErrInvalid) {
			t.Errorf("%+v: got token %q, mistakes in %v (%v), want %v", c.draft, token, got, err, c.want)
		}
	}
	absent, foreign := auth.TokenDraft{Name: "a", Scopes: read, Serials: []string{"absent"}}, auth.TokenDraft{Name: "a", Scopes: read, Serials: []string{"X1"}}
	_, _, a := f.Service.CreateToken(t.Context(), ada, absent)
	if _, _, b := f.Service.CreateToken(t.Context(), ada, foreign); a.Error() != b.Error() {
		t.Errorf("absent: %v, foreign: %v, want the same", a, b)
	}
}

func fieldsOf(err error) (fields []string) {
	if fe, ok := err.(*telemetry.FieldError); ok {
		return []string{fe.Field}
	}
	var several auth.FieldErrors
	errors.As(err, &several)
	for _, e := range several {
		fields = append(fields, fieldsOf(e)...)
	}
	return fields
}

// Whoever has a token, or a password over MQTT, cannot make of it something that lasts longer.
func TestCreateToken_TakesASession(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	bearer, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: write})
	overMQTT, err := f.Service.Password(t.Context(), "ada", password, here)
	if err != nil {
		t.Fatal(err)
	}
	device, _ := f.Directory.Authenticate("SN1", "secret-of-SN1")
	for _, p := range []auth.Principal{bearer, overMQTT, device, {}} {
		if _, _, err := f.Service.CreateToken(t.Context(), p, auth.TokenDraft{Name: "a", Scopes: read}); !errors.Is(err, telemetry.ErrForbidden) {
			t.Errorf("%+v: got %v, want ErrForbidden", p, err)
		}
	}
	if err := f.Service.EndSession(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Service.CreateToken(t.Context(), ada, auth.TokenDraft{Name: "a", Scopes: read}); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("after logout: got %v, want ErrUnauthenticated", err)
	}
}

func TestCreateToken_IsBoundedAlsoWhenManyAreMadeAtOnce(t *testing.T) {
	f, ada, bob := withSensors(t, auth.Config{})
	var made, refused atomic.Int64
	var wg sync.WaitGroup
	for range auth.MaxAPITokens + 20 {
		wg.Go(func() {
			_, _, err := f.Service.CreateToken(t.Context(), ada, auth.TokenDraft{Name: "a", Scopes: read})
			switch {
			case err == nil:
				made.Add(1)
			case errors.Is(err, telemetry.ErrConflict):
				refused.Add(1)
			default:
				t.Errorf("got %v, want nil or ErrConflict", err)
			}
		})
	}
	wg.Wait()
	if made.Load() != auth.MaxAPITokens || refused.Load() != 20 || len(f.Service.Tokens(ada)) != auth.MaxAPITokens {
		t.Errorf("got %d made, %d refused, %d listed", made.Load(), refused.Load(), len(f.Service.Tokens(ada)))
	}
	mustToken(t, f, bob, auth.TokenDraft{Scopes: read})
	if err := f.Service.DeleteToken(t.Context(), ada, f.Service.Tokens(ada)[7].ID); err != nil {
		t.Fatal(err)
	}
	mustToken(t, f, ada, auth.TokenDraft{Scopes: read})
}

func TestAuthenticate_MalformedAPITokensAreNobodys(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	_, good := mustToken(t, f, ada, auth.TokenDraft{Scopes: read})
	last := good[len(good)-1]
	for _, token := range []string{
		"sct_", "sct_x", good[:len(good)-1], good + "A", good + "=", " " + good, good + " ", good + "\n", strings.ToUpper(good), strings.ToLower(good) + "x",
		"sct_" + good, good[4:], "SCT_" + good[4:], "sdk_" + good[4:], "sct_" + strings.Repeat("A", 43), "sct_" + strings.Repeat("\x00", 43),
		good[:len(good)-1] + string(last^1), "sct_" + strings.Repeat("A", 1<<20), good + "\x00",
	} {
		wantRefused(t, f, fmt.Sprintf("%.60q", token), token)
		if _, err := f.Service.Password(t.Context(), "ada", token, here); !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Errorf("%.60q as password: got %v, want ErrUnauthenticated", token, err)
		}
	}
	if got := f.Service.Stats(); got.APITokensRefused == 0 || got.APITokens != 1 {
		t.Errorf("stats: got %+v, want refusals counted and one token", got)
	}
}

func FuzzAuthenticate_OnlyTheTokenItselfIsGood(f *testing.F) {
	house, ada, _ := withSensors(f, auth.Config{})
	_, good := mustToken(f, house, ada, auth.TokenDraft{Scopes: read})
	for _, seed := range []string{"", "sct_", good, good[:46], good + "A", "sct_" + strings.Repeat("/", 43)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if p, err := house.Service.Authenticate(token); (err == nil) != (token == good) || err != nil && p != (auth.Principal{}) {
			t.Errorf("%q: got %v, %v", token, p, err)
		}
	})
}

func TestPassword_TakesAnAPITokenFromItsOwnAccountOnly(t *testing.T) {
	f, ada, bob := withSensors(t, auth.Config{LoginFailuresPerMinute: 2})
	p, token := mustBear(t, f, bob, auth.TokenDraft{Scopes: read})
	for range 5 { // no throttle is charged
		for _, login := range []string{"ada", "ada@example.org", "nobody", "bo", "bob@"} {
			if _, err := f.Service.Password(t.Context(), login, token, afar); !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Errorf("as %s: got %v, want ErrUnauthenticated", login, err)
			}
		}
	}
	for _, login := range []string{"bob", "BOB", "bob@example.org", "Bob@Example.org"} {
		if got, err := f.Service.Password(t.Context(), login, token, afar); err != nil || got != p {
			t.Errorf("as %s: got %+v, %v, want %+v", login, got, err, p)
		}
	}
	if _, err := f.Service.UpdateProfile(t.Context(), bob, auth.ProfileChange{Email: new("robert@example.org"), Password: password}); err != nil {
		t.Fatal(err)
	}
	for login, want := range map[string]error{"robert@example.org": nil, "bob@example.org": telemetry.ErrUnauthenticated} {
		if _, err := f.Service.Password(t.Context(), login, token, afar); !errors.Is(err, want) {
			t.Errorf("as %s after the address changed: got %v, want %v", login, err, want)
		}
	}
	if _, err := f.Service.Login(t.Context(), logsIn("bob", token, here)); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("a session for a token: got %v, want ErrUnauthenticated", err)
	}
	if err := f.Service.ChangePassword(t.Context(), ada, password, "sct_a-password-of-my-own"); !errors.Is(err, telemetry.ErrInvalid) {
		t.Errorf("a password that begins like a token: got %v, want ErrInvalid", err)
	}
}

func TestScope_IsTheTokensOwn(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	one, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: read})
	two, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: read})
	if one.Scope() == two.Scope() || one.Scope() == ada.Scope() || strings.Contains(one.Scope(), "/") {
		t.Errorf("scopes: got %q, %q and %q, want different ones without a slash", one.Scope(), two.Scope(), ada.Scope())
	}
	for _, p := range []auth.Principal{one, ada} {
		if got := auth.TokenOfScope(p.Scope()); got != p.TokenID {
			t.Errorf("TokenOfScope(%q): got %q, want %q", p.Scope(), got, p.TokenID)
		}
	}
	if got, good := f.Service.Bearer(ada.UserID, one.TokenID); !good || got != one {
		t.Errorf("Bearer: got %+v, %v, want %+v", got, good, one)
	}
}

// However many tokens an account has, it asks for as many tickets as it may.
func TestTicket_LimitIsTheAccounts(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{TicketsPerMinute: 3})
	mustMintAll(t, f, ada)
	for range 2 {
		p, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: read})
		mustMintAll(t, f, p)
	}
	p, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: read})
	if _, err := f.Service.MintTicket(p, nil, true); !errors.Is(err, telemetry.ErrTooMany) {
		t.Errorf("the fourth: got %v, want ErrTooMany", err)
	}
}

func TestTicket_OfAnAPITokenIsNoMoreThanIt(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	p, _ := mustBear(t, f, ada, auth.TokenDraft{Scopes: read, Serials: []string{"SN2"}})
	if _, err := f.Service.MintTicket(p, []string{"SN2", "SN1"}, false); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("a ticket for another sensor: got %v, want ErrNotFound", err)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	ticket, err := f.Service.MintTicket(p, []string{"SN2"}, false)
	if err != nil {
		t.Fatal(err)
	}
	all, unused := mustMintAll(t, f, p), mustMintAll(t, f, p)
	resume, later := mustMintResume(t, f, auth.Claim{Principal: p, All: true, Until: until}, time.Minute), mustMintResume(t, f, auth.Claim{Principal: p, All: true, Until: until}, time.Minute)
	for _, text := range []string{ticket.Token, all.Token} {
		if claim, err := f.Service.RedeemTicket(text); err != nil || claim.Principal != p {
			t.Errorf("redeem: got %+v, %v, want %+v", claim, err, p)
		}
	}
	after := authtest.Restart(t, auth.Config{}, f.Keys, f.Store)
	for _, serial := range []string{"SN1", "SN2"} {
		dev, _ := f.Directory.Lookup(serial)
		after.Directory.Put(dev)
	}
	claim, err := after.Service.RedeemResume(t.Context(), resume)
	if err != nil || !claim.All || !slices.Equal(after.Directory.SerialsOf(claim.Principal), []string{"SN2"}) {
		t.Errorf("resume after a restart: got %+v, %v, want all that the token is for", claim, err)
	}
	for _, house := range []*authtest.Fixture{f, after} {
		if err := house.Service.DeleteToken(t.Context(), ada, p.TokenID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Service.RedeemTicket(unused.Token); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("a ticket of a revoked token: got %v, want ErrUnauthenticated", err)
	}
	if _, err := after.Service.RedeemResume(t.Context(), later); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("a resume token of a revoked token: got %v, want ErrUnauthenticated", err)
	}
	if _, err := f.Service.MintTicket(p, nil, true); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("mint with a revoked token: got %v, want ErrUnauthenticated", err)
	}
}
