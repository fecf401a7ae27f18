package auth_test

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

var quiet = slog.New(slog.DiscardHandler)

func TestRegister_FirstAccountIsAdminAndNeedsTheTokenFromAfar(t *testing.T) {
	for _, c := range []struct {
		what          string
		setup, offers string
		remote        netip.Addr
		want          error
	}{
		{"from this machine", "", "", here, nil},
		{"from this machine over IPv6", "", "", netip.MustParseAddr("::1"), nil},
		{"from this machine, mapped", "", "", netip.MustParseAddr("::ffff:127.0.0.1"), nil},
		{"from afar without a token", "setup", "", afar, auth.ErrSetupToken},
		{"from afar with a wrong token", "setup", "setuP", afar, auth.ErrSetupToken},
		{"from afar with the token", "setup", "setup", afar, nil},
		{"from afar, no token exists", "", "", afar, auth.ErrSetupToken},
		{"from nowhere", "", "", noAddr, auth.ErrSetupToken},
	} {
		f := authtest.New(t, auth.Config{SetupToken: c.setup})
		r := registration("ada")
		r.Remote, r.SetupToken = c.remote, c.offers
		g, err := f.Service.Register(t.Context(), r)
		if !errors.Is(err, c.want) || c.want != nil && !errors.Is(err, telemetry.ErrForbidden) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		}
		if n, _ := f.Store.CountUsers(t.Context()); (n == 1) != (c.want == nil) {
			t.Errorf("%s: got %d accounts", c.what, n)
		}
		if c.want != nil {
			continue
		}
		second := registration("bob")
		second.Remote = afar
		g2, err := f.Service.Register(t.Context(), second)
		if err != nil || g.User.Role != auth.RoleAdmin || g2.User.Role != auth.RoleUser {
			t.Errorf("%s: got roles %s, %s, %v, want admin, user", c.what, g.User.Role, g2.User.Role, err)
		}
		if p := mustPrincipal(t, f, g); p.Role != auth.RoleAdmin || len(g.User.UID) != 26 || len(g.RefreshToken) != 46 {
			t.Errorf("%s: got %+v, UID %q, want an admin with a session", c.what, p, g.User.UID)
		}
	}
}

func TestRegister_StrangersRacingForAnEmptyServerAllFail(t *testing.T) {
	f := authtest.New(t, auth.Config{SetupToken: "setup"})
	var admins atomic.Int64
	var wg sync.WaitGroup
	for _, name := range []string{"eve", "mallory", "trudy"} {
		wg.Go(func() {
			r := registration(name)
			r.Remote = afar
			if g, err := f.Service.Register(t.Context(), r); err == nil && g.User.Role == auth.RoleAdmin {
				admins.Add(1)
			}
		})
	}
	mustRegister(t, f, "owner")
	wg.Wait()
	if admins.Load() != 0 {
		t.Errorf("strangers that became admin: got %d, want 0", admins.Load())
	}
}

func TestRegister_Closed(t *testing.T) {
	f := authtest.New(t, auth.Config{Registration: auth.RegistrationClosed})
	if _, err := f.Service.Register(t.Context(), registration("ada")); !errors.Is(err, telemetry.ErrForbidden) {
		t.Errorf("Register: got %v, want ErrForbidden", err)
	}
	u, err := f.Service.CreateUser(t.Context(), registration("ada"))
	if err != nil || u.Role != auth.RoleAdmin || u.ID == 0 {
		t.Errorf("CreateUser from the shell: got %+v, %v, want an admin", u, err)
	}
	if _, err := f.Service.Login(t.Context(), logsIn("ada", password, afar)); err != nil {
		t.Errorf("its login: got %v, want nil", err)
	}
}

func TestRegister_TakenNamesConflict(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	mustRegister(t, f, "ada")
	f.Directory.Put(auth.Device{SensorID: 1, Serial: "kitchen", OwnerID: 1})
	for _, c := range []struct{ username, email, field string }{
		{"ADA", "new@example.org", "username"}, {"new", "Ada@Example.org", "email"},
		{"kitchen", "new@example.org", "username"}, // over MQTT that name is the sensor's
	} {
		r := registration(c.username)
		r.Email = c.email
		_, err := f.Service.Register(t.Context(), r)
		if fe, ok := errors.AsType[*telemetry.FieldError](err); !ok || fe.Field != c.field || !errors.Is(err, telemetry.ErrConflict) {
			t.Errorf("%s, %s: got %v, want a conflict that names %s", c.username, c.email, err, c.field)
		}
	}
}

func TestRegister_NamesEveryWrongField(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	_, err := f.Service.Register(t.Context(), auth.Registration{
		Username: "a b", Email: "nobody", Password: "short", FirstName: "x\ny", LastName: strings.Repeat("é", 101), Remote: here,
	})
	many, ok := errors.AsType[auth.FieldErrors](err)
	if !ok || !errors.Is(err, telemetry.ErrInvalid) {
		t.Fatalf("got %v, want FieldErrors", err)
	}
	var fields []string
	for _, err := range many {
		fe, _ := errors.AsType[*telemetry.FieldError](err)
		fields = append(fields, fe.Field)
	}
	if want := []string{"username", "email", "password", "first_name", "last_name"}; !slices.Equal(fields, want) {
		t.Errorf("fields: got %v, want %v", fields, want)
	}
}

