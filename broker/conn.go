package broker

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/ingest"
	state "sensorcast/session"
	"sensorcast/telemetry"
	"sensorcast/wire"
)

const (
	takeBytes = 64 << 10 // handed to wire at a time

	// maxOutbound is what may wait for one client: some seconds of a slow link. QoS 0 is dropped at half of it and QoS 1 and 2 wait in
	// their session's queue from a quarter of it on, so what goes on to fill it is answers to a client that asks and does not read.
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

// conn is one client's connection. Its goroutine reads and handles packets; what it writes passes a gate, which keeps
// acknowledgements back until the store has committed, and leaves by way of wire, so that nobody who writes to a client ever waits
// for its socket. It is an ingest.Answerer and a wire.Source.
type conn struct {
	raw        net.Conn
	broker     *Broker
	sender     *wire.Sender
	remote     netip.Addr
	connectBy  time.Time     // before it the first packet must have come
	superseded chan struct{} // closed when a newer connection claims the session this one waits for
	done       chan struct{} // closed when the connection is through with its session and every message has met its fate
	place      *place        // among those not logged in; nil once it has been given back; the connection's goroutine only

	// Set while CONNECT is handled, by the connection's goroutine, before others can find the connection.
	principal  auth.Principal
	session    *session         // nil until it is claimed
	noProblems bool             // the client wants no reason strings (MQTT 5.0 §3.1.2.11.7)
	maxPacket  int              // the largest the client takes [MQTT-3.1.2-24]; 0: any
	since      telemetry.Millis // when CONNACK was written
	opened     bool             // the session is this connection's to speak for
	inside     bool             // has a place in the vestibule; the connection's goroutine only
	seated     bool             // counted among the clients logged in; the connection's goroutine only

	inbound

	closing     atomic.Bool
	closedFor   atomic.Pointer[packets.Code] // why we ended the connection, if we did and for a reason
	revoked     atomic.Bool                  // authority ended: no will, and the session ends with the connection
	established atomic.Bool                  // CONNACK is written
	version     atomic.Uint32                // MQTT protocol version; 0 until CONNECT
	fates       atomic.Uint64                // messages whose fate is known
	answered    uint64                       // those of them that Answer has seen to; the committer's own
	woken       atomic.Bool                  // a Take is to come
	waiters     atomic.Int32                 // goroutines in await
	replaying   atomic.Int32                 // goroutines of replay
	replays     sync.WaitGroup               // and of errands

	mu      sync.Mutex
	changed sync.Cond // broadcast when anything awaited may have changed and waiters > 0
	out     gate      // guarded by mu
	raised  uint64    // guarded by mu: messages accepted or being accepted
	errands errands   // in part guarded by mu
	lost    []uint16  // guarded by mu: packet ids of QoS 2 messages that were not stored
	failed  bool      // guarded by mu: the store failed
	broken  bool      // guarded by mu: the socket failed
	busy    bool      // guarded by mu: the reader works through what it read and will see to what was gathered
	quiet   bool      // guarded by mu: nothing handed to wire is unwritten
}

var aLongTimeAgo = time.Unix(1, 0)

func newConn(b *Broker, raw net.Conn, remote netip.Addr) *conn {
	c := &conn{raw: raw, broker: b, remote: remote, connectBy: time.Now().Add(b.cfg.ConnectTimeout), superseded: make(chan struct{}), done: make(chan struct{}), quiet: true}
	c.frames.max = b.cfg.MaxPayload + packetSlack
	c.changed.L = &c.mu
	if socket, ok := raw.(syscall.Conn); ok {
		if fd, err := socket.SyscallConn(); err == nil {
			c.fd, c.readFD = fd, c.readReady
		}
	}
	c.sender = b.pool.Attach(raw, c)
	return c
}

// submit hands a message to ingest: one that is owed no acknowledgement together with those that follow it, at the latest when what was read is
// handled. Else the gate is raised first, so that what is written from now on waits for the commit; it blocks while ingest is full.
func (c *conn) submit(m ingest.Message, qos byte, packetID uint16) error {
	if qos == 0 {
		return c.gather(m)
	}
	if err := c.deliver(); err != nil { // in their order
		return err
	}
	if qos == 1 {
		c.raise(forQoS1, 0)
	} else {
		c.raise(forQoS2, packetID)
	}
	err := c.broker.pipe.Accept(m, c)
	if err != nil {
		c.lower()
	}
	return err
}

// gather adds a message to those that enter ingest together: its lock, and those of its observers, are taken once for all of them.
func (c *conn) gather(m ingest.Message) error {
	if c.gathered == nil {
		c.gathered = ingest.NewBurst()
	}
	if err := c.gathered.Add(m); err != nil {
		c.broker.pipe.Malformed(m.SensorID, err.Error())
		return err
	}
	if c.gathered.Full() {
		return c.deliver()
	}
	return nil
}

// deliver hands on what was gathered.
func (c *conn) deliver() error {
	if c.gathered == nil {
		return nil
	}
	b := c.gathered
	c.gathered = nil
	return c.broker.pipe.Enter(b)
}

// journal has changes committed; what is written from now on waits for it. It blocks while ingest is full.
func (c *conn) journal(changes ...state.Change) error { return c.commit(changes, c) }

// commit is journal with a receipt that tells c in its turn.
func (c *conn) commit(changes []state.Change, r ingest.Receipt) error {
	if len(changes) == 0 {
		return nil
	}
	c.raise(forJournal, 0)
	err := c.broker.pipe.Journal(changes, r)
	if err != nil {
		c.lower()
	}
	return err
}

func (c *conn) raise(of owing, packetID uint16) {
	c.mu.Lock()
	c.raised++
	c.out.raise(of, packetID)
	c.mu.Unlock()
}

func (c *conn) lower() {
	c.mu.Lock()
	c.raised--
	c.out.lower()
	c.mu.Unlock()
}

// Committed implements ingest.Receipt: the fate of the oldest message without one is known. It never blocks.
func (c *conn) Committed(err error) {
	c.Settled(err)
	c.Answer(false)
}

// Settled implements ingest.Answerer: it is Committed without the answer.
func (c *conn) Settled(err error) {
	if err != nil {
		c.unstored()
		c.fates.Add(1)
		c.Close()
		return
	}
	c.fates.Add(1)
}

// Answer implements ingest.Answerer: what may leave now leaves, if here is true before it returns. It never blocks.
func (c *conn) Answer(here bool) {
	n := c.fates.Load() // only the committer moves it
	if c.answered == n {
		return
	}
	c.answered = n
	if !c.woken.Swap(true) {
		if here {
			c.sender.Flush()
		} else {
			c.sender.Wake()
		}
	}
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
	if c.version.Load() == 5 && c.established.Load() && !c.closing.Load() {
		c.out.write([]byte{packets.Disconnect << 4, 2, packets.ErrServerBusy.Code, 0}) // MQTT 5.0 §3.14
	}
	c.broker.counters.unstored.Add(1)
}

// write queues an answer to the client. It never blocks; a client for which too much waits is closed.
func (c *conn) write(b []byte) {
	c.mu.Lock()
	if !c.openLocked() {
		c.mu.Unlock()
		return
	}
	if len(c.out.buf)+len(b) > maxOutbound {
		c.mu.Unlock()
		c.broker.counters.slow.Add(1)
		c.abort()
		return
	}
	c.out.write(b)
	c.broker.counters.sent.Add(1)
	c.wroteLocked()
}

// establish queues CONNACK. From the same moment on deliveries may follow it: none comes before, and none is lost after.
func (c *conn) establish(connack []byte) {
	c.mu.Lock()
	c.established.Store(true)
	if !c.openLocked() {
		c.mu.Unlock()
		return
	}
	c.out.write(connack)
	c.broker.counters.sent.Add(1)
	c.wroteLocked()
}

// send queues an application message, encoded for the client's version, unless more than limit bytes wait, and reports whether it did.
// It never blocks.
func (c *conn) send(m *state.Message, packetID uint16, dup bool, limit int) bool {
	c.mu.Lock()
	if !c.openLocked() || len(c.out.buf) > limit {
		c.mu.Unlock()
		return false
	}
	c.out.buf = appendPublish(c.out.buf, m, byte(c.version.Load()), packetID, dup)
	c.broker.counters.sent.Add(1)
	c.wroteLocked()
	return true
}

func (c *conn) openLocked() bool { return !c.closing.Load() && !c.failed }

// wroteLocked has what was written leave soon, and unlocks.
func (c *conn) wroteLocked() {
	ready := c.out.ready(c.fates.Load())
	wake := ready > 0 && (!c.busy || ready > gatherBytes)
	c.mu.Unlock()
	if wake {
		c.wake()
	}
	c.signal()
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
	c.broker.counters.sentBytes.Add(int64(len(buf) - n))
	return buf
}

// Broken implements wire.Source.
func (c *conn) Broken(err error) {
	c.mu.Lock()
	c.broken = true
	c.mu.Unlock()
	if errors.Is(err, wire.ErrStalled) {
		c.broker.counters.stalled.Add(1)
	}
	c.abort()
}

// Close ends reading and takes no more writes; what was written before still leaves, and the socket closes when the connection's
// goroutine has seen to that. It never blocks and may be called at any time, by anybody, more than once.
func (c *conn) Close() {
	c.closing.Store(true)
	c.raw.SetReadDeadline(aLongTimeAgo)
	c.wake()
	c.signal()
}

// abort is Close for a peer that cannot be told anything any more.
func (c *conn) abort() {
	c.Close()
	c.raw.Close()
}

// end closes the connection, telling a v5 client why. A v3.1.1 server closes without a word (MQTT 3.1.1 §3.14), and nobody is told
// before CONNACK [MQTT-3.14.0-1].
func (c *conn) end(why packets.Code) {
	c.closedFor.CompareAndSwap(nil, &why)
	if c.version.Load() == 5 && c.established.Load() {
		c.write(c.brief(func(reason string) []byte { return encodeDisconnect(why, reason) }, why.Reason))
	}
	c.Close()
}

func (c *conn) finished() <-chan struct{} { return c.done }

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
