package ingest

import "sensorcast/session"

// Journal queues changes of what is kept of MQTT sessions, in the same order as readings and for the same commits: a change is durable
// no later than the readings its caller has Accept take afterwards. The changes of one call are stored together or not at all. It
// returns once they are queued; r, if not nil, hears when they are durable. Changes of a batch that fails are lost, and r is the only
// one to hear of it: a caller who goes on from a state nobody stored should ask.
//
// A call is never divided, so a huge one makes a huge transaction everybody waits for: what need not be stored together comes in several.
//
// While the queue is full it blocks, with a receipt or without. It must not be called from an Observer, which runs under the lock
// Journal takes, nor from Receipt.Committed, which the room it may wait for depends on. The slice may be used again afterwards, what it
// holds must not be written to.
//
// Errors: of kind telemetry.ErrUnavailable when the pipe is closed. r is not called then.
func (p *Pipe) Journal(changes []session.Change, r Receipt) error {
	e := entry{changes: len(changes), r: r}
	for _, c := range changes {
		e.bytes += bytesOf(c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waitForRoomLocked()
	if p.closed {
		return errStopping
	}
	e.after = p.seq
	p.queue.note(e, changes)
	p.queuedLocked()
	return nil
}

func (q *queue) note(e entry, changes []session.Change) {
	q.entries.push(e)
	q.changes.push(changes...)
	q.bytes += e.bytes
}

// bytesOf is what a waiting change keeps alive of what a client chose the length of: 65,535 bytes may already be its id.
func bytesOf(c session.Change) int {
	switch c := c.(type) {
	case session.Keep:
		return len(c.Session.ID)
	case session.Drop:
		return len(c.ID)
	case session.Subscribe:
		return len(c.ID) + len(c.Subscription.Filter)
	case session.Unsubscribe:
		return len(c.ID) + len(c.Filter)
	case session.Queue:
		return len(c.ID) + messageBytes(&c.Delivery.Message)
	case session.Release:
		return len(c.ID)
	case session.Settle:
		return len(c.ID)
	case session.Receive:
		return len(c.ID)
	case session.Complete:
		return len(c.ID)
	case session.Leave:
		return len(c.ID) + messageBytes(&c.Will.Message)
	case session.Withdraw:
		return len(c.ID)
	case session.Retain:
		return messageBytes(&c.Retained.Message)
	}
	return 0
}

func messageBytes(m *session.Message) int { return len(m.Topic) + len(m.Payload) + len(m.Properties) }
