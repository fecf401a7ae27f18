package auth_test

import (
	"errors"
	"fmt"
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

// withSensors returns a fixture where ada (admin, since first) owns SN1 and SN2, and bob X1.
func withSensors(t testing.TB, cfg auth.Config) (f *authtest.Fixture, ada, bob auth.Principal) {
	t.Helper()
	f = authtest.New(t, cfg)
	ada = mustPrincipal(t, f, mustRegister(t, f, "ada"))
	bob = mustPrincipal(t, f, mustRegister(t, f, "bob"))
	for i, serial := range []string{"SN1", "SN2"} {
		f.Directory.Put(auth.Device{SensorID: int64(11 + i), Serial: serial, OwnerID: ada.UserID, Secrets: []auth.Secret{{Hash: f.Directory.HashSecret("secret-of-" + serial)}}})
	}
	f.Directory.Put(auth.Device{SensorID: 21, Serial: "X1", OwnerID: bob.UserID})
	return f, ada, bob
}

func TestTicket_WorksOnceAmong200(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{TicketTTL: 30 * time.Second})
	ticket := mustMintAll(t, f, ada)
	var redeemed, refused atomic.Int64
	gun := make(chan struct{})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			<-gun
			switch _, err := f.Service.RedeemTicket(ticket.Token); {
			case err == nil:
				redeemed.Add(1)
			case errors.Is(err, telemetry.ErrUnauthenticated):
				refused.Add(1)
			default:
				t.Errorf("RedeemTicket: got %v, want nil or ErrUnauthenticated", err)
			}
		})
	}
	close(gun)
	wg.Wait()
	if redeemed.Load() != 1 || refused.Load() != 199 {
		t.Errorf("200 at once with one ticket: got %d redeemed, %d refused, want 1, 199", redeemed.Load(), refused.Load())
	}
	if got := f.Service.Stats(); got.TicketsReplayed != 199 || got.TicketsRedeemed != 1 || got.TicketsMinted != 1 {
		t.Errorf("stats: got %+v, want 1 minted, 1 redeemed, 199 replayed", got)
	}
}

func TestTicket_ClaimSaysWhoAndWhat(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	device, err := f.Directory.Authenticate("SN1", "secret-of-SN1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p       auth.Principal
		serials []string
		all     bool
		want    auth.Claim
	}{
		{ada, []string{"SN2", "SN1", "SN2"}, false, auth.Claim{Principal: ada, Serials: []string{"SN2", "SN1"}, Kind: "user"}},
		{ada, nil, true, auth.Claim{Principal: ada, All: true, Kind: "user"}},
		{device, nil, false, auth.Claim{Principal: device, Serials: []string{"SN1"}, Kind: "sensor"}},
		{device, []string{"SN2", "X1"}, true, auth.Claim{Principal: device, Serials: []string{"SN1"}, Kind: "sensor"}},
	} {
		ticket, err := f.Service.MintTicket(c.p, c.serials, c.all)
		if err != nil {
			t.Errorf("mint %v, all %v: got %v, want nil", c.serials, c.all, err)
			continue
		}
		got, err := f.Service.RedeemTicket(ticket.Token)
		if err != nil || got.Principal != c.want.Principal || !slices.Equal(got.Serials, c.want.Serials) || got.All != c.want.All || got.Kind != c.want.Kind {
			t.Errorf("claim of %v, all %v: got %+v, %v, want %+v", c.serials, c.all, got, err, c.want)
		}
	}
}

