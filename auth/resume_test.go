package auth_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

func mustMintResume(t testing.TB, f *authtest.Fixture, claim auth.Claim, ttl time.Duration) string {
	t.Helper()
	token, err := f.Service.MintResume(claim, ttl)
	if err != nil {
		t.Fatalf("MintResume: got %v, want nil", err)
	}
	return token
}

func TestResume_WorksOnceAlsoOverARestart(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	claim := auth.Claim{Principal: ada, Serials: []string{"SN1", "SN2"}, Until: until}
	first, second := mustMintResume(t, f, claim, time.Minute), mustMintResume(t, f, claim, time.Minute)
	got, err := f.Service.RedeemResume(t.Context(), first)
	if err != nil || got.Principal != ada || !slices.Equal(got.Serials, claim.Serials) || got.Kind != "user" || !got.Until.Equal(until) {
		t.Errorf("redeem: got %+v, %v, want %+v", got, err, claim)
	}
	after := authtest.Restart(t, auth.Config{}, f.Keys, f.Store)
	for _, serial := range claim.Serials {
		dev, _ := f.Directory.Lookup(serial)
		after.Directory.Put(dev)
	}
	if _, err := after.Service.RedeemResume(t.Context(), first); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("used before the restart: got %v, want ErrUnauthenticated", err)
	}
	if _, err := after.Service.RedeemResume(t.Context(), second); err != nil {
		t.Errorf("made before the restart: got %v, want nil", err)
	}
	if s := after.Service.Stats(); s.ResumesRedeemed != 1 || s.ResumesRefused != 1 || s.ResumesReplayed != 1 {
		t.Errorf("stats: got %+v, want one redeemed, one refused for being used", s)
	}
}

func TestResume_LivesNoLongerThanItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, ada, _ := withSensors(t, auth.Config{})
		claim := auth.Claim{Principal: ada, All: true, Until: time.Now().Add(time.Minute)}
		token := mustMintResume(t, f, claim, time.Hour)
		time.Sleep(time.Minute)
		if _, err := f.Service.RedeemResume(t.Context(), token); !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Errorf("after Until: got %v, want ErrUnauthenticated", err)
		}
	})
}

func TestResume_IsNoOtherToken(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	ticket := mustMintAll(t, f, ada).Token
	resume := mustMintResume(t, f, auth.Claim{Principal: ada, All: true, Until: time.Now().Add(time.Hour)}, time.Minute)
	if _, err := f.Service.RedeemResume(t.Context(), ticket); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("ticket as resume token: got %v, want ErrUnauthenticated", err)
	}
	if _, err := f.Service.RedeemTicket(resume); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("resume token as ticket: got %v, want ErrUnauthenticated", err)
	}
	if _, err := f.Service.Authenticate(resume); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("resume token as access token: got %v, want ErrUnauthenticated", err)
	}
	for what, claim := range map[string]auth.Claim{
		"a sensor":             {Principal: auth.Principal{Kind: auth.Sensor, SensorID: 11, Serial: "SN1"}, Until: time.Now().Add(time.Hour)},
		"nobody":               {Until: time.Now().Add(time.Hour)},
		"a person without end": {Principal: ada, All: true},
	} {
		if _, err := f.Service.MintResume(claim, time.Minute); !errors.Is(err, telemetry.ErrInvalid) {
			t.Errorf("for %s: got %v, want ErrInvalid", what, err)
		}
	}
}

func TestResume_AuthorityOfNow(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	claim := auth.Claim{Principal: ada, Serials: []string{"SN1", "SN2"}, Until: time.Now().Add(time.Hour)}
	one, none, ended := mustMintResume(t, f, claim, time.Minute), mustMintResume(t, f, claim, time.Minute), mustMintResume(t, f, claim, time.Minute)
	f.Directory.Remove("SN1")
	if got, err := f.Service.RedeemResume(t.Context(), one); err != nil || !slices.Equal(got.Serials, []string{"SN2"}) {
		t.Errorf("one sensor left: got %v, %v, want SN2", got.Serials, err)
	}
	f.Directory.Remove("SN2")
	if _, err := f.Service.RedeemResume(t.Context(), none); !errors.Is(err, telemetry.ErrForbidden) {
		t.Errorf("no sensor left: got %v, want ErrForbidden", err)
	}
	if err := f.Service.EndSession(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Service.RedeemResume(t.Context(), ended); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("logged out: got %v, want ErrUnauthenticated", err)
	}
}

// A store that fails now may work in a moment, and the token must not be lost for it.
func TestResume_StaysGoodWhenItCannotBeSpent(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	token := mustMintResume(t, f, auth.Claim{Principal: ada, All: true, Until: time.Now().Add(time.Hour)}, time.Minute)
	f.Store.Fail(telemetry.ErrUnavailable)
	if _, err := f.Service.RedeemResume(t.Context(), token); !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("while the store fails: got %v, want ErrUnavailable", err)
	}
	f.Store.Fail(nil)
	if _, err := f.Service.RedeemResume(t.Context(), token); err != nil {
		t.Errorf("afterwards: got %v, want nil", err)
	}
}
