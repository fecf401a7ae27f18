package bridge

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// person registers somebody and returns the principal of the session.
func (w *world) person(name string) auth.Principal {
	w.t.Helper()
	grant, err := w.auth.Service.Register(w.t.Context(), auth.Registration{
		Username: name, Email: name + "@example.org", Password: "correct horse battery", Remote: netip.MustParseAddr("127.0.0.1"),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := w.auth.Service.Authenticate(grant.AccessToken)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// bearer makes an API token of p that reads, and returns who comes with it.
func (w *world) bearer(p auth.Principal, ends telemetry.Millis, serials ...string) auth.Principal {
	w.t.Helper()
	_, token, err := w.auth.Service.CreateToken(w.t.Context(), p, auth.TokenDraft{Name: "a script", Scopes: []string{auth.ScopeRead}, Serials: serials, ExpiresAt: ends})
	if err != nil {
		w.t.Fatal(err)
	}
	who, err := w.auth.Service.Authenticate(token)
	if err != nil {
		w.t.Fatal(err)
	}
	return who
}

func TestToken_ItsEndClosesItsSocketsOnly(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	carl := w.person("carl")
	dev := w.sensor(carl, 1)
	one, two := w.bearer(carl, 0), w.bearer(carl, 0)
	loggedIn, _ := w.dial(carl, dev.Serial)
	gone, _ := w.dial(one, dev.Serial)
	kept, _ := w.dial(two)
	if err := w.auth.Service.DeleteToken(t.Context(), carl, one.TokenID); err != nil {
		t.Fatal(err)
	}
	w.expectClosed(gone, CloseAuthorityEnded)
	w.reading(dev, 1)
	for _, c := range []*Client{loggedIn, kept} {
		w.expect(c, "state")
		w.expect(c, "reading")
	}
	if err := w.auth.Service.LogoutAll(t.Context(), carl.UserID); err != nil {
		t.Fatal(err)
	}
	w.expectClosed(loggedIn, CloseAuthorityEnded)
	w.reading(dev, 2)
	w.expect(kept, "reading")
	if err := w.auth.Service.DeleteToken(t.Context(), carl, two.TokenID); err != nil {
		t.Fatal(err)
	}
	w.expectClosed(kept, CloseAuthorityEnded)
}

func TestToken_ExpiryClosesItsSocketsWithinASecond(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	carl := w.person("carl")
	dev := w.sensor(carl, 1)
	ends := telemetry.Now().Add(300 * time.Millisecond)
	c, _ := w.dial(w.bearer(carl, ends), dev.Serial)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go w.auth.Service.TendTokens(ctx) // ends with the test
	w.expectClosed(c, CloseAuthorityEnded)
	if late := telemetry.Now().Time().Sub(ends.Time()); late < 0 || late > time.Second {
		t.Errorf("closed %v after the token's end, want within a second", late)
	}
}

// A token that is for certain sensors is given no other, also when it asked for all it may see.
func TestToken_IsGivenNoSensorItIsNotFor(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	carl := w.person("carl")
	mine, other := w.sensor(carl, 1), w.sensor(carl, 2)
	confined := w.bearer(carl, 0, mine.Serial)
	some, hello := w.dial(confined)
	if got := serialsOf(hello.Sensors); len(got) != 1 || got[0] != mine.Serial {
		t.Errorf("hello: got %v, want %s alone", got, mine.Serial)
	}
	all, _ := w.dial(w.bearer(carl, 0))
	added := w.sensor(carl, 3)
	w.auth.Changes.Notify(auth.Change{Kind: auth.SensorAdded, Serial: added.Serial, SensorID: added.SensorID, UserID: carl.UserID})
	if f := w.expect(all, "state"); f.SerialNo != added.Serial {
		t.Errorf("a token for all: got %+v, want the added sensor", f)
	}
	for i, dev := range []auth.Device{added, other, mine} {
		w.reading(dev, i)
	}
	for _, kind := range []string{"state", "reading"} {
		if f := w.expect(some, kind); f.SerialNo != mine.Serial {
			t.Errorf("a token for %s: got %+v", mine.Serial, f)
		}
	}
}
