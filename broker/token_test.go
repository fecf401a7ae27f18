package broker

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	state "sensorcast/session"
)

// carl owns sensors D, E and F and logs in over MQTT with this password.
const carlsPassword = "correct horse battery"

// withTokens puts auth itself behind the house, and returns it with carl's session.
func withTokens(t *testing.T) (f *authtest.Fixture, carl auth.Principal, behind option) {
	t.Helper()
	f = authtest.New(t, auth.Config{})
	grant, err := f.Service.Register(t.Context(), auth.Registration{
		Username: "carl", Email: "carl@example.org", Password: carlsPassword, Remote: netip.MustParseAddr("127.0.0.1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if carl, err = f.Service.Authenticate(grant.AccessToken); err != nil {
		t.Fatal(err)
	}
	for _, serial := range []string{"D", "E", "F"} {
		f.Directory.Put(auth.Device{
			SensorID: sensorID(serial), Serial: serial, OwnerID: carl.UserID, Secrets: []auth.Secret{{Hash: f.Directory.HashSecret(secretOf(serial))}},
		})
	}
	return f, carl, func(h *house, _ *Config) { h.auth, h.known = f.Service, f.Directory }
}

func tokenOf(t *testing.T, f *authtest.Fixture, p auth.Principal, scope string, serials ...string) (id, token string) {
	t.Helper()
	made, token, err := f.Service.CreateToken(t.Context(), p, auth.TokenDraft{Name: "a script", Scopes: []string{scope}, Serials: serials})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID, token
}

func TestToken_StandsForThePasswordWithinItsLimits(t *testing.T) {
	f, carl, behind := withTokens(t)
	h := start(t, autoIntake(), behind)
	_, token := tokenOf(t, f, carl, auth.ScopeWrite, "D", "E")
	for login, want := range map[string]byte{"carl": 0, "Carl@example.org": 0, "nobody": 4, "D": 4} {
		if got := h.dial(t).connect(login, token, clientID("x")).ReasonCode; got != want {
			t.Errorf("as %q: got CONNACK %#x, want %#x", login, got, want)
		}
	}
	p := h.dial(t)
	if got := p.connect("carl", token, v5).ReasonCode; got != 0 {
		t.Fatalf("got CONNACK %#x, want 0", got)
	}
	codes := p.subscribe(1, "#", "sensors/+/telemetry", "sensors/D/telemetry", "sensors/F/telemetry", "sensors/F/#", "$SYS/#", "sensors/absent/telemetry")
	if want := []byte{1, 1, 1, 0x87, 0x87, 0x87, 0x87}; !bytes.Equal(codes, want) {
		t.Errorf("SUBACK: got %#x, want %#x", codes, want)
	}
	p.send(publish("sensors/D/telemetry", "1", 1, 3))
	if got := p.want(packets.Puback).ReasonCode; got != packets.ErrNotAuthorized.Code {
		t.Errorf("a person's publish: got PUBACK %#x, want 0x87", got)
	}
	only := h.dial(t)
	only.connect("carl", token, clientID("only"))
	only.subscribe(0, "sensors/+/telemetry")
	for _, serial := range []string{"F", "D", "F", "E"} {
		h.say("sensors/"+serial+"/telemetry", serial)
	}
	for _, want := range []string{"D", "E"} {
		if got := string(only.want(packets.Publish).Payload); got != want {
			t.Errorf("got what %s said, want %s", got, want)
		}
	}
	only.wantAlive()
	only.subscribe(0, "sensors/+/status")
	for _, serial := range []string{"F", "D"} {
		f.Directory.Remove(serial)
		h.AuthorityChanged(auth.Change{Kind: auth.SensorRemoved, SensorID: sensorID(serial), Serial: serial, UserID: carl.UserID})
	}
	if got := only.want(packets.Publish).TopicName; got != "sensors/D/status" {
		t.Errorf("deleted sensors: got told of %s first, want of D alone", got)
	}
}

func TestToken_ItsEndEndsItsSessionsAndNoOther(t *testing.T) {
	f, carl, behind := withTokens(t)
	h := start(t, autoIntake(), behind)
	f.Changes.Watch(h.Broker)
	id, token := tokenOf(t, f, carl, auth.ScopeRead)
	_, other := tokenOf(t, f, carl, auth.ScopeRead)
	connect := func(secret string, opts ...connectOption) *peer {
		t.Helper()
		p := h.dial(t)
		if got := p.connect("carl", secret, append(opts, v5)...).ReasonCode; got != 0 {
			t.Fatalf("got CONNACK %#x, want 0", got)
		}
		return p
	}
	// One client id for three credentials: none of them takes another over.
	byPassword, gone, kept := connect(carlsPassword), connect(token), connect(other)
	away := connect(token, clientID("away"), v5, persistently)
	away.subscribe(1, "#")
	away.c.Close()
	eventually(t, "the client is away", func() bool { return h.Stats().Connections == 3 })
	if got := h.Stats().Sessions; got != 4 {
		t.Fatalf("got %d sessions, want 4", got)
	}
	if err := f.Service.LogoutAll(t.Context(), carl.UserID); err != nil {
		t.Fatal(err)
	}
	if got := byPassword.want(packets.Disconnect).ReasonCode; got != packets.ErrNotAuthorized.Code {
		t.Errorf("logout: got DISCONNECT %#x, want 0x87", got)
	}
	gone.wantAlive()
	if err := f.Service.DeleteToken(t.Context(), carl, id); err != nil {
		t.Fatal(err)
	}
	if got := gone.want(packets.Disconnect).ReasonCode; got != packets.ErrNotAuthorized.Code {
		t.Errorf("revoked: got DISCONNECT %#x, want 0x87", got)
	}
	gone.wantEnd()
	kept.wantAlive()
	eventually(t, "only the other token's session is left", func() bool { return h.Stats().Sessions == 1 })
	if got := h.dial(t).connect("carl", token).ReasonCode; got != 4 {
		t.Errorf("with the revoked token: got CONNACK %#x, want 4", got)
	}
}

// A message of a sensor the token is not for must not fill the queue of its absent client, also when the server was started again.
func TestToken_RestoredSessionKeepsItsLimitsOrGoes(t *testing.T) {
	f, carl, behind := withTokens(t)
	id, token := tokenOf(t, f, carl, auth.ScopeRead, "D")
	goneID, _ := tokenOf(t, f, carl, auth.ScopeRead)
	if err := f.Service.DeleteToken(t.Context(), carl, goneID); err != nil {
		t.Fatal(err)
	}
	kept := func(id string) state.Stored {
		scope := auth.Principal{Kind: auth.Person, UserID: carl.UserID, TokenID: id}.Scope()
		return state.Stored{
			Session:       state.Session{ID: scope + "/away", UserID: carl.UserID, Version: 4, Expiry: 3600e9},
			Subscriptions: []state.Subscription{{Filter: "sensors/#", Options: 1}},
		}
	}
	h := start(t, autoIntake(), behind, func(h *house, _ *Config) { h.kept = &state.Snapshot{Sessions: []state.Stored{kept(id), kept(goneID)}} })
	f.Changes.Watch(h.Broker)
	if got := h.Stats().Sessions; got != 1 {
		t.Errorf("restored: got %d sessions, want that of the live token", got)
	}
	for _, serial := range []string{"E", "F", "D"} {
		h.publish(&state.Message{Topic: "sensors/" + serial + "/telemetry", Payload: []byte(serial), QoS: 1})
	}
	scope := auth.Principal{Kind: auth.Person, UserID: carl.UserID, TokenID: id}.Scope()
	if got := h.sessions.find(scope + "/away").waiting.Load(); got != 1 {
		t.Errorf("waiting for the client: got %d messages, want that of D", got)
	}
	p := h.dial(t)
	if ack := p.connect("carl", token, clientID("away"), persistently); !ack.SessionPresent {
		t.Error("the session is lost")
	}
	if got := string(p.want(packets.Publish).Payload); got != "D" {
		t.Errorf("got what %s said, want D", got)
	}
	p.c.Close()
	eventually(t, "the client is away", func() bool { return h.Stats().Connections == 0 })
	if err := f.Service.DeleteToken(t.Context(), carl, id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its session is gone", func() bool { return h.Stats().Sessions == 0 })
}