func TestMintTicket_RefusesWhatCannotBeViewed(t *testing.T) {
	f, ada, bob := withSensors(t, auth.Config{})
	hundred := slices.Repeat([]string{"SN1"}, 100)
	_, unknown := f.Service.MintTicket(ada, []string{"GONE"}, false)
	for _, c := range []struct {
		what    string
		p       auth.Principal
		serials []string
		all     bool
		want    error
	}{
		{"another's sensor", ada, []string{"SN1", "X1"}, false, telemetry.ErrNotFound}, // ada is admin: that gives no sight
		{"the admin's sensor", bob, []string{"SN1"}, false, telemetry.ErrNotFound},
		{"an unknown sensor", ada, []string{"GONE"}, false, telemetry.ErrNotFound},
		{"nothing", ada, nil, false, telemetry.ErrInvalid},
		{"all and some", ada, []string{"SN1"}, true, telemetry.ErrInvalid},
		{"101 serials", ada, append(hundred, "SN2"), false, telemetry.ErrInvalid},
		{"100 serials", ada, hundred, false, nil},
		{"anonymous", auth.Principal{}, nil, true, telemetry.ErrUnauthenticated},
		{"a sensor that is gone", auth.Principal{Kind: auth.Sensor, SensorID: 99, Serial: "GONE"}, nil, false, telemetry.ErrUnauthenticated},
	} {
		_, err := f.Service.MintTicket(c.p, c.serials, c.all)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		}
		if c.want == telemetry.ErrNotFound && err.Error() != unknown.Error() {
			t.Errorf("%s: got %q, want the same words as for an unknown sensor, %q", c.what, err, unknown)
		}
	}
}

func TestTicket_OfAHundredLongestSerialsFits(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	var serials []string
	for i := range 100 {
		serials = append(serials, fmt.Sprintf("%064d", i))
		f.Directory.Put(auth.Device{SensorID: int64(1000 + i), Serial: serials[i], OwnerID: ada.UserID})
	}
	ticket, err := f.Service.MintTicket(ada, serials, false)
	if err != nil || len(ticket.Token) > 12<<10 {
		t.Fatalf("mint: got %d bytes, %v, want at most 12 KiB", len(ticket.Token), err)
	}
	if c, err := f.Service.RedeemTicket(ticket.Token); err != nil || len(c.Serials) != 100 {
		t.Errorf("redeem: got %d serials, %v, want 100", len(c.Serials), err)
	}
}

func TestRedeemTicket_AsksTheAccessOfNow(t *testing.T) {
	for _, c := range []struct {
		what    string
		serials []string
		all     bool
		sensor  bool
		between func(t *testing.T, f *authtest.Fixture, ada auth.Principal)
		want    error
		left    []string
	}{
		{"nothing happens", []string{"SN1", "SN2"}, false, false, func(*testing.T, *authtest.Fixture, auth.Principal) {}, nil, []string{"SN1", "SN2"}},
		{"one sensor goes", []string{"SN1", "SN2"}, false, false, func(_ *testing.T, f *authtest.Fixture, _ auth.Principal) { f.Directory.Remove("SN1") }, nil, []string{"SN2"}},
		{"the only sensor goes", []string{"SN1"}, false, false, func(_ *testing.T, f *authtest.Fixture, _ auth.Principal) { f.Directory.Remove("SN1") }, telemetry.ErrForbidden, nil},
		{"the only sensor becomes another's", []string{"SN1"}, false, false, func(_ *testing.T, f *authtest.Fixture, _ auth.Principal) {
			f.Directory.Put(auth.Device{SensorID: 11, Serial: "SN1", OwnerID: 2})
		}, telemetry.ErrForbidden, nil},
		{"all sensors go, ticket for all", nil, true, false, func(_ *testing.T, f *authtest.Fixture, _ auth.Principal) {
			f.Directory.Load(nil)
		}, nil, nil},
		{"logout", nil, true, false, func(t *testing.T, f *authtest.Fixture, ada auth.Principal) {
			if err := f.Service.EndSession(t.Context(), ada); err != nil {
				t.Error(err)
			}
		}, telemetry.ErrUnauthenticated, nil},
		{"logout everywhere", []string{"SN1"}, false, false, func(t *testing.T, f *authtest.Fixture, ada auth.Principal) {
			if err := f.Service.LogoutAll(t.Context(), ada.UserID); err != nil {
				t.Error(err)
			}
		}, telemetry.ErrUnauthenticated, nil},
		{"sensor's secret is rotated", nil, false, true, func(_ *testing.T, f *authtest.Fixture, _ auth.Principal) {
			f.Directory.Put(auth.Device{SensorID: 11, Serial: "SN1", OwnerID: 1, Secrets: []auth.Secret{{Hash: f.Directory.HashSecret("another-secret-16")}}})
		}, telemetry.ErrUnauthenticated, nil},
		{"sensor is deleted", nil, false, true, func(_ *testing.T, f *authtest.Fixture, _ auth.Principal) { f.Directory.Remove("SN1") }, telemetry.ErrForbidden, nil},
		{"sensor is registered anew", nil, false, true, func(_ *testing.T, f *authtest.Fixture, _ auth.Principal) {
			f.Directory.Put(auth.Device{SensorID: 12, Serial: "SN1", OwnerID: 1})
		}, telemetry.ErrForbidden, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			f, p, _ := withSensors(t, auth.Config{})
			ada := p
			if c.sensor {
				var err error
				if p, err = f.Directory.Authenticate("SN1", "secret-of-SN1"); err != nil {
					t.Fatal(err)
				}
			}
			ticket, err := f.Service.MintTicket(p, c.serials, c.all)
			if err != nil {
				t.Fatal(err)
			}
			c.between(t, f, ada)
			claim, err := f.Service.RedeemTicket(ticket.Token)
			if !errors.Is(err, c.want) || !slices.Equal(claim.Serials, c.left) {
				t.Errorf("got %v, %v, want %v, %v", claim.Serials, err, c.left, c.want)
			}
			if _, err := f.Service.RedeemTicket(ticket.Token); !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Errorf("again: got %v, want ErrUnauthenticated: the first attempt burnt it", err)
			}
		})
	}
}

