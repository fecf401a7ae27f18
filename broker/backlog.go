package broker

import (
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// deliveriesPending is the length of mochi's queue of deliveries to one client. A goroutine of that client's moves them on to the
	// conn, which never blocks; but a burst is faster than that goroutine is scheduled, and mochi drops what does not fit, whatever
	// its QoS. A longer queue would cost 8 bytes a place for every sensor too.
	deliveriesPending = 256

	backlogFull = deliveriesPending * 3 / 4 // from here on whoever delivers waits
	backlogLow  = deliveriesPending / 4     // until here

	// backlogTimeout bounds that wait, which is for a goroutine's turn and never for a socket.
	backlogTimeout = 50 * time.Millisecond

	replayBytes = maxOutbound / 4 // of retained messages, queued at a time
)

// queue notes that mochi is about to queue a delivery, and waits for room if need be. The count may run ahead, since mochi does not
// say what it gave up on after that; a wait in vain shows it, and the client is not waited for again.
func (c *conn) queue() {
	if c.backlog.Add(1) < backlogFull || c.unpaced.Load() {
		return
	}
	if !c.await(backlogTimeout, func() bool { return c.backlog.Load() <= backlogLow || c.closing.Load() }) {
		c.unpaced.Store(true)
	}
}

// OnPublishDropped implements mqtt.Hook: mochi's queue of deliveries to a client is full.
func (h *hook) OnPublishDropped(cl *mqtt.Client, _ packets.Packet) {
	h.b.counters.dropped.Add(1)
	if c := connOf(cl); c != nil {
		c.backlog.Add(-1)
	}
}

// OnRetainPublished implements mqtt.Hook: one of the messages retained for a new subscription was queued. All of them may be more than
// may wait for one client, so the subscriber's own goroutine waits here, after every replayBytes, for its socket. One that takes
// nothing breaks at the stall timeout.
func (h *hook) OnRetainPublished(cl *mqtt.Client, pk packets.Packet) {
	c := connOf(cl)
	if c == nil {
		return
	}
	if c.replayed += len(pk.TopicName) + len(pk.Payload); c.replayed < replayBytes {
		return
	}
	c.replayed = 0
	c.await(backlogTimeout, func() bool { return c.backlog.Load() <= 0 || c.closing.Load() })
	c.await(0, func() bool { return len(c.out.buf) < replayBytes || c.closing.Load() })
}
