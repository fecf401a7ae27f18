package broker

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func addr(t testing.TB, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSubscribe_CodesByVersion(t *testing.T) {
	h := start(t, autoIntake())
	for _, tt := range []struct {
		who, filter string
		want        byte // v5; v3.1.1 says 0x80 for every no
	}{
		{"ann", "sensors/A/telemetry", 0}, {"ann", "sensors/+/telemetry", 0}, {"ann", "#", 0}, {"ann", "sensors/A/#", 0}, {"ann", "alerts/A", 0},
		{"ann", "sensors/C/telemetry", 0x87}, {"ann", "sensors/C/#", 0x87}, {"ann", "sensors/none/telemetry", 0x87},
		{"ann", "$SYS/#", 0}, {"bob", "$SYS/#", 0x87}, {"bob", "$SYS/broker/uptime", 0x87}, {"bob", "$share/g/$SYS/#", 0x87},
		{"ann", "$share/g/sensors/A/telemetry", 0}, {"ann", "$share/g/sensors/+/telemetry", 0},
		{"ann", "$share/g/sensors/C/telemetry", 0x87}, {"ann", "$SHARE/g/sensors/C/telemetry", 0x87},
		{"ann", "$share//sensors/A/telemetry", 0x8f}, {"ann", "$share/g/", 0x8f}, {"ann", "$share/g", 0x8f}, {"ann", "$share/+/#", 0x8f},
		{"ann", "sport#", 0x8f}, {"ann", "a+/b", 0x8f}, {"ann", "#/a", 0x8f},
		{"A", "sensors/A/commands", 0}, {"A", "sensors/A/status", 0}, {"A", "sensors/A/#", 0},
		{"A", "sensors/C/commands", 0x87}, {"A", "sensors/B/status", 0x87}, {"A", "sensors/+/commands", 0x87}, {"A", "#", 0x87},
		{"A", "$share/g/#", 0x87}, {"A", "$share/g/sensors/C/telemetry", 0x87}, {"A", "$SYS/#", 0x87}, {"A", "alerts/A", 0x87},
	} {
		for _, version := range []byte{4, 5} {
			p := h.login(t, tt.who, func(pk *packets.Packet) { pk.ProtocolVersion = version })
			want := tt.want
			if version == 4 && want != 0 {
				want = 0x80
			}
			if got := p.subscribe(0, tt.filter); !bytes.Equal(got, []byte{want}) {
				t.Errorf("%s subscribes to %s, v%d: got %#x, want %#x", tt.who, tt.filter, version, got, want)
			}
			p.c.Close()
		}
	}
	if !slices.ContainsFunc(h.in.reasons(), func(r string) bool { return strings.Contains(r, `"sensors/C/commands"`) }) {
		t.Errorf("the owner is not told of a refused subscription: %q", h.in.reasons())
	}
}

func TestSubscribe_Bounds(t *testing.T) {
	h := start(t, autoIntake(), func(_ *house, cfg *Config) { cfg.MaxFilters = 150 })
	p := h.login(t, "ann", v5)
	filters := func(n, from int) (s []string) {
		for i := range n {
			s = append(s, fmt.Sprint("+/x", from+i))
		}
		return s
	}
	granted := func(codes []byte) (n int) {
		for _, c := range codes {
			if c == 0 {
				n++
			} else if c != packets.ErrQuotaExceeded.Code {
				t.Errorf("got code %#x, want 0 or 0x97", c)
			}
		}
		return n
	}
	if got := granted(p.subscribe(0, filters(120, 0)...)); got != maxFiltersPerPacket {
		t.Errorf("one packet: got %d granted, want %d", got, maxFiltersPerPacket)
	}
	if got := granted(p.subscribe(0, filters(100, 100)...)); got != 50 {
		t.Errorf("over the client's bound: got %d granted, want 50", got)
	}
	if got := granted(p.subscribe(0, filters(100, 0)...)); got != 100 {
		t.Errorf("again what it has: got %d granted, want 100", got)
	}
	if got := h.Stats().Subscriptions; got != 150 {
		t.Errorf("got %d subscriptions, want 150", got)
	}
}

// A wildcard gets what the subscriber may see at that moment, and nothing else.
func TestDelivery_IsJudgedOneByOne(t *testing.T) {
	h := start(t, autoIntake())
	ann, bob := h.login(t, "ann"), h.login(t, "bob")
	ann.subscribe(0, "#")
	bob.subscribe(0, "sensors/#")
	a, c := h.login(t, "A"), h.login(t, "C")
	say := func(p *peer, serial, payload string) {
		t.Helper()
		p.send(publish("sensors/"+serial+"/telemetry", payload, 1, 1))
		p.want(packets.Puback)
	}
	say(a, "A", "a1")
	say(c, "C", "c1")
	if got := string(ann.want(packets.Publish).Payload); got != "a1" {
		t.Errorf("ann got %q, want a1", got)
	}
	if got := bob.want(packets.Publish); string(got.Payload) != "c1" || got.TopicName != "sensors/C/telemetry" {
		t.Errorf("bob got %q, want c1", got.Payload)
	}
	h.dir.Put(auth.Device{SensorID: sensorID("A"), Serial: "A", OwnerID: 2, Secrets: []auth.Secret{{Hash: h.dir.HashSecret(secretOf("A"))}}})
	say(a, "A", "a2")
	if got := string(bob.want(packets.Publish).Payload); got != "a2" {
		t.Errorf("bob got %q, want a2", got)
	}
	ann.wantAlive()
}

func TestPublish_OutsideItsOwnTopicsIsRefused(t *testing.T) {
	for _, topic := range []string{"sensors/C/telemetry", "sensors/A/status", "sensors/A/commands", "sensors/A/lwt", "alerts/A", "x"} {
		h := start(t, autoIntake())
		p := h.login(t, "A", v5)
		p.send(publish(topic, "1", 0, 0), publish(topic, "1", 1, 1), publish(topic, "1", 2, 2))
		if got := p.want(packets.Puback).ReasonCode; got != packets.ErrNotAuthorized.Code {
			t.Errorf("%s: got PUBACK %#x, want 0x87", topic, got)
		}
		if got := p.want(packets.Pubrec).ReasonCode; got != packets.ErrNotAuthorized.Code {
			t.Errorf("%s: got PUBREC %#x, want 0x87", topic, got)
		}
		p = h.login(t, "B")
		p.send(publish(topic, "1", 0, 0))
		p.wantAlive()
		p.send(publish(topic, "1", 1, 1))
		p.wantEnd()
		p = h.login(t, "ann", v5)
		p.send(publish("sensors/A/telemetry", "1", 1, 1))
		if got := p.want(packets.Puback).ReasonCode; got != packets.ErrNotAuthorized.Code {
			t.Errorf("a person publishes: got PUBACK %#x, want 0x87", got)
		}
		if got := h.in.accepted(); len(got) != 0 {
			t.Errorf("%s: got %q handed over, want nothing", topic, got)
		}
		if got := len(h.in.reasons()); got != 5 {
			t.Errorf("%s: got %d refusals explained, want 5: %q", topic, got, h.in.reasons())
		}
	}
}

func TestPublish_HandsOverWhatWasSent(t *testing.T) {
	h := start(t, autoIntake())
	p := h.login(t, "A")
	p.send(publish("sensors/A/telemetry", `{"a":1}`, 0, 0), publish("sensors/A/telemetry/temp", "21.5", 1, 1))
	p.want(packets.Puback)
	h.in.mu.Lock()
	defer h.in.mu.Unlock()
	got := h.in.messages
	if len(got) != 2 || got[0].SensorID != 'A' || got[0].Serial != "A" || got[0].Metric != "" || !got[0].Shed || got[0].Via != telemetry.ViaMQTT ||
		got[1].Metric != "temp" || string(got[1].Payload) != "21.5" || got[1].Shed {
		t.Errorf("got %+v", got)
	}
}

// A client that unsubscribes from what only another one subscribed to takes nothing off the count.
func TestSubscriptions_AreCountedRight(t *testing.T) {
	h := start(t, autoIntake())
	ann, other := h.login(t, "ann", clientID("1")), h.login(t, "ann", clientID("2"))
	ann.subscribe(0, "sensors/A/telemetry")
	unsub := subscribe(9, 0, "sensors/A/telemetry")
	unsub.FixedHeader.Type = packets.Unsubscribe
	other.send(unsub)
	other.want(packets.Unsuback)
	if got := h.Stats().Subscriptions; got != 1 {
		t.Errorf("got %d subscriptions, want 1", got)
	}
	a := h.login(t, "A")
	a.send(publish("sensors/A/telemetry", "1", 0, 0))
	ann.want(packets.Publish)
	ann.send(unsub)
	ann.want(packets.Unsuback)
	if got := h.Stats().Subscriptions; got != 0 {
		t.Errorf("got %d subscriptions, want 0", got)
	}
}

// What waits for an absent client is judged again when it comes back.
func TestSession_QueuedMessagesAreJudgedAgain(t *testing.T) {
	h := start(t, autoIntake())
	p := h.login(t, "ann", persistently)
	p.subscribe(1, "sensors/#")
	p.c.Close()
	eventually(t, "ann is away", func() bool { return h.Stats().Connections == 0 })
	for _, serial := range []string{"A", "B"} {
		s := h.login(t, serial)
		s.send(publish("sensors/"+serial+"/telemetry", serial, 1, 1))
		s.want(packets.Puback)
	}
	h.dir.Remove("A")
	p = h.dial(t)
	if ack := p.connect("ann", "pw", persistently); !ack.SessionPresent {
		t.Error("session was lost")
	}
	if got := string(p.want(packets.Publish).Payload); got != "B" {
		t.Errorf("got %q, want B", got)
	}
	p.wantAlive()
}