func TestRegister_ChecksFields(t *testing.T) {
	f := authtest.New(t, auth.Config{Registration: auth.RegistrationClosed})
	good := registration("ada")
	for _, c := range []struct {
		field string
		set   func(r *auth.Registration, v string)
		bad   []string
		good  []string
	}{
		{"username", func(r *auth.Registration, v string) { r.Username = v },
			[]string{"", "ab", strings.Repeat("a", 33), ".ada", "-ada", "_ada", "ada lovelace", "ada@home", "ada:1", "ada/1", "ädä", "ada\x00", "ada+", "$ada"},
			[]string{"abc", strings.Repeat("a", 32), "a.d-a_1", "0ada", "ADA"}},
		{"email", func(r *auth.Registration, v string) { r.Email = v },
			[]string{"", "ada", "@example.org", "ada@", "Ada <ada@example.org>", "<ada@example.org>", "ada@example.org\r\nBcc: x@example.org", "ada@example.org, bob@example.org",
				" ada@example.org", "ada@example.org ", strings.Repeat("a", 250) + "@x.org", "ada@exa mple.org", "ada@example.org (comment)", "a\u202eda@example.org", "a\u200bda@example.org", "ada@example.org\u00a0", "ad\ufeffa@example.org", "\u2028ada@example.org", "ada@exam\u00adple.org"},
			[]string{"ada@example.org", "ada+tag@sub.example.org", "ada@localhost", "ädä@example.org"}},
		{"first_name", func(r *auth.Registration, v string) { r.FirstName = v },
			[]string{strings.Repeat("é", 101), "a\tb", "a\x00b", "\xff", "a\u202eb", "a\nb", "a\u2028b", "a\u200bb", "\ufeffa", "a\U000e0041b", "Bob\r\nBcc: eve@example.org"},
			[]string{"", strings.Repeat("é", 100), "O'Neill", "Зоя", "<b>", "نرم\u200cافزار"}},
		{"last_name", func(r *auth.Registration, v string) { r.LastName = v }, []string{"a\x7fb"}, []string{"von und zu"}},
		{"password", func(r *auth.Registration, v string) { r.Password = v },
			[]string{"", "123456789", "ninechars", strings.Repeat("ab3$", 33), "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6", "aaaaaaaaaaaa", "ababababab", "1234567890", "0987654321",
				"abcdefghij", "qwertyuiop", "QWERTYUIOP", "password123", "Password123!", "p@ssw0rd2024", "passwordpassword", "sensorcast2026", "iloveyousomuch",
				"Ada@example.org", "username.long"},
			[]string{"violet-otter", "ten-chars!", strings.Repeat("ab3$", 32), "пароль-на-русском", "correct horse battery staple", "my password is fine", "raspberrypi in the attic"}},
	} {
		for _, v := range append(c.bad, c.good...) {
			r := good
			if v == "username.long" {
				r.Username = v
			}
			c.set(&r, v)
			_, err := f.Service.CreateUser(t.Context(), r)
			fe, named := errors.AsType[*telemetry.FieldError](err)
			switch bad := slices.Contains(c.bad, v); {
			case bad && (!named || fe.Field != c.field || !errors.Is(err, telemetry.ErrInvalid)):
				t.Errorf("%s %.40q: got %v, want ErrInvalid that names it", c.field, v, err)
			case bad && len(v) > 4 && v != "@example.org" && strings.Contains(err.Error(), v):
				t.Errorf("%s %.40q: got %q, want an error that does not repeat it", c.field, v, err)
			case !bad && err != nil:
				t.Errorf("%s %.40q: got %v, want nil", c.field, v, err)
			}
			if err == nil {
				u, _ := f.Store.UserByLogin(t.Context(), r.Username)
				f.Store.DeleteUser(t.Context(), u.ID)
			}
		}
	}
}

func TestRegister_IsLimitedPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{RegistrationsPerHour: 3})
		for _, name := range []string{"ada", "bob", "eve"} {
			mustRegister(t, f, name)
		}
		_, err := f.Service.Register(t.Context(), registration("joe"))
		re, ok := errors.AsType[*auth.RateError](err)
		if !ok || re.RetryAfter <= 0 || re.RetryAfter > 20*time.Minute {
			t.Fatalf("fourth: got %v, want RateError within 20 min", err)
		}
		r := registration("joe")
		r.Remote = afar
		if _, err := f.Service.Register(t.Context(), r); err != nil {
			t.Errorf("from another address: got %v, want nil", err)
		}
		if _, err := f.Service.Register(t.Context(), auth.Registration{Username: "?", Remote: here}); !errors.Is(err, telemetry.ErrInvalid) {
			t.Errorf("invalid while limited: got %v, want ErrInvalid: mistakes cost nothing", err)
		}
		time.Sleep(re.RetryAfter)
		mustRegister(t, f, "max")
	})
}

func TestNewService_RefusesImpossibleConfig(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	for what, cfg := range map[string]auth.Config{
		"ticket life of 31 s":  {TicketTTL: 31 * time.Second},
		"ticket life of 1 µs":  {TicketTTL: time.Microsecond},
		"negative access life": {AccessTTL: -time.Second},
		"unknown registration": {Registration: "maybe"},
	} {
		if s, err := auth.NewService(cfg, f.Keys, f.Store, f.Store, f.Store, f.Directory, f.Changes, quiet); err == nil || s != nil {
			t.Errorf("%s: got %v, %v, want an error", what, s, err)
		}
	}
}
