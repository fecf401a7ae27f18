package broker

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/wire"
)

const (
	takeBytes = 64 << 10 // handed to wire at a time

	// maxOutbound is what may wait for one client: some seconds of a slow link. Who falls further behind is closed.
	maxOutbound = 1 << 20

	// gatherBytes is how much may wait while the reader is busy before a flusher is woken all the same.
	gatherBytes = 16 << 10

	// receiveMaximum is what v5 clients are told they may have unacknowledged (MQTT 5.0 §3.2.2.3.3).
	receiveMaximum = 256

	// maxUncommitted is how many messages of one connection may await their commit before it is not read any further. It is above
	// receiveMaximum because v3.1.1 clients know no such limit; reading continues at half.
	maxUncommitted = 1024

	keepAliveSlack = time.Second // a read deadline is moved only when it would come this much too early
)

// conn is the connection mochi is given: it reads through frames, writes through a gate, and sends by way of wire, so that mochi
// never waits for a socket and never acknowledges ahead of the store. It is an ingest.Receipt and a wire.Source.
type conn struct {
	raw       net.Conn
	broker    *Broker
	sender    *wire.Sender
	remote    netip.Addr
	connectBy time.Time     // before it the first packet must have come
	done      chan struct{} // closed when mochi is through with the connection and every message has met its fate
	entered   bool          // counted in Broker.pending; the connection's goroutine only

	// Set while CONNECT is processed, by the connection's goroutine, before others can find the client.
	client    *mqtt.Client
	principal auth.Principal
	id        string // scoped session id; empty until the session is claimed

	inbound

	closing     atomic.Bool
	revoked     atomic.Bool   // authority ended: no will, and the session ends with the connection
	established atomic.Bool   // CONNACK is written
	version     atomic.Uint32 // MQTT protocol version; 0 until CONNECT
	fates       atomic.Uint64 // messages whose fate is known
	woken       atomic.Bool   // a Take is to come
	waiters     atomic.Int32  // goroutines in await
	offline     atomic.Int64  // payload bytes queued for the session since the connection ended
	backlog     atomic.Int32  // deliveries in mochi's queue, about
	unpaced     atomic.Bool   // backlog is not to be relied on

	mu      sync.Mutex
	changed sync.Cond // broadcast when anything awaited may have changed and waiters > 0
	out     gate      // guarded by mu
	raised  uint64    // guarded by mu: messages accepted or being accepted
	lost    []uint16  // guarded by mu: packet ids of QoS 2 messages that were not stored
	failed  bool      // guarded by mu: the store failed
	broken  bool      // guarded by mu: the socket failed
	busy    bool      // guarded by mu: the reader works through what it read and will come back to Read
	quiet   bool      // guarded by mu: nothing handed to wire is unwritten
}

func newConn(b *Broker, raw net.Conn, remote netip.Addr) *conn {
	c := &conn{raw: raw, broker: b, remote: remote, connectBy: time.Now().Add(b.cfg.ConnectTimeout), done: make(chan struct{}), quiet: true}
	c.frames.max = b.cfg.MaxPayload + packetSlack - 1 // as mochi counts MaximumPacketSize
	c.changed.L = &c.mu
	c.sender = b.pool.Attach(raw, c)
	return c
}

// connOf returns the connection of a client, nil for the inline client.
func connOf(cl *mqtt.Client) *conn {
	c, _ := cl.Net.Conn.(*conn)
	return c
}

// submit hands a message to ingest. If it is to be acknowledged the gate is raised first, so that what mochi is about to write waits for
// the commit. It blocks while ingest is full.
func (c *conn) submit(m ingest.Message, qos byte, packetID uint16) error {
	if qos == 0 {
		return c.broker.pipe.Accept(m, nil)
	}
	if qos == 1 {
		packetID = 0 // mochi keeps no state of a QoS 1 publish that could go wrong
	}
	c.mu.Lock()
	c.raised++
	c.out.raise(packetID)
	c.mu.Unlock()
	err := c.broker.pipe.Accept(m, c)
	if err != nil {
		c.mu.Lock()
		c.raised--
		c.out.lower()
		c.mu.Unlock()
	}
	return err
}

// Committed implements ingest.Receipt: the fate of the oldest message without one is known. It never blocks.
func (c *conn) Committed(err error) {
	if err != nil {
		c.unstored()
		c.fates.Add(1)
		c.Close()
		return
	}
	c.fates.Add(1)
	c.wake()
	c.signal()
}