func TestTicket_OfAnEarlierProcessIsVoid(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	ticket := mustMintAll(t, f, ada)
	after := authtest.Restart(t, auth.Config{}, f.Keys, f.Store)
	if _, err := after.Service.RedeemTicket(ticket.Token); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("after a restart: got %v, want ErrUnauthenticated", err)
	}
	if _, err := f.Service.RedeemTicket(ticket.Token); err != nil {
		t.Errorf("in its own process: got %v, want nil", err)
	}
}

func TestMintTicket_IsLimitedPerAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, ada, bob := withSensors(t, auth.Config{TicketsPerMinute: 600})
		for range 600 {
			mustMintAll(t, f, ada)
		}
		_, err := f.Service.MintTicket(ada, nil, true)
		re, ok := errors.AsType[*auth.RateError](err)
		if !ok || !errors.Is(err, telemetry.ErrTooMany) || re.RetryAfter <= 0 || re.RetryAfter > 100*time.Millisecond || re.Seconds() != 1 {
			t.Fatalf("601st in a minute: got %v, want RateError with at most 100 ms", err)
		}
		mustMintAll(t, f, bob)
		time.Sleep(re.RetryAfter)
		mustMintAll(t, f, ada)
		if _, err := f.Service.MintTicket(ada, nil, true); !errors.Is(err, telemetry.ErrTooMany) {
			t.Errorf("at once after that: got %v, want ErrTooMany", err)
		}
		time.Sleep(time.Minute)
		for range 600 {
			mustMintAll(t, f, ada)
		}
	})
}

func TestTicket_HidesItself(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	ticket := mustMintAll(t, f, ada)
	if text := fmt.Sprintf("%v %+v %#v %s", ticket, ticket, ticket, ticket); strings.Contains(text, "eyJ") {
		t.Errorf("printed: got %q, want no token", text)
	}
}

func BenchmarkTicket_MintAndRedeem(b *testing.B) {
	f, ada, _ := withSensors(b, auth.Config{TicketTTL: 100 * time.Millisecond})
	b.ReportAllocs()
	for b.Loop() {
		ticket := mustMintAll(b, f, ada)
		if _, err := f.Service.RedeemTicket(ticket.Token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkService_Authenticate(b *testing.B) {
	f := authtest.New(b, auth.Config{AccessTTL: time.Hour})
	token := mustRegister(b, f, "ada").AccessToken
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Service.Authenticate(token); err != nil {
			b.Fatal(err)
		}
	}
}
