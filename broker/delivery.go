package broker

import (
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/ingest"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

// queued is a delivery that has joined a session's queue and is still to be journaled.
type queued struct {
	s *session
	d *delivery
}

// confirmation is the receipt of changes that queue deliveries: they are sent once they are stored. Before, a crash would give their
// packet ids to other messages, and a subscriber that has seen one of QoS 2 would take its successor for the same.
type confirmation struct {
	b    *Broker
	all  []queued
	next ingest.Receipt // told afterwards; nil: nobody
}

// Committed implements ingest.Receipt. It never blocks.
func (f confirmation) Committed(err error) {
	for _, q := range f.all {
		q.decide(f.b, err == nil)
	}
	if f.next != nil {
		f.next.Committed(err)
	}
}

// decide lets a delivery go that is stored, and forgets one that is not: its publisher will send it again.
func (q queued) decide(b *Broker, stored bool) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	if q.d.ready = stored; !stored {
		if i := slices.Index(q.s.queue, q.d); i >= 0 {
			q.s.removeLocked(i)
		}
	}
	q.s.pumpLocked(b)
}

// deliver hands a message on to the session's client at the QoS given. QoS 0 is sent or dropped. QoS 1 and 2 join the queue and are
// sent as far as the client's window reaches; where the queue outlives the process they are to be journaled first, with a confirmation.
// It never blocks.
func (s *session) deliver(b *Broker, m *state.Message) (q queued) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone:
	case m.QoS == 0:
		switch {
		case s.conn == nil || !s.conn.established.Load(): // not kept for clients that are away
		case s.conn.tooLarge(m, false): // counts as sent [MQTT-3.1.2-25]
		case !s.conn.send(m, 0, false, maxOutbound/2):
			b.counters.dropped.Add(1)
		}
	case len(s.queue) >= b.cfg.MaxQueued, s.bytes+len(m.Payload) > b.cfg.MaxQueuedBytes:
		b.counters.dropped.Add(1)
	default:
		d := s.pushLocked(m)
		if s.durable() {
			return queued{s, d}
		}
		d.ready = true
		s.pumpLocked(b)
	}
	return queued{}
}

func (s *session) pushLocked(m *state.Message) *delivery {
	s.order++
	d := &delivery{Delivery: state.Delivery{Order: s.order, PacketID: s.nextIDLocked(), Message: *m}}
	s.queue = append(s.queue, d)
	s.waiting.Add(1)
	s.bytes += len(m.Payload)
	return d
}

// nextIDLocked finds a packet id none of the queue has. The queue is shorter than there are ids, and ids are given in turn, so only
// one that has been left unacknowledged for very long can be in the way, and that is among those sent.
func (s *session) nextIDLocked() uint16 {
	old := len(s.queue) > 0 && s.order-s.queue[0].Order > 1<<15
	for {
		if s.lastID++; s.lastID == 0 {
			s.lastID = 1
		}
		id := s.lastID
		if !old || !slices.ContainsFunc(s.queue[:min(len(s.queue), maxWindow)], func(d *delivery) bool { return d.PacketID == id }) {
			return id
		}
	}
}

// pumpLocked sends from the queue as far as the window and the socket's own queue allow. What has expired meanwhile, or may not be
// seen by the client any more, leaves the queue unsent.
func (s *session) pumpLocked(b *Broker) {
	if s.conn == nil || !s.conn.established.Load() {
		return // CONNACK comes first [MQTT-3.2.0-1]; resume goes on from there
	}
	for s.sent < len(s.queue) && s.sent < s.window {
		d := s.queue[s.sent]
		m := &d.Message
		if !d.ready {
			return
		}
		if d.Released {
			s.conn.write(encodeAck(packets.Pubrel, d.PacketID, s.version, packets.CodeSuccess, ""))
			s.sent++
			continue
		}
		if gone := m.ExpiresAt != 0 && m.ExpiresAt <= telemetry.Now(); gone ||
			!b.dir.MayReceiveOf(s.principal, m.Topic, m.SensorID) || s.conn.tooLarge(m, true) {
			s.removeLocked(s.sent)
			continue
		}
		limit := maxOutbound / 4
		if s.sent == 0 {
			limit = maxOutbound // its acknowledgement is what moves the queue on
		}
		if !s.conn.send(m, d.PacketID, d.begun, limit) {
			return
		}
		d.begun = true
		s.sent++
	}
}

