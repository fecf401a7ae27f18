package broker

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// words is a States the test speaks for.
type words struct {
	mu    sync.Mutex
	state map[int64]telemetry.State
	asked func(sensorID int64) // called after each answer
}

func (w *words) StateOf(sensorID int64) (telemetry.State, telemetry.Millis) {
	w.mu.Lock()
	state, ok := w.state[sensorID]
	asked := w.asked
	w.mu.Unlock()
	if asked != nil {
		defer asked(sensorID)
	}
	if !ok {
		return telemetry.StateNeverSeen, 0
	}
	return state, 1_700_000_000_000
}

// step takes a sensor to a state, as package alert does.
func (w *words) step(h *house, serial string, to telemetry.State) {
	w.mu.Lock()
	w.state[sensorID(serial)] = to
	w.mu.Unlock()
	h.StateChanged(telemetry.StateChange{SensorID: sensorID(serial), Serial: serial, State: to})
}

func told() *words { return &words{state: map[int64]telemetry.State{}} }

func with(w *words) option { return func(h *house, _ *Config) { h.told = w } }

func statusOf(state telemetry.State) string {
	if state == telemetry.StateNeverSeen {
		return `{"state":"never_seen","last_seen_at":null}`
	}
	return fmt.Sprintf(`{"state":%q,"last_seen_at":"2023-11-14T22:13:20.000Z"}`, state)
}

func TestStatus_IsRetainedAndToldOfEachStep(t *testing.T) {
	w := told()
	h := start(t, autoIntake(), with(w))
	w.state[sensorID("A")] = telemetry.StateOnline
	ann := h.login(t, "ann", v5)
	pk := subscribe(1, 1, "sensors/+/status")
	ann.send(pk)
	ann.want(packets.Suback)
	var got []string
	for range 2 { // A and B are ann's, C is not
		m := ann.want(packets.Publish)
		if !m.FixedHeader.Retain {
			t.Errorf("%s at the subscription came without the retain flag", m.TopicName)
		}
		got = append(got, m.TopicName+" "+string(m.Payload))
	}
	slices.Sort(got)
	want := []string{"sensors/A/status " + statusOf(telemetry.StateOnline), "sensors/B/status " + statusOf(telemetry.StateNeverSeen)}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	w.step(h, "C", telemetry.StateSilent)
	for _, state := range []telemetry.State{telemetry.StateSilent, telemetry.StateOnline} {
		w.step(h, "A", state)
		if m := ann.want(packets.Publish); m.FixedHeader.Retain || m.TopicName != "sensors/A/status" || string(m.Payload) != statusOf(state) {
			t.Errorf("got %s %s, retain %v; want A %s, live", m.TopicName, m.Payload, m.FixedHeader.Retain, state)
		}
	}
	ann.wantAlive()
}

func TestStatus_SubscriptionOptionsAreHonoured(t *testing.T) {
	w := told()
	h := start(t, autoIntake(), with(w))
	ann := h.login(t, "ann", v5)
	ask := func(filter string, handling byte, asPublished bool) {
		t.Helper()
		pk := subscribe(1, 0, filter)
		pk.Filters[0].RetainHandling, pk.Filters[0].RetainAsPublished = handling, asPublished
		ann.send(pk)
		ann.want(packets.Suback)
	}
	const topic = "sensors/A/status"
	ask(topic, 2, false)
	ann.wantAlive() // nothing
	ask(topic, 1, false)
	ann.wantAlive() // not a new subscription
	ask(topic, 0, false)
	ann.want(packets.Publish)
	ask("sensors/A/telemetry", 0, false)
	ann.wantAlive()
	ask(topic, 2, true)
	w.step(h, "A", telemetry.StateOnline)
	if m := ann.want(packets.Publish); !m.FixedHeader.Retain {
		t.Error("retain as published: got no retain flag")
	}
	ask("$share/g/"+topic, 0, false) // shared ones get nothing at once (MQTT 5.0 §4.8.2)
	ann.wantAlive()
}

