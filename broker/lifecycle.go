package broker

import (
	"io"
	"runtime/debug"
	"time"

	state "sensorcast/session"
	"sensorcast/telemetry"
)

const (
	// settleTimeout bounds the wait for the fates of what a connection handed over. The pipe owes every one of them; past this the
	// store hangs, and what is undecided counts as not stored.
	settleTimeout = 30 * time.Second

	farewell        = 5 * time.Second        // for acknowledgements and DISCONNECT to leave after the end of a connection
	revokedFarewell = 500 * time.Millisecond // the same when authority ended
	lastWords       = 500 * time.Millisecond // for the peer to close after us, so that what we sent is not lost to a reset
)

// handle is the connection's goroutine from accept to the closed socket.
func (b *Broker) handle(c *conn) {
	defer func() {
		b.mu.Lock()
		delete(b.conns, c)
		b.mu.Unlock()
	}()
	c.inside = true // admit has seen to that
	sound := false
	if err := c.shake(); err != nil {
		b.log.Debug("tls handshake failed", "remote", c.remote, "err", err)
	} else {
		sound = b.establish(c)
	}
	c.stepOut()
	b.leavePending(c)
	c.Close()
	limit := farewell
	if c.revoked.Load() {
		limit = revokedFarewell
	}
	cut := time.AfterFunc(limit, func() { c.raw.Close() })
	defer cut.Stop()
	b.conclude(c, sound)
	close(c.done)
	c.depart(limit)
}

// establish serves the connection, and reports whether it ended without a panic: whatever goes wrong in here costs this connection
// only.
func (b *Broker) establish(c *conn) (sound bool) {
	defer func() {
		if sound {
			return
		}
		r := recover()
		b.counters.panics.Add(1)
		b.log.Error("mqtt connection panicked", "remote", c.remote, "client", c.sessionID(), "err", r, "stack", string(debug.Stack()))
	}()
	c.why = c.serve()
	b.log.Debug("client disconnected", "remote", c.remote, "client", c.sessionID(), "err", c.why)
	return true
}

// leavePending gives the place among those not logged in back, once.
func (b *Broker) leavePending(c *conn) {
	if c.place != nil {
		b.pending.leave(c.place)
		c.place = nil
	}
}

// takeSeat counts a client in, if there is room for one more.
func (b *Broker) takeSeat() bool {
	if b.seats.Add(1) > int64(b.cfg.MaxClients) {
		b.seats.Add(-1)
		return false
	}
	return true
}

// conclude waits for the fates of all the connection handed over and leaves behind either a session that is true or none.
func (b *Broker) conclude(c *conn, sound bool) {
	if c.seated {
		b.seats.Add(-1)
	}
	c.await(settleTimeout, func() bool { return c.uncommittedLocked() == 0 })
	c.replays.Wait() // they have seen that it is closing
	s := c.session
	if s == nil {
		return
	}
	if !c.opened { // refused once it had claimed it: authority has ended
		b.discard(s, c, false)
		return
	}
	c.forgetUnstored()
	b.departed(c)
	s.leave(c)
	s.settleJournal(b)
	if c.revoked.Load() && c.retaining != "" { // it may have been retained after AuthorityChanged looked
		_, change := b.retained.put(c.principal, &state.Message{Topic: c.retaining})
		b.note(change)
	}
	var changes []state.Change
	if willed := !c.parted && !c.revoked.Load() && !b.closing.Load(); willed {
		changes = b.leaveWill(s)
	} else if !b.closing.Load() { // our own shutdown is nobody's death: a will stays with the journal for the next start
		s.takeWill()
		changes = append(changes, state.Withdraw{ID: s.id})
	}
	if sound && s.durable() {
		ends := time.Now().Add(s.expiry)
		changes = append(changes, s.endsAt(ends))
		b.note(changes)
		if b.sessions.keep(s, c, ends) {
			return
		}
	}
	b.discard(s, c, false)
}

// leave ends a connection's time in the session.
func (s *session) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == c {
		s.conn = nil
	}
	s.sent = 0
	for i := len(s.queue) - 1; i >= 0; i-- {
		if s.queue[i].errand {
			s.removeLocked(i)
		}
	}
}

func (s *session) endsAt(t time.Time) state.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keepLocked(telemetry.MillisOf(t))
}

// forgetUnstored lets QoS 2 messages that were not stored be taken anew when they are sent again [MQTT-4.3.3-10].
func (c *conn) forgetUnstored() {
	c.mu.Lock()
	lost := c.lost
	c.lost = nil
	c.out.settle(c.fates.Load())
	for _, p := range c.out.open { // undecided after settleTimeout
		if p.id != 0 {
			lost = append(lost, p.id)
		}
	}
	failed := c.failed || len(c.out.open) > 0
	c.mu.Unlock()
	for _, id := range lost {
		c.session.complete(id)
	}
	if failed {
		c.session.mu.Lock()
		c.session.stale = true
		c.session.mu.Unlock()
	}
}

// discard ends a session for good. Its holder calls it. A will that waits for its delay is published if it is willed: it was due at
// the end of the session at the latest [MQTT-3.1.2-8].
func (b *Broker) discard(s *session, h holder, willed bool) {
	if w, _ := s.takeWill(); w != nil && willed && !b.closing.Load() {
		b.publishWill(s, w)
	}
	s.mu.Lock()
	changes := s.clearLocked(b)
	s.gone = true
	justWill := !s.durable()
	s.mu.Unlock()
	if !(b.closing.Load() && justWill) { // which is all that is left of a client at our own stop
		b.note(changes)
	}
	b.sessions.remove(s, h)
}

// depart lets what may leave leave, and closes the socket.
func (c *conn) depart(limit time.Duration) {
	defer func() {
		c.raw.Close()
		c.mu.Lock()
		c.out.discard() // a session may outlive its connection
		c.mu.Unlock()
	}()
	told := false
	c.await(limit, func() bool {
		told = !c.broken && c.quiet && c.out.ready(c.fates.Load()) == 0
		return told || c.broken
	})
	if !told || c.ended {
		return
	}
	// Closing with unread data resets the connection (RFC 1122 §4.2.2.13), and the peer might never see why it ended.
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.raw.SetReadDeadline(time.Now().Add(lastWords))
		_, _ = io.CopyN(io.Discard, c.raw, maxOutbound)
	}
}
