package broker

import (
	"io"
	"net"
	"runtime/debug"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
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
	sound := false
	if err := c.shake(); err != nil {
		b.log.Debug("tls handshake failed", "remote", c.remote, "err", err)
	} else {
		sound = b.establish(c)
	}
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

// establish lets mochi serve the connection, and reports whether it ended without a panic. mochi recovers from none, and a truncated
// v5 SUBSCRIBE causes one: whatever goes wrong in here costs this connection only.
func (b *Broker) establish(c *conn) (sound bool) {
	defer func() {
		if sound {
			return
		}
		r := recover()
		b.counters.panics.Add(1)
		b.log.Error("mqtt connection panicked", "remote", c.remote, "client", c.id, "err", r, "stack", string(debug.Stack()))
	}()
	err := b.server.EstablishConnection(listenerID, c)
	b.log.Debug("client disconnected", "remote", c.remote, "client", c.id, "err", err)
	return true
}

// listenerID is the one listener mochi believes in.
const listenerID = "mqtt"

// leavePending gives the place among those not logged in back, once.
func (b *Broker) leavePending(c *conn) {
	if c.entered {
		c.entered = false
		b.pending.leave(c.remote)
	}
}

// conclude waits for the fates of all the connection handed over and leaves behind either a session that is true or none.
func (b *Broker) conclude(c *conn, sound bool) {
	c.drop()
	c.await(settleTimeout, func() bool { return c.uncommittedLocked() == 0 })
	cl := c.client
	if cl == nil || c.id == "" {
		return
	}
	b.forgetUnstored(c)
	c.putBack(cl)
	current, known := b.server.Clients.Get(c.id)
	mine := known && current == cl
	if mine && sound && persistent(cl) && b.sessions.keep(c.id, c, time.Now().Add(b.expiry(cl))) {
		return
	}
	if mine {
		b.discard(cl)
	}
	if c.revoked.Load() && c.retaining != "" { // mochi may have retained it after AuthorityChanged looked
		b.retained.release(c.principal.Serial, c.retaining)
		b.unretain(c.retaining)
	}
	b.sessions.remove(c.id, c)
}

// forgetUnstored takes the PUBRECs of QoS 2 messages that were not stored out of the session. Left there, mochi would acknowledge the
// same messages sent again without handing them over [MQTT-4.3.3-10].
func (b *Broker) forgetUnstored(c *conn) {
	c.mu.Lock()
	lost := c.lost
	c.lost = nil
	c.out.settle(c.fates.Load())
	for _, p := range c.out.open { // undecided after settleTimeout
		if p.id != 0 {
			lost = append(lost, p.id)
		}
	}
	c.mu.Unlock()
	for _, id := range lost {
		if pk, ok := c.client.State.Inflight.Get(id); ok && pk.FixedHeader.Type == packets.Pubrec {
			c.client.State.Inflight.Delete(id)
		}
	}
}

// discard takes a session out of mochi. The caller holds the session.
func (b *Broker) discard(cl *mqtt.Client) {
	b.server.UnsubscribeClient(cl)
	cl.ClearInflights()
	b.server.Clients.Delete(cl.ID)
}

// depart lets what may leave leave, and closes the socket.
func (c *conn) depart(limit time.Duration) {
	defer func() {
		c.raw.Close()
		c.mu.Lock()
		c.out.discard() // mochi keeps a connection as long as its session
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
	if tcp, ok := c.raw.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		tcp.SetReadDeadline(time.Now().Add(lastWords))
		_, _ = io.CopyN(io.Discard, tcp, maxOutbound)
	}
}