func TestStatus_SensorReadsItsOwnAndNobodyWritesIt(t *testing.T) {
	w := told()
	h := start(t, autoIntake(), with(w))
	a := h.login(t, "A", v5)
	a.send(subscribe(1, 0, "sensors/A/#"))
	a.want(packets.Suback)
	a.wantPayload(statusOf(telemetry.StateNeverSeen))
	a.send(subscribe(2, 0, "sensors/B/status"))
	if ack := a.want(packets.Suback); ack.ReasonCodes[0] != packets.ErrNotAuthorized.Code {
		t.Errorf("subscription to another's status: got %#x, want 0x87", ack.ReasonCodes[0])
	}
	a.send(retain(publish("sensors/A/status", `{"state":"online"}`, 1, 1)))
	if ack := a.want(packets.Puback); ack.ReasonCode != packets.ErrNotAuthorized.Code {
		t.Errorf("publish to one's own status: got %#x, want 0x87", ack.ReasonCode)
	}
	ann := h.login(t, "ann", v5)
	ann.send(publish("sensors/A/status", "x", 1, 1))
	if ack := ann.want(packets.Puback); ack.ReasonCode != packets.ErrNotAuthorized.Code {
		t.Errorf("publish of a person: got %#x, want 0x87", ack.ReasonCode)
	}
	a.wantAlive()
}

// A step while the retained status is on its way must not be overtaken by it: the last a client hears is the truth.
func TestStatus_StepDuringTheReplayIsNotOvertaken(t *testing.T) {
	inBubble(t, autoIntake, func(t *testing.T, h *house) {
		w := h.told.(*words)
		w.state[sensorID("A")] = telemetry.StateOnline
		var stepped atomic.Bool
		w.asked = func(int64) {
			if stepped.CompareAndSwap(false, true) { // after the answer, before it is sent
				w.step(h, "A", telemetry.StateSilent)
				synctest.Wait() // it is published
			}
		}
		ann := h.pipe(t)
		ann.connect("ann", "pw")
		ann.send(subscribe(1, 0, "sensors/A/status"))
		ann.want(packets.Suback)
		var last string
		for { // until nothing more comes
			m, err := ann.next()
			if err != nil {
				break
			}
			last = string(m.Payload)
		}
		if want := statusOf(telemetry.StateSilent); last != want {
			t.Errorf("the last status was %s, want %s", last, want)
		}
	}, with(told()))
}

func TestStatus_IsClearedForTheOwnerOfARemovedSensor(t *testing.T) {
	w := told()
	h := start(t, autoIntake(), with(w))
	ann, bob := h.login(t, "ann", v5), h.login(t, "bob", v5)
	for _, p := range []*peer{ann, bob} {
		pk := subscribe(1, 1, "sensors/+/status")
		pk.Filters[0].RetainHandling = 2
		p.send(pk)
		p.want(packets.Suback)
	}
	h.dir.Remove("A")
	h.AuthorityChanged(auth.Change{Kind: auth.SensorRemoved, SensorID: sensorID("A"), Serial: "A", UserID: 1})
	if m := ann.want(packets.Publish); m.TopicName != "sensors/A/status" || len(m.Payload) != 0 {
		t.Errorf("got %s %q, want an empty message", m.TopicName, m.Payload)
	}
	bob.wantAlive()
	h.dir.Put(auth.Device{SensorID: 99, Serial: "A", OwnerID: 2}) // it is bob's now
	h.AuthorityChanged(auth.Change{Kind: auth.SensorAdded, SensorID: 99, Serial: "A", UserID: 2})
	bob.wantPayload(statusOf(telemetry.StateNeverSeen))
	ann.wantAlive()
}

func TestNews_HoldsEachSensorOnce(t *testing.T) {
	n := newNews()
	for range 1000 {
		n.add(bulletin{serial: "A"})
		n.add(bulletin{serial: "B"})
	}
	if got := n.take(); !slices.Equal(got, []bulletin{{serial: "A"}, {serial: "B"}}) {
		t.Errorf("got %v, want A and B", got)
	}
	if got := n.take(); len(got) != 0 {
		t.Errorf("a second time: got %v, want nothing", got)
	}
}
