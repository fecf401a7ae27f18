package broker

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

func TestConnect_CodesOfRefusal(t *testing.T) {
	h := start(t, autoIntake(), func(h *house, _ *Config) {
		ask := h.people.password
		h.people.password = func(login, password string) (auth.Principal, error) {
			switch login {
			case "hasty":
				return auth.Principal{}, &auth.RateError{RetryAfter: 1}
			case "careful":
				return auth.Principal{}, auth.ErrSecondFactor
			case "overloaded":
				return auth.Principal{}, telemetry.ErrUnavailable
			case "slow":
				return auth.Principal{}, context.DeadlineExceeded
			case "broken":
				return auth.Principal{}, io.ErrUnexpectedEOF
			}
			return ask(login, password)
		}
	})
	long := clientID(strings.Repeat("x", maxClientIDBytes+1))
	for _, tt := range []struct {
		name, user, pass string
		opt              connectOption
		v3, v5           byte
	}{
		{"sensor", "A", secretOf("A"), nil, 0, 0},
		{"person", "ann", "pw", nil, 0, 0},
		{"longest client id", "ann", "pw", clientID(strings.Repeat("x", maxClientIDBytes)), 0, 0},
		{"no client id", "ann", "pw", clientID(""), 0, 0},
		{"sensor, wrong secret", "A", "pw", nil, 4, 0x86},
		{"sensor, another's secret", "A", secretOf("B"), nil, 4, 0x86},
		{"sensor, no secret", "A", "", nil, 4, 0x86},
		{"person, wrong password", "ann", "px", nil, 4, 0x86},
		{"person, no password", "ann", "", nil, 4, 0x86},
		{"nobody", "nobody", "pw", nil, 4, 0x86},
		{"person with a second factor", "careful", "pw", nil, 5, 0x87},
		{"anonymous", "", "", nil, 5, 0x87},
		{"throttled", "hasty", "pw", nil, 3, 0x97},
		{"overloaded", "overloaded", "pw", nil, 3, 0x88},
		{"too slow", "slow", "pw", nil, 3, 0x88},
		{"store fails", "broken", "pw", nil, 3, 0x88},
		{"client id too long", "ann", "pw", long, 2, 0x85},
	} {
		for version, want := range map[byte]byte{4: tt.v3, 5: tt.v5} {
			p := h.dial(t)
			got := p.connect(tt.user, tt.pass, func(pk *packets.Packet) {
				pk.ProtocolVersion = version
				if tt.opt != nil {
					tt.opt(pk)
				}
			}).ReasonCode
			if got != want {
				t.Errorf("%s, v%d: got CONNACK %#x, want %#x", tt.name, version, got, want)
			}
			if want != 0 {
				p.wantEnd()
			}
		}
	}
	if s := h.Stats(); s.LoginFailures != 16 || s.Throttled != 8 {
		t.Errorf("got %d failures and %d throttled, want 16 and 8", s.LoginFailures, s.Throttled)
	}
}

func TestConnect_V5IsToldTheLimits(t *testing.T) {
	h := start(t, autoIntake(), func(_ *house, cfg *Config) { cfg.MaxPayload = 1000 })
	p := h.dial(t)
	got := p.connect("ann", "pw", v5, clientID(""), func(pk *packets.Packet) {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 1<<32-1, true
	}).Properties
	if got.ReceiveMaximum != receiveMaximum || got.MaximumPacketSize != 1000+packetSlack || got.SessionExpiryInterval != 7*86400 {
		t.Errorf("got receive maximum %d, packet size %d, expiry %d", got.ReceiveMaximum, got.MaximumPacketSize, got.SessionExpiryInterval)
	}
	if got.AssignedClientID == "" || strings.Contains(got.AssignedClientID, "/") {
		t.Errorf("got assigned client id %q, want one without the scope", got.AssignedClientID)
	}
}

// Authority that ends between the proof and the claim is noticed.
func TestConnect_AuthorityIsAskedOnceMoreAfterTheClaim(t *testing.T) {
	h := start(t, autoIntake(), func(h *house, _ *Config) {
		h.people.dead = func(p auth.Principal) bool { return p.Serial == "A" }
	})
	if got := h.dial(t).connect("A", secretOf("A")).ReasonCode; got != 4 {
		t.Errorf("got CONNACK %#x, want 4", got)
	}
	h.login(t, "B").wantAlive()
	eventually(t, "A's session is gone", func() bool { return h.Stats().Sessions == 1 })
}

