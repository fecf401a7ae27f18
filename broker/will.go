package broker

import (
	"time"

	"sensorcast/auth"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

// mayLeave reports whether p may leave a will on the topic: a sensor on its own lwt, nobody anywhere else.
func (b *Broker) mayLeave(p auth.Principal, topic string) bool {
	t := telemetry.ParseTopic(topic)
	return t.Channel == telemetry.ChannelWill && b.dir.MayPublish(p, t)
}

// stopWillLocked takes the will back that waits for its delay: its client has returned [MQTT-3.1.3-9], or a new one takes its place.
func (s *session) stopWillLocked() {
	if s.willTimer != nil {
		s.willTimer.Stop()
		s.willTimer = nil
	}
	s.will, s.excused = nil, false
}

// leaveWill is for a connection that ended without a leave: the will is published now, or after its delay if the session is kept for
// that long. The policy may have changed since CONNECT.
func (b *Broker) leaveWill(s *session) (changes []state.Change) {
	s.mu.Lock()
	w := s.will
	if w == nil {
		s.mu.Unlock()
		return nil
	}
	if delay := min(w.Delay, s.expiry); delay > 0 {
		s.willTimer = time.AfterFunc(delay, func() { b.willDue(s, w) })
		due := *w
		due.DueAt = telemetry.Now().Add(delay)
		s.mu.Unlock()
		return []state.Change{state.Leave{ID: s.id, Will: due}}
	}
	s.will = nil
	s.mu.Unlock()
	b.publishWill(s, w)
	return nil
}

// willDue is called when a delay has passed.
func (b *Broker) willDue(s *session, w *state.Will) {
	s.mu.Lock()
	mine := s.will == w && s.willTimer != nil
	if mine {
		s.will, s.willTimer = nil, nil
	}
	s.mu.Unlock()
	if mine && !b.closing.Load() {
		b.publishWill(s, w)
	}
}

// publishWill publishes a will and lets the journal forget it.
func (b *Broker) publishWill(s *session, w *state.Will) {
	m := w.Message
	if m.ExpiresAt != 0 { // an interval until now
		m.ExpiresAt += telemetry.Now()
	}
	p := s.who()
	m.SensorID = p.SensorID
	if !b.mayLeave(p, m.Topic) {
		b.note([]state.Change{state.Withdraw{ID: s.id}})
		return
	}
	var changes []state.Change
	if m.Retain {
		kept, change := b.retained.put(p, &m)
		if !kept {
			b.counters.retainRefused.Add(1)
		}
		changes = change
	}
	b.publish(&m, append(changes, state.Withdraw{ID: s.id})...)
}

// takeWill removes and returns the will, for one that is to be published or forgotten now, and whether it waited because of our stop.
func (s *session) takeWill() (w *state.Will, excused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, excused = s.will, s.excused
	s.stopWillLocked()
	return w, excused
}
