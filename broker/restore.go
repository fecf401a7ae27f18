package broker

import (
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	state "sensorcast/session"
)

// returnGrace is how long after a start clients that were connected at the stop may take to return before they count as gone.
const returnGrace = time.Minute

// Restore takes over what the journal kept when the server last stopped; serials has the sensors' by their ids. Call it before Start. A
// client that was connected then has the time it was granted, from now on, to come back to its session; its will is published if
// it has not returned a minute after the start.
func (b *Broker) Restore(kept state.Snapshot, serials map[int64]string) {
	now := time.Now()
	for i := range kept.Sessions {
		b.restoreSession(&kept.Sessions[i], serials, now)
	}
	for _, r := range kept.Retained {
		if serial, ok := serials[r.SensorID]; ok {
			m := r.Message
			m.SensorID = r.SensorID
			b.retained.restore(serial, &m)
		}
	}
}

func (b *Broker) restoreSession(st *state.Stored, serials map[int64]string, now time.Time) {
	p, ok := b.owner(&st.Session, serials)
	if !ok {
		b.note([]state.Change{state.Drop{ID: st.Session.ID}})
		return
	}
	s := &session{
		id: st.Session.ID, scope: p.Scope(), serial: p.Serial, principal: p,
		version: st.Session.Version, expiry: st.Session.Expiry, kept: true,
	}
	s.expires = now.Add(max(s.expiry, returnGrace)) // a will may be all there is to keep
	if wasAway := st.Session.EndsAt != 0; wasAway {
		s.expires = st.Session.EndsAt.Time()
	}
	if s.durable() {
		s.restore(b, st)
	}
	if w := st.Will; w != nil {
		s.will = w
		wait := returnGrace + w.Delay
		s.excused = w.DueAt == 0
		if w.DueAt != 0 {
			wait = w.DueAt.Time().Sub(now)
		}
		if st.Session.EndsAt != 0 { // due at the end of the session at the latest [MQTT-3.1.2-8]
			wait = min(wait, st.Session.EndsAt.Time().Sub(now))
		}
		s.mu.Lock() // which the timer's function takes: it may come before AfterFunc has returned
		s.willTimer = time.AfterFunc(max(wait, time.Millisecond), func() { b.willDue(s, w) })
		s.mu.Unlock()
	}
	b.sessions.restore(s)
	if st.Session.EndsAt == 0 {
		b.note([]state.Change{s.endsAt(s.expires)})
	}
}

// owner is whose session it was; false: nobody's any more.
func (b *Broker) owner(s *state.Session, serials map[int64]string) (auth.Principal, bool) {
	if s.SensorID != 0 {
		serial, ok := serials[s.SensorID]
		return auth.Principal{Kind: auth.Sensor, SensorID: s.SensorID, Serial: serial}, ok
	}
	scope, _, _ := strings.Cut(s.ID, "/")
	if token := auth.TokenOfScope(scope); token != "" {
		return b.service.Bearer(s.UserID, token)
	}
	return auth.Principal{Kind: auth.Person, UserID: s.UserID}, true
}

// restore fills a session nobody else knows yet.
func (s *session) restore(b *Broker, st *state.Stored) {
	s.subs = map[string]packets.Subscription{}
	for _, kept := range st.Subscriptions {
		sub := packets.Subscription{Filter: kept.Filter, Identifier: int(kept.Identifier)}
		if readOptions(&sub, kept.Options, true) == nil {
			s.add(b, sub)
		}
	}
	for i, d := range st.Deliveries {
		// Which of them were on their way is not known: at most as many as a window holds, and DUP does no harm.
		s.queue = append(s.queue, &delivery{Delivery: d, ready: true, begun: i < maxWindow})
		s.bytes += len(d.Message.Payload)
		s.order, s.lastID = d.Order, d.PacketID
	}
	s.waiting.Store(int64(len(s.queue)))
	for _, id := range st.Received {
		if s.received == nil {
			s.received = map[uint16]struct{}{}
		}
		s.received[id] = struct{}{}
	}
}

// restore adds a session nobody holds.
func (s *sessions) restore(se *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[se.id] = se
	s.byScope[se.scope] = append(s.byScope[se.scope], se)
}

// restore keeps a message whatever the bound: it was accepted once.
func (r *retained) restore(serial string, k *state.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removeLocked(serial, k.Topic)
	r.addLocked(serial, k)
}