func TestConnect_SessionsOfOnePrincipalAreBounded(t *testing.T) {
	h := start(t, autoIntake(), func(_ *house, cfg *Config) { cfg.MaxSessions = 2 })
	h.login(t, "ann", clientID("1"), persistently).c.Close()
	h.login(t, "ann", clientID("2"))
	if got := h.dial(t).connect("ann", "pw", v5, clientID("3")).ReasonCode; got != packets.ErrQuotaExceeded.Code {
		t.Errorf("third session: got CONNACK %#x, want 0x97", got)
	}
	h.login(t, "bob", clientID("3"))
	h.login(t, "ann", clientID("1"), persistently).wantAlive()
}

func TestConnected_FollowsTheConnections(t *testing.T) {
	h := start(t, autoIntake())
	if h.Connected("A") {
		t.Error("A is connected before it connects")
	}
	one, two := h.login(t, "A", clientID("1")), h.login(t, "A", clientID("2"), persistently)
	one.c.Close()
	eventually(t, "one connection left", func() bool { return h.Stats().Connections == 1 })
	if !h.Connected("A") {
		t.Error("A is not connected with one of two connections left")
	}
	two.c.Close()
	eventually(t, "A is not connected, though its session is kept", func() bool { return !h.Connected("A") })
}

// With auth itself behind it: a person logs in by name and by e-mail, a sensor by serial, and a rotated secret ends its connection.
func TestConnect_WithTheRealAuth(t *testing.T) {
	keys, err := auth.LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir, changes, store, quiet := auth.NewDirectory(keys), &auth.Changes{}, authtest.NewMemory(), slog.New(slog.DiscardHandler)
	service, err := auth.NewService(auth.Config{}, keys, store, store, store, dir, changes, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.CreateUser(t.Context(), auth.Registration{Username: "carla", Email: "carla@example.org", Password: "correct horse battery"}); err != nil {
		t.Fatal(err)
	}
	h := start(t, autoIntake(), func(h *house, _ *Config) { h.auth, h.known = service, dir })
	changes.Watch(h.Broker)

	for _, login := range []string{"carla", "Carla@example.org"} {
		if got := h.dial(t).connect(login, "correct horse battery").ReasonCode; got != 0 {
			t.Errorf("login as %s: got CONNACK %#x, want 0", login, got)
		}
	}
	if got := h.dial(t).connect("carla", "wrong").ReasonCode; got != 4 {
		t.Errorf("wrong password: got CONNACK %#x, want 4", got)
	}
	carla, err := store.UserByLogin(t.Context(), "carla")
	if err != nil {
		t.Fatal(err)
	}
	if err := store.PutSecondFactor(t.Context(), carla.ID, auth.SecondFactor{On: true}); err != nil {
		t.Fatal(err)
	}
	got := h.dial(t).connect("carla", "correct horse battery", v5)
	if got.ReasonCode != packets.ErrNotAuthorized.Code || !strings.Contains(got.Properties.ReasonString, "API token") || !strings.Contains(h.log.String(), "API token") {
		t.Errorf("with a second factor: got CONNACK %#x, %q, want %#x and, in the log too, what to use", got.ReasonCode, got.Properties.ReasonString, packets.ErrNotAuthorized.Code)
	}
	secret := auth.NewDeviceSecret()
	put := func(secret string) {
		dir.Put(auth.Device{SensorID: 5, Serial: "S5", OwnerID: 1, Secrets: []auth.Secret{{Hash: dir.HashSecret(secret)}}})
	}
	put(secret)
	p := h.dial(t)
	if got := p.connect("S5", secret, v5).ReasonCode; got != 0 {
		t.Fatalf("sensor: got CONNACK %#x, want 0", got)
	}
	put(auth.NewDeviceSecret())
	changes.Notify(auth.Change{Kind: auth.SecretRotated, SensorID: 5, Serial: "S5", UserID: 1})
	if got := p.want(packets.Disconnect).ReasonCode; got != packets.ErrNotAuthorized.Code {
		t.Errorf("got DISCONNECT %#x, want %#x", got, packets.ErrNotAuthorized.Code)
	}
	p.wantEnd()
	if got := h.dial(t).connect("S5", secret).ReasonCode; got != 4 {
		t.Errorf("old secret: got CONNACK %#x, want 4", got)
	}
}

func TestPending_BoundsAddressesAndAll(t *testing.T) {
	p := newPending(5, 2)
	var places []*place
	for i, tt := range []struct {
		addr string
		want bool
	}{
		{"192.0.2.1", true}, {"::ffff:192.0.2.1", true}, {"192.0.2.1", false},
		{"2001:db8::1", true}, {"2001:db8::2", true}, {"2001:db8::3", false}, // one /64
		{"127.0.0.1", true}, {"127.0.0.1", false}, // all full
	} {
		pl, got := p.enter(addr(t, tt.addr), func() {})
		if got != tt.want {
			t.Errorf("%d: enter(%s): got %v, want %v", i, tt.addr, got, tt.want)
		}
		if got {
			places = append(places, pl)
		}
	}
	for range 2 { // the second time does nothing
		for _, pl := range places {
			p.leave(pl)
		}
	}
	if p.count() != 0 || len(p.from) != 0 {
		t.Errorf("after all left: %d pending of %d addresses", p.count(), len(p.from))
	}
	for range 5 {
		if _, ok := p.enter(addr(t, "127.0.0.1"), func() {}); !ok {
			t.Error("loopback is bounded to less than all")
		}
	}
}

func TestConnection_TellsWhoIsInAndWhyOneWasNot(t *testing.T) {
	h := start(t, autoIntake())
	h.dial(t).connect("A", "wrong", clientID("x"))
	r := h.Connection("A").LastRefusal
	if r == nil || !strings.Contains(r.Reason, "wrong secret") || r.Remote != "127.0.0.1" || r.At == 0 {
		t.Errorf("wrong secret: got %+v", r)
	}
	if got := h.Connection("A").Clients; len(got) != 0 {
		t.Errorf("got clients %+v, want none", got)
	}
	h.dial(t).connect("A", secretOf("A"), will("sensors/B/lwt", "x", false))
	if r := h.Connection("A").LastRefusal; !strings.Contains(r.Reason, "will") {
		t.Errorf("foreign will: got %+v", r)
	}
	h.dial(t).connect("nobody", "x")
	if h.refusals.of("nobody") != nil {
		t.Error("a name nobody has is remembered")
	}
	p := h.login(t, "A", v5, clientID("me"))
	eventually(t, "A is in", func() bool { return len(h.Connection("A").Clients) == 1 })
	if c := h.Connection("A").Clients[0]; c.ID != "me" || c.Remote != "127.0.0.1" || c.Protocol != "MQTT 5" || c.Since == 0 {
		t.Errorf("got client %+v", c)
	}
	p.raw([]byte{0xc1, 0})
	p.want(packets.Disconnect)
	eventually(t, "the owner is told", func() bool { return strings.Contains(h.Connection("A").LastRefusal.Reason, "malformed") })
	if got := strings.Count(h.log.String(), "sensor not admitted"); got != 1 {
		t.Errorf("got %d lines in the log, want one a minute", got)
	}
	h.AuthorityChanged(auth.Change{Kind: auth.SensorRemoved, SensorID: sensorID("A"), Serial: "A"})
	if h.refusals.of("A") != nil {
		t.Error("refusals outlive their sensor")
	}
}

// A verified client certificate stands for the secret of its sensor, and for nobody else.
func TestConnect_CertificateIsBoundToItsSensor(t *testing.T) {
	certified := "A"
	h := start(t, autoIntake(), func(_ *house, cfg *Config) {
		cfg.PeerSerial = func(net.Conn) (string, bool) { return certified, certified != "" }
	})
	for _, tt := range []struct {
		cert, user, pass string
		want             byte
	}{
		{"A", "A", "", 0}, {"A", "", "", 0}, {"A", "A", secretOf("A"), 0}, {"A", "A", "wrong", 4},
		{"A", "B", secretOf("B"), 4}, {"A", "ann", "pw", 4}, {"unknown", "", "", 5}, {"", "A", "", 4}, {"", "", "", 5},
	} {
		certified = tt.cert
		if got := h.dial(t).connect(tt.user, tt.pass).ReasonCode; got != tt.want {
			t.Errorf("certificate of %q, user %q: got CONNACK %d, want %d", tt.cert, tt.user, got, tt.want)
		}
	}
}