// removeLocked takes a delivery out of the queue. Those that are on their way are few, so it is cheap among them. What the journal is to be
// told is left for settleJournal: this may be called where nothing may block.
func (s *session) removeLocked(i int) {
	d := s.queue[i]
	s.waiting.Add(-1)
	s.bytes -= len(d.Message.Payload)
	copy(s.queue[1:i+1], s.queue[:i])
	s.queue[0] = nil
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
	if i < s.sent {
		s.sent--
	}
	d.over.Store(true)
	if s.durable() && !d.errand {
		s.owed = append(s.owed, state.Settle{ID: s.id, PacketID: d.PacketID})
	}
}

// settleJournal tells the journal of what has left the queue. It may block while ingest is full. What is not told before a crash is sent
// again after it, as QoS 1 and 2 allow: the client has kept the id of what it has not finished.
func (s *session) settleJournal(b *Broker) {
	s.mu.Lock()
	owed := s.owed
	s.owed = nil
	s.mu.Unlock()
	b.note(owed)
}

// findLocked returns the place of a delivery on its way, or -1.
func (s *session) findLocked(id uint16) int {
	return slices.IndexFunc(s.queue[:s.sent], func(d *delivery) bool { return d.PacketID == id })
}

// settle ends a delivery of the QoS, released or not: PUBACK, PUBCOMP, or PUBREC with a refusal. It makes room for the next.
func (s *session) settle(b *Broker, id uint16, qos byte, released bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.findLocked(id)
	if i < 0 || s.queue[i].Message.QoS != qos || s.queue[i].Released != released {
		return
	}
	s.queue[i].acked.Store(true)
	s.removeLocked(i)
	s.pumpLocked(b)
}

// release notes PUBREC for a delivery of QoS 2: from now on it is not sent again, only PUBREL is. It reports whether there was one.
func (s *session) release(id uint16) (bool, []state.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.findLocked(id)
	if i < 0 || s.queue[i].Message.QoS != 2 {
		return false, nil
	}
	d := s.queue[i]
	if d.Released {
		return true, nil
	}
	s.bytes -= len(d.Message.Payload)
	d.Released, d.Message = true, state.Message{QoS: 2}
	if !s.durable() {
		return true, nil
	}
	return true, []state.Change{state.Release{ID: s.id, PacketID: id}}
}

// resume sends again what an earlier connection left unacknowledged [MQTT-4.4.0-1], and then what has come meanwhile.
func (c *conn) resume() {
	s := c.session
	s.mu.Lock()
	s.pumpLocked(c.broker)
	s.mu.Unlock()
	s.settleJournal(c.broker)
}

// handshake handles the client's part of a QoS 1 or 2 exchange, in either direction.
func (c *conn) handshake(kind byte, in *cursor) error {
	id, failed, err := c.decodeAck(in)
	if err != nil {
		return err
	}
	s, b, version := c.session, c.broker, byte(c.version.Load())
	defer s.settleJournal(b)
	defer c.signal() // there may be room in the queue
	switch kind {
	case packets.Puback:
		s.settle(b, id, 1, false)
	case packets.Pubcomp:
		s.settle(b, id, 2, true)
	case packets.Pubrec:
		if failed { // nothing more comes [MQTT-4.3.3-4]
			s.settle(b, id, 2, false)
			return nil
		}
		known, changes := s.release(id)
		// PUBREL tells the client to forget the id, so what we know of it has to be safe before.
		if err := c.journal(changes...); err != nil {
			return packets.ErrServerBusy
		}
		c.write(encodeAck(packets.Pubrel, id, version, foundOr(known), ""))
	case packets.Pubrel:
		known, changes := s.complete(id)
		if err := c.journal(changes...); err != nil { // PUBCOMP lets the client use the id anew
			return packets.ErrServerBusy
		}
		c.write(encodeAck(packets.Pubcomp, id, version, foundOr(known), ""))
	}
	return nil
}

func foundOr(known bool) packets.Code {
	if known {
		return packets.CodeSuccess
	}
	return packets.ErrPacketIdentifierNotFound
}

// decodeAck reads PUBACK, PUBREC, PUBREL or PUBCOMP.
func (c *conn) decodeAck(in *cursor) (id uint16, failed bool, err error) {
	id = in.uint16()
	if in.bad || id == 0 {
		return 0, false, packets.ErrMalformedPacketID
	}
	if len(in.b) == 0 {
		return id, false, nil
	}
	if c.version.Load() < 5 {
		return 0, false, packets.ErrMalformedPacket
	}
	reason := in.byte()
	if len(in.b) > 0 {
		if _, err := in.properties(ackProperties); err != nil {
			return 0, false, err
		}
	}
	if len(in.b) > 0 {
		return 0, false, packets.ErrMalformedPacket
	}
	return id, reason >= packets.ErrUnspecifiedError.Code, nil
}
