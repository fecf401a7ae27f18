package broker

import (
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

const bobsNumber = 2

// shared lets bob see A from now on; NoAccess takes it away.
func (h *house) shared(access auth.Access) {
	dev, _ := h.people.dir.Lookup("A")
	dev.Shares = dev.SharedWith(bobsNumber, access)
	h.people.dir.Put(dev)
	kind := auth.ShareAdded
	if access == auth.NoAccess {
		kind = auth.ShareRemoved
	}
	h.AuthorityChanged(auth.Change{Kind: kind, Serial: "A", SensorID: dev.SensorID, UserID: bobsNumber})
}

// quietly subscribes without what is retained.
func (p *peer) quietly(qos byte, filters ...string) {
	p.t.Helper()
	pk := subscribe(1, qos, filters...)
	for i := range pk.Filters {
		pk.Filters[i].RetainHandling = 2
	}
	p.send(pk)
	p.want(packets.Suback)
}

func (h *house) publishes(serial, payload string) {
	h.publish(&state.Message{Topic: "sensors/" + serial + "/telemetry", SensorID: sensorID(serial), Payload: []byte(payload), QoS: 1})
}

func TestShare_WildcardGetsTheSensorAtOnce(t *testing.T) {
	h := start(t, autoIntake(), with(told()))
	ann, bob := h.login(t, "ann", v5), h.login(t, "bob", v5)
	for _, p := range []*peer{ann, bob} {
		p.quietly(0, "sensors/#")
	}
	h.publishes("A", "before")
	if got := string(ann.want(packets.Publish).Payload); got != "before" {
		t.Errorf("the owner: got %q", got)
	}
	h.shared(auth.ViewerAccess)
	if m := bob.want(packets.Publish); m.TopicName != "sensors/A/status" || string(m.Payload) != statusOf(telemetry.StateNeverSeen) {
		t.Errorf("got %s %q, want the status of A", m.TopicName, m.Payload)
	}
	h.publishes("A", "after")
	for _, p := range []*peer{ann, bob} { // the owner is told of no status
		if got := string(p.want(packets.Publish).Payload); got != "after" {
			t.Errorf("got %q, want the reading", got)
		}
	}
	bob.quietly(0, "sensors/A/telemetry")
}

func TestShare_EndedTakesTheSensorAndItsFilters(t *testing.T) {
	h := start(t, autoIntake(), with(told()))
	h.shared(auth.ManagerAccess)
	bob, ann := h.login(t, "bob", v5, persistently), h.login(t, "ann", v5)
	ann.quietly(0, "sensors/A/telemetry")
	bob.quietly(0, "sensors/+/telemetry", "sensors/A/telemetry", "$share/g/sensors/A/telemetry", "sensors/A/status", "$SYS/x", "sensors/C/telemetry")
	before := h.Stats().Subscriptions
	h.shared(auth.NoAccess)
	if m := bob.want(packets.Publish); m.TopicName != "sensors/A/status" || len(m.Payload) != 0 {
		t.Errorf("got %s %q, want an empty status", m.TopicName, m.Payload)
	}
	eventually(t, "the subscriptions to end", func() bool { return h.Stats().Subscriptions == before-3 })
	h.publishes("A", "a")
	h.publishes("C", "c")
	if m := bob.want(packets.Publish); m.TopicName != "sensors/C/telemetry" {
		t.Errorf("got %s, want nothing of A", m.TopicName)
	}
	if got := string(ann.want(packets.Publish).Payload); got != "a" {
		t.Errorf("the owner: got %q, want a", got)
	}
	var ended []string
	for _, c := range h.in.journaled() {
		if u, ok := c.(state.Unsubscribe); ok {
			ended = append(ended, u.Filter)
		}
	}
	slices.Sort(ended)
	if want := []string{"$share/g/sensors/A/telemetry", "sensors/A/status", "sensors/A/telemetry"}; !slices.Equal(ended, want) {
		t.Errorf("journaled as ended: got %q, want %q", ended, want)
	}
}

func TestShare_EndedTakesWhatIsQueuedAndRetained(t *testing.T) {
	h := start(t, autoIntake())
	h.shared(auth.ViewerAccess)
	bob := h.login(t, "bob", persistently)
	bob.subscribe(1, "sensors/+/telemetry")
	bob.c.Close()
	eventually(t, "bob is away", func() bool { return h.Stats().Connections == 0 })
	a := h.login(t, "A")
	a.send(retain(publish("sensors/A/telemetry", "a", 1, 1)))
	a.want(packets.Puback)
	h.publishes("C", "c")
	h.shared(auth.NoAccess)
	bob = h.dial(t)
	if ack := bob.connect("bob", "pw", persistently); !ack.SessionPresent {
		t.Error("session was lost")
	}
	m := bob.want(packets.Publish)
	if string(m.Payload) != "c" {
		t.Errorf("got %q, want c", m.Payload)
	}
	bob.send(ack(packets.Puback, m.PacketID))
	bob.subscribe(1, "sensors/+/telemetry")
	bob.wantAlive()
}

// A sensor that changes hands keeps its serial, and what was under way of the one before is nobody's: neither a message being fanned out, nor
// one that is queued, nor one retained.
func TestTransfer_NothingUnderWayPasses(t *testing.T) {
	h := start(t, autoIntake())
	h.shared(auth.ViewerAccess) // bob is a viewer first
	bob := h.login(t, "bob", persistently)
	bob.subscribe(1, "sensors/+/telemetry/#")
	bob.c.Close()
	eventually(t, "bob is away", func() bool { return h.Stats().Connections == 0 })
	h.publishes("A", "queued")

	before, _ := h.people.dir.Lookup("A")
	heir := auth.Device{SensorID: 999, Serial: "A", OwnerID: bobsNumber}
	h.people.dir.Put(heir)
	h.publishes("A", "under way")
	old := auth.Principal{Kind: auth.Sensor, SensorID: before.SensorID, Serial: "A"}
	now := auth.Principal{Kind: auth.Sensor, SensorID: heir.SensorID, Serial: "A"}
	kept := func(p auth.Principal, topic, payload string) {
		t.Helper()
		if ok, _ := h.retained.put(p, &state.Message{Topic: "sensors/A/telemetry/" + topic, SensorID: p.SensorID, Payload: []byte(payload)}); !ok {
			t.Fatal("no room")
		}
	}
	kept(old, "x", "old x")
	kept(now, "y", "new y")
	kept(old, "y", "") // its connection ends late
	kept(old, "y", "old y")
	bob = h.dial(t)
	bob.connect("bob", "pw", persistently)
	bob.subscribe(1, "sensors/A/#")
	if m := bob.want(packets.Publish); string(m.Payload) != "new y" {
		t.Errorf("got %q, want new y", m.Payload)
	}
	bob.wantAlive()
	h.AuthorityChanged(auth.Change{Kind: auth.SensorRemoved, Serial: "A", SensorID: before.SensorID, UserID: before.OwnerID})
	bob.subscribe(1, "sensors/A/#")
	if m := bob.want(packets.Publish); string(m.Payload) != "new y" {
		t.Errorf("after the news: got %q, want new y", m.Payload)
	}
	bob.wantAlive()
	if n, _ := h.retained.count(); n != 1 {
		t.Errorf("got %d messages retained, want the new owner's", n)
	}
}

// What a session had queued when the server stopped is told apart by its sensor after a restart, too.
func TestTransfer_QueuedBeforeARestartDoesNotPass(t *testing.T) {
	queued := func(n int64, sensor int64) state.Delivery {
		return state.Delivery{Order: n, PacketID: uint16(n), Message: state.Message{Topic: "sensors/C/telemetry", SensorID: sensor, Payload: []byte{byte('0' + n)}, QoS: 1}}
	}
	h := start(t, autoIntake(), func(h *house, _ *Config) {
		h.kept = &state.Snapshot{Sessions: []state.Stored{{
			Session:    state.Session{ID: "u2/client", UserID: bobsNumber, Version: 4, Expiry: time.Hour},
			Deliveries: []state.Delivery{queued(1, 7), queued(2, sensorID("C")), queued(3, 0)}, // the last from before messages said whose they are
		}}}
	})
	bob := h.dial(t)
	bob.connect("bob", "pw", persistently, clientID("client"))
	for _, want := range []string{"2", "3"} {
		if got := string(bob.want(packets.Publish).Payload); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	bob.wantAlive()
}
