package broker

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

// States knows which sensors are silent; *alert.Watch does.
type States interface {
	// StateOf returns a sensor's state and when it was last seen. It touches memory only.
	StateOf(sensorID int64) (telemetry.State, telemetry.Millis)
}

// Every sensor's status topic holds a retained message that nobody stores: it is made of what States knows when somebody subscribes, so
// it is true after any crash, and costs nothing while nobody looks. Steps are published as they are told.

const (
	statusSuffix = "/status"
	anySerial    = "x" // stands for all in the question whether a filter matches the status of any
)

// maxAlertNews is how many steps of alerts may wait to be published.
const maxAlertNews = 1 << 16

// news is the sensors whose status is to be published, in order. A sensor that steps again before its turn is in it once: what is
// published is what holds then. So there are never more than sensors, but for those removed meanwhile. Steps of alerts are each published
// as they were told; what is over maxAlertNews is dropped and counted.
type news struct {
	mu      sync.Mutex
	waiting []bulletin            // guarded by mu
	alerts  int                   // guarded by mu: of waiting
	known   map[bulletin]struct{} // guarded by mu: what waits
	wake    chan struct{}
}

// bulletin is a sensor whose status is to be published, or told to be none any more, or a step of an alert.
type bulletin struct {
	serial string
	person int64 // whom alone it is for; zero: everybody who may see the sensor
	lost   bool  // that person may see it no more

	alert    string // of an alert: the payload
	sensorID int64  // and whose it is
}

// others is everybody whom the bulletin is not for.
func (n bulletin) others(s *session, _ packets.Subscription) bool {
	return n.person != 0 && !(s.who().IsPerson(n.person) && s.who().Covers(n.serial))
}

func newNews() *news {
	return &news{known: map[bulletin]struct{}{}, wake: make(chan struct{}, 1)}
}

func (n *news) add(b bulletin) {
	n.mu.Lock()
	if _, waits := n.known[b]; !waits {
		n.known[b] = struct{}{}
		n.waiting = append(n.waiting, b)
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// addAlert is add for a step of an alert, and reports whether there was room.
func (n *news) addAlert(b bulletin) bool {
	n.mu.Lock()
	full := n.alerts >= maxAlertNews
	if !full {
		n.alerts++
		n.waiting = append(n.waiting, b)
	}
	n.mu.Unlock()
	if full {
		return false
	}
	select {
	case n.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns all that waits, in order.
func (n *news) take() []bulletin {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.waiting
	n.waiting, n.alerts = nil, 0
	clear(n.known)
	return all
}

// StateChanged has a sensor's new state published. It touches memory only and never blocks.
func (b *Broker) StateChanged(c telemetry.StateChange) {
	if b.sessions.subscriptions.Load() > 0 {
		b.news.add(bulletin{serial: c.Serial})
	}
}

// AlertChanged has a step of an alert published, to those who subscribe by then: it is an event, and nothing is retained of it. It touches
// memory only and never blocks.
func (b *Broker) AlertChanged(a telemetry.Alert) {
	if b.sessions.subscriptions.Load() == 0 {
		return
	}
	payload, _ := json.Marshal(a) // strings, numbers and times always marshal
	if !b.news.addAlert(bulletin{serial: a.Serial, alert: string(payload), sensorID: a.SensorID}) {
		b.counters.alertsDropped.Add(1)
	}
}

// statusChanged is StateChanged for sensors that are added or removed, for all or for somebody.
func (b *Broker) statusChanged(ch auth.Change) {
	if b.sessions.subscriptions.Load() == 0 {
		return
	}
	switch ch.Kind {
	case auth.SensorAdded:
		b.news.add(bulletin{serial: ch.Serial})
	case auth.ShareAdded:
		b.news.add(bulletin{serial: ch.Serial, person: ch.UserID})
	case auth.SensorRemoved, auth.ShareRemoved:
		b.news.add(bulletin{serial: ch.Serial, person: ch.UserID, lost: true})
	}
}

// publishNews publishes what waits, in order.
func (b *Broker) publishNews() {
	for {
		select {
		case <-b.news.wake:
			for _, n := range b.news.take() {
				b.announce(n)
			}
		case <-b.stop:
			return
		}
	}
}

func (b *Broker) announce(n bulletin) {
	switch {
	case n.lost:
		b.clearStatus(n)
		b.dropFilters(n.person, n.serial)
	case n.alert != "":
		b.publish(&state.Message{Topic: telemetry.AlertTopic(n.serial), SensorID: n.sensorID, Payload: []byte(n.alert), QoS: 1})
	default:
		if m := b.status(n.serial); m != nil {
			all := b.fanOut(m, n.others)
			b.journal(all, appendQueued(nil, all))
		}
	}
}

// status is the message on a sensor's status topic as of now; nil: there is no such sensor.
func (b *Broker) status(serial string) *state.Message {
	dev, ok := b.dir.Lookup(serial)
	if !ok || b.states == nil {
		return nil
	}
	word, seen := b.states.StateOf(dev.SensorID)
	payload := append([]byte(`{"state":"`), word...)
	payload = append(payload, `","last_seen_at":`...)
	payload = append(seen.AppendJSON(payload), '}')
	return &state.Message{Topic: statusTopic(serial), SensorID: dev.SensorID, Payload: payload, QoS: 1, Retain: true}
}

func statusTopic(serial string) string { return "sensors/" + serial + statusSuffix }

// clearStatus tells the connected clients of who lost a sensor that there is no status any more, by an empty message as a publisher
// would clear a retained one. It goes past the policy, which lets them see the sensor no more, and so only to whom it was, at QoS 0, for what is
// queued is judged again.
func (b *Broker) clearStatus(n bulletin) {
	m := &state.Message{Topic: statusTopic(n.serial), Retain: true}
	for id, sub := range b.index.match(m.Topic).Subscriptions {
		s := b.sessions.find(id)
		if s == nil {
			continue
		}
		if !n.others(s, sub) {
			out := *m
			out.Retain = sub.RetainAsPublished
			out.Properties = withIdentifiers(identifiers(sub), nil)
			s.deliver(b, &out)
		}
	}
}

// statuses are the topics of sensors p may view whose status the filter matches.
func (b *Broker) statuses(p auth.Principal, filter string) (topics []string) {
	if b.states == nil {
		return nil
	}
	if rest, ok := strings.CutPrefix(filter, "sensors/"); ok {
		if serial, _, _ := strings.Cut(rest, "/"); !strings.ContainsAny(serial, "+#") {
			if topic := statusTopic(serial); matches(filter, topic) && b.dir.Can(p, auth.View, serial) {
				topics = append(topics, topic)
			}
			return topics
		}
	}
	if !matches(filter, statusTopic(anySerial)) {
		return nil
	}
	for _, serial := range b.dir.SerialsOf(p) {
		topics = append(topics, statusTopic(serial))
	}
	return slices.Clip(topics)
}

// refresh makes what is replayed of a status true. A status that is none, because the sensor is gone, is nil.
func (b *Broker) refresh(m *state.Message) *state.Message {
	serial := strings.TrimSuffix(strings.TrimPrefix(m.Topic, "sensors/"), statusSuffix)
	now := b.status(serial)
	if now == nil {
		return nil
	}
	out := *m
	out.SensorID, out.Payload = now.SensorID, now.Payload
	return &out
}

// sameState reports whether two statuses tell the same state, whenever the sensor was last seen.
func sameState(a, b *state.Message) bool {
	stateIn := func(m *state.Message) []byte { word, _, _ := bytes.Cut(m.Payload, []byte{','}); return word }
	return bytes.Equal(stateIn(a), stateIn(b))
}
