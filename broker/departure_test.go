package broker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/telemetry"
)

func TestDeparture_SaysHowTheConnectionEnded(t *testing.T) {
	h := start(t, autoIntake())
	leave := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}
	for name, c := range map[string]struct {
		opts   []connectOption
		end    func(p *peer)
		cause  telemetry.Cause
		detail string
	}{
		"goodbye":             {nil, func(p *peer) { p.send(leave) }, telemetry.CauseDisconnected, ""},
		"goodbye with a will": {[]connectOption{will("sensors/A/lwt", "x", false)}, func(p *peer) { p.send(leave) }, telemetry.CauseDisconnected, ""},
		"cut":                 {nil, func(p *peer) { p.c.Close() }, telemetry.CauseLost, ""},
		"cut with a will":     {[]connectOption{will("sensors/A/lwt", "battery\nempty", false)}, func(p *peer) { p.c.Close() }, telemetry.CauseWill, "battery empty"},
		"will that is no text": {
			[]connectOption{will("sensors/A/lwt", "\xff\xfe", false)}, func(p *peer) { p.c.Close() }, telemetry.CauseLost, "",
		},
		"nonsense": {nil, func(p *peer) { p.raw([]byte{0xf5, 0}) }, telemetry.CauseClosed, "protocol violation: invalid packet type"},
	} {
		p := h.login(t, "A", c.opts...)
		if s := h.Standing("A"); !s.Connected || s.Departure.At != 0 {
			t.Errorf("%s: while it is connected: got %+v", name, s)
		}
		c.end(p)
		eventually(t, name, func() bool { return h.Standing("A").Departure.At != 0 })
		s := h.Standing("A")
		if s.Departure.Cause != c.cause || c.cause != telemetry.CauseClosed && s.Departure.Detail != c.detail || (s.Departure.Detail == "") != (c.detail == "") {
			t.Errorf("%s: got %+v, want %s %q", name, s.Departure, c.cause, c.detail)
		}
		p.c.Close()
		eventually(t, name, func() bool { return !h.Standing("A").Connected })
	}
}

func TestDeparture_KeepAlive(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		h.pipeLogin(t, "A", func(pk *packets.Packet) { pk.Connect.Keepalive = 10 })
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if s := h.Standing("A"); s.Connected || s.Departure.Cause != telemetry.CauseKeepAlive {
			t.Errorf("got %+v, want keep-alive", s)
		}
	})
}

func TestDeparture_OfAConnectionThatWasTakenOverSaysNothing(t *testing.T) {
	h := start(t, autoIntake())
	h.login(t, "A", clientID("same"))
	second := h.login(t, "A", clientID("same"))
	if s := h.Standing("A"); !s.Connected || s.Departure.At != 0 {
		t.Errorf("got %+v, want it connected and nothing else", s)
	}
	second.c.Close()
	eventually(t, "it is gone", func() bool { return h.Standing("A").Departure.At != 0 })
}

func TestDeparture_RefusalIsRemembered(t *testing.T) {
	h := start(t, autoIntake())
	h.dial(t).connect("A", "wrong")
	if s := h.Standing("A"); s.LastRefusal == nil || !strings.Contains(s.LastRefusal.Reason, "wrong secret") {
		t.Errorf("got %+v, want why it was not let in", s)
	}
}

func TestInText_IsShortAndPrints(t *testing.T) {
	for in, want := range map[string]string{
		"": "", " offline\r\n": "offline", "a\x00b\u202ec": "abc", "\xff": "", strings.Repeat("ä", 1000): strings.Repeat("ä", maxWillRunes),
	} {
		if got := inText([]byte(in)); got != want {
			t.Errorf("%.20q: got %q, want %q", in, got, want)
		}
	}
}

// alerts/{serial} is for people who may view the sensor; never for sensors, also not the one it is about.
func TestAlerts_ArePublishedToThoseWhoMayView(t *testing.T) {
	h := start(t, autoIntake(), with(told()))
	ann, bob := h.login(t, "ann"), h.login(t, "bob")
	for _, p := range []*peer{ann, bob} {
		if code := p.subscribe(1, "alerts/+")[0]; code != 1 {
			t.Fatalf("got code %#x, want 1", code)
		}
	}
	a := h.login(t, "A", v5)
	if code := a.subscribe(1, "alerts/A")[0]; code != packets.ErrNotAuthorized.Code {
		t.Errorf("the sensor itself: got %#x, want 0x87", code)
	}
	al := telemetry.Alert{ID: "x", Serial: "A", SensorID: sensorID("A"), Kind: telemetry.AlertSilent, OpenedAt: 1}
	h.AlertChanged(al)
	al.ResolvedAt = 2
	h.AlertChanged(al)
	for _, want := range []string{`"state":"open"`, `"state":"resolved"`} {
		m := ann.want(packets.Publish)
		if m.TopicName != "alerts/A" || m.FixedHeader.Retain || m.FixedHeader.Qos != 1 || !strings.Contains(string(m.Payload), want) {
			t.Errorf("got %s %s, want it with %s", m.TopicName, m.Payload, want)
		}
		ann.send(ack(packets.Puback, m.PacketID))
	}
	bob.wantAlive()
}