// unstored drops the acknowledgement of the next message and of all after it: they are sent again on the next connection.
func (c *conn) unstored() {
	n := c.fates.Load() // only the committer moves it
	c.mu.Lock()
	defer c.mu.Unlock()
	if id := c.out.idOf(n); id != 0 {
		c.lost = append(c.lost, id)
	}
	if c.failed {
		return
	}
	c.failed = true
	c.out.fail(n)
	if c.version.Load() == 5 && !c.closing.Load() {
		c.out.write([]byte{packets.Disconnect << 4, 2, packets.ErrServerBusy.Code, 0}) // MQTT 5.0 §3.14
	}
	c.broker.counters.unstored.Add(1)
}

// Write queues one packet of mochi's. It never blocks; a client for which too much waits is closed.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) > 0 && b[0] == packets.Disconnect<<4 && c.version.Load() < 5 {
		return len(b), nil // a v3.1.1 server closes without a word (MQTT 3.1.1 §3.14)
	}
	if len(b) > 0 && b[0]>>4 == packets.Publish {
		c.backlog.Add(-1)
	}
	c.mu.Lock()
	if c.closing.Load() || c.failed {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	if len(c.out.buf)+len(b) > maxOutbound {
		c.mu.Unlock()
		c.broker.counters.slow.Add(1)
		c.abort()
		return 0, errSlow
	}
	c.out.write(b)
	ready := c.out.ready(c.fates.Load())
	wake := ready > 0 && (!c.busy || ready > gatherBytes)
	c.mu.Unlock()
	if wake {
		c.wake()
	}
	c.signal()
	return len(b), nil
}

// Take implements wire.Source.
func (c *conn) Take(buf []byte) []byte {
	c.woken.Store(false) // before fates is read: who finds woken set has counted already
	c.mu.Lock()
	n := len(buf)
	buf = c.out.take(buf, takeBytes, c.fates.Load())
	c.quiet = len(buf) == n
	c.mu.Unlock()
	c.signal()
	return buf
}

// Broken implements wire.Source.
func (c *conn) Broken(err error) {
	c.mu.Lock()
	c.broken = true
	c.mu.Unlock()
	if isStall(err) {
		c.broker.counters.stalled.Add(1)
	}
	c.abort()
}

// Close ends reading and takes no more writes; what was written before still leaves, and the socket closes when the connection's
// goroutine has seen to that. It never blocks and may be called at any time by anybody: mochi does, more than once.
func (c *conn) Close() error {
	c.closing.Store(true)
	c.raw.SetReadDeadline(aLongTimeAgo)
	c.wake()
	c.signal()
	return nil
}

// abort is Close for a peer that cannot be told anything any more.
func (c *conn) abort() {
	c.Close()
	c.raw.Close()
}

// end closes the connection, telling a v5 client why. mochi's own DisconnectClient would stop the client at once, and a reader that
// finds it stopped between two packets takes that for a clean end and drops the will; this way it ends on a failed read.
func (c *conn) end(why packets.Code) {
	if c.established.Load() { // never before CONNACK [MQTT-3.14.0-1]
		_ = c.client.WritePacket(packets.Packet{ // whether it could be written or not, Close follows
			FixedHeader: packets.FixedHeader{Type: packets.Disconnect},
			ReasonCode:  why.Code,
			Properties:  packets.Properties{ReasonString: why.Reason},
		})
	}
	c.Close()
}

func (c *conn) wake() {
	if !c.woken.Swap(true) {
		c.sender.Wake()
	}
}

func (c *conn) signal() {
	if c.waiters.Load() > 0 {
		c.mu.Lock()
		//lint:ignore SA2001 a waiter that has looked but does not sleep yet holds it, and would miss the broadcast
		c.mu.Unlock()
		c.changed.Broadcast()
	}
}

// await blocks until ok, asked under mu, holds or the limit has passed, and reports which. No limit: 0.
func (c *conn) await(limit time.Duration, ok func() bool) bool {
	expired := false
	if limit > 0 {
		t := time.AfterFunc(limit, func() {
			c.mu.Lock()
			expired = true
			c.mu.Unlock()
			c.changed.Broadcast()
		})
		defer t.Stop()
	}
	c.waiters.Add(1)
	defer c.waiters.Add(-1)
	c.mu.Lock()
	defer c.mu.Unlock()
	for !ok() && !expired {
		c.changed.Wait()
	}
	return ok()
}

// uncommittedLocked is the number of messages without a fate.
func (c *conn) uncommittedLocked() int { return int(int64(c.raised - c.fates.Load())) }

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline does nothing: mochi computes 1.5 × keep alive in 16 bits and moves the deadline for every packet. Read keeps it.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, as SetDeadline.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: wire has the stall timeout.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
