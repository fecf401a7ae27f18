package broker

import (
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

const (
	// maxWindow is how many deliveries a client may have unacknowledged, whatever it offers; v3.1.1 clients, which offer nothing and
	// may be small, have a lower one.
	maxWindow   = 256
	maxWindowV3 = 64
)

// session is what the broker keeps for one client id of one principal: subscriptions, the queue of deliveries the client has not
// acknowledged, and the QoS 2 messages it has not released. It outlives its connection if the client asked for that, and then every
// change to it is journaled. One connection at a time holds it, see sessions.
type session struct {
	id     string // scope/clientID
	scope  string
	serial string // of a sensor

	holder  holder    // guarded by sessions.mu; nil while the client is away
	expires time.Time // guarded by sessions.mu; zero while the client is there

	waiting atomic.Int64 // deliveries in queue

	mu        sync.Mutex // guards all below; taken before conn.mu
	principal auth.Principal
	version   byte
	conn      *conn         // nil while the client is away
	expiry    time.Duration // how long it is kept without a connection; 0: not at all
	kept      bool          // the journal knows it
	stale     bool          // and may know it wrong: a commit failed
	gone      bool          // discarded
	subs      map[string]mqtt.Subscription
	window    int
	queue     []*delivery // in order; the first sent of them are on their way
	sent      int
	bytes     int // of queue
	order     int64
	lastID    uint16
	owed      []state.Change      // deliveries that have left the queue, still to be told the journal
	received  map[uint16]struct{} // QoS 2 packet ids of the client's that it has not released
	will      *state.Will
	willTimer *time.Timer // of a delayed will, once the connection has ended
	excused   bool        // our stop ended the connection: the will is only for a client that does not return
}

// delivery is a message on its way to the client.
type delivery struct {
	state.Delivery
	ready bool // the journal knows of it, where it has to
	begun bool // sent before, on this connection or an earlier one

	errand bool        // kept in the outbox of commands, not here
	over   atomic.Bool // it has left the queue
	acked  atomic.Bool // and the client has acknowledged it
}

// open begins a connection's time in the session. It reports whether there was something to resume, and the changes to journal.
func (s *session) open(c *conn, h *hello) (present bool, changes []state.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.anew {
		changes = s.clearLocked(c.broker)
	}
	present, c.opened = s.subs != nil, true
	s.principal, s.version, s.conn, s.sent = c.principal, h.version, c, 0
	s.window = maxWindowV3
	if h.version == 5 {
		s.window = maxWindow
		if h.has.has(mqtt.PropReceiveMaximum) {
			s.window = min(maxWindow, int(h.receiveMaximum)) // [MQTT-3.3.4-9]
		}
	}
	s.expiry = c.broker.expiry(h)
	if s.subs == nil {
		s.subs = map[string]mqtt.Subscription{}
	}
	s.stopWillLocked()
	s.will = h.will
	switch {
	case s.stale && s.durable():
		changes = append(changes, s.recordLocked()...)
	case s.durable(), s.will != nil, s.kept:
		changes = append(changes, s.keepLocked(0))
	}
	if s.will != nil {
		changes = append(changes, state.Leave{ID: s.id, Will: *s.will})
	}
	return present, changes
}

// clearLocked empties the session for a client that starts anew [MQTT-3.1.2-4].
func (s *session) clearLocked(b *Broker) (changes []state.Change) {
	for filter := range s.subs {
		b.index.remove(s.id, filter)
	}
	b.sessions.subscriptions.Add(-int64(len(s.subs)))
	s.subs, s.queue, s.received, s.sent, s.bytes = nil, nil, nil, 0, 0
	s.waiting.Store(0)
	if s.kept {
		s.kept = false
		changes = append(changes, state.Drop{ID: s.id})
	}
	return changes
}

// keepLocked is the change that tells the journal of the session as it is.
func (s *session) keepLocked(endsAt telemetry.Millis) state.Change {
	s.kept = true
	return state.Keep{Session: state.Session{
		ID: s.id, UserID: s.principal.UserID, SensorID: s.principal.SensorID,
		Version: s.version, Expiry: s.expiry, EndsAt: endsAt,
	}}
}

// durable reports whether what hangs on the session outlives the process.
func (s *session) durable() bool { return s.expiry > 0 }

// who is the principal the session belongs to, as last proven.
func (s *session) who() auth.Principal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.principal
}

func (s *session) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil
}

// setExpiry changes how long the session is kept. To turn none into some is not allowed.
func (s *session) setExpiry(seconds uint32, most time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expiry == 0 && seconds > 0 {
		return false
	}
	s.expiry = min(time.Duration(seconds)*time.Second, most)
	return true
}

func (s *session) expirySeconds() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint32(s.expiry / time.Second)
}

// taken reports whether the QoS 2 message is one the client has not released yet, and how many of these there are.
func (s *session) taken(id uint16) (bool, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.received[id]
	return ok, len(s.received)
}

// take notes that a QoS 2 message was taken.
func (s *session) take(id uint16) []state.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.received == nil {
		s.received = map[uint16]struct{}{}
	}
	s.received[id] = struct{}{}
	if !s.durable() {
		return nil
	}
	return []state.Change{state.Receive{ID: s.id, PacketID: id}}
}

// complete forgets a QoS 2 message: the client released it, or it was never stored. It reports whether it was known.
func (s *session) complete(id uint16) (bool, []state.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.received[id]; !ok {
		return false, nil
	}
	delete(s.received, id)
	if !s.durable() {
		return true, nil
	}
	return true, []state.Change{state.Complete{ID: s.id, PacketID: id}}
}

// recordLocked is all of the session, told anew.
func (s *session) recordLocked() []state.Change {
	s.stale = false
	changes := []state.Change{state.Drop{ID: s.id}, s.keepLocked(0)}
	for _, sub := range s.subs {
		changes = append(changes, state.Subscribe{ID: s.id, Subscription: storedSubscription(sub)})
	}
	for _, d := range s.queue {
		changes = append(changes, state.Queue{ID: s.id, Delivery: d.Delivery})
	}
	for id := range s.received {
		changes = append(changes, state.Receive{ID: s.id, PacketID: id})
	}
	return changes
}
