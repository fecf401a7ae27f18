package broker

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/wire"
)

const (
	// readBuffer is mochi's buffer of each connection, kept while it is idle. One that fills it is read through a pooled burst
	// buffer from then on, so a pipelining client costs one read(2) for some hundred messages and an idle one no memory.
	readBuffer = 512
	burstBytes = 16 << 10
)

var (
	errSlow      = errors.New("client takes data too slowly")
	aLongTimeAgo = time.Unix(1, 0)
	bursts       = sync.Pool{New: func() any { b := make([]byte, burstBytes); return &b }}
)

func isStall(err error) bool { return errors.Is(err, wire.ErrStalled) }

// inbound is the reading side of a conn. It belongs to the connection's goroutine.
type inbound struct {
	frames   frames
	idle     time.Duration // how long a logged-in client may be silent; zero: for ever
	deadline time.Time     // as set on the socket
	full     bool          // the last read filled the buffer: more is likely there
	burst    *[]byte       // pooled; nil when rest is empty
	rest     []byte        // of burst, not yet handed to mochi
	ended    bool          // reading failed: the peer has nothing more to say

	stash    *packets.Packet // an outbound message moved out of the way of an inbound packet with its id
	verdict  []byte          // codes of refused filters between OnSubscribe and OnSubscribed
	replayed int             // bytes of retained messages queued since the last wait
	lowered  bool            // the session expiry granted is less than asked for

	retaining string // topic of the last publish retained
}

// Read hands mochi what the client sent. Coming back to it means that the reader is done with what it had, so what was gathered
// leaves first; and while too much is uncommitted it waits, which is the back-pressure on this client.
func (c *conn) Read(b []byte) (int, error) {
	if len(c.rest) > 0 && !c.closing.Load() {
		return c.unload(b), nil
	}
	c.pause()
	if err := c.arm(); err != nil {
		return 0, err
	}
	n, err := 0, error(nil)
	if c.full {
		n = c.readBurst(b)
	}
	if n == 0 {
		n, err = c.raw.Read(b)
		c.full = n == len(b)
		if fault := c.frames.check(b[:n]); fault != nil {
			return 0, c.violation(fault)
		}
	}
	if err != nil {
		c.ended = !c.closing.Load()
		return n, err
	}
	c.mu.Lock()
	c.busy = true
	c.mu.Unlock()
	return n, nil
}

// pause sends what was gathered and waits while too much is uncommitted.
func (c *conn) pause() {
	c.mu.Lock()
	c.busy = false
	ready := c.out.ready(c.fates.Load()) > 0
	over := c.uncommittedLocked() > maxUncommitted
	c.mu.Unlock()
	if ready {
		c.sender.Flush()
	}
	if over {
		c.broker.counters.readPauses.Add(1)
		c.await(0, func() bool { return c.uncommittedLocked() <= maxUncommitted/2 || c.closing.Load() })
	}
}

// arm sets the read deadline: the connect timeout until the client is logged in, then 1.5 × keep alive [MQTT-3.1.2-22], at most
// keepAliveSlack later, since moving it for every read would cost more than the read.
func (c *conn) arm() error {
	want := c.connectBy
	if c.established.Load() {
		want = time.Time{}
		if c.idle > 0 {
			want = time.Now().Add(c.idle)
		}
	}
	if want.IsZero() != c.deadline.IsZero() || c.deadline.Before(want) {
		c.deadline = want
		if c.established.Load() && !want.IsZero() {
			c.deadline = want.Add(keepAliveSlack)
		}
		c.raw.SetReadDeadline(c.deadline)
	}
	if c.closing.Load() { // Close sets it before its own deadline, so one of the two is seen
		return net.ErrClosed
	}
	return nil
}

// readBurst reads as much as is there into a pooled buffer and hands over the first of it. It does not block; 0 means nothing was
// there, or the socket is of a kind that cannot be asked.
func (c *conn) readBurst(b []byte) int {
	tcp, ok := c.raw.(*net.TCPConn)
	if !ok {
		return 0
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	buf, n := bursts.Get().(*[]byte), 0
	err = rc.Read(func(fd uintptr) bool {
		n, _ = syscall.Read(int(fd), *buf)
		return true
	})
	if err != nil || n <= 0 { // an end or a fault shows again in the read that follows
		bursts.Put(buf)
		return 0
	}
	if fault := c.frames.check((*buf)[:n]); fault != nil {
		bursts.Put(buf)
		c.violation(fault)
		return 0
	}
	c.burst, c.rest, c.full = buf, (*buf)[:n], n == burstBytes
	return c.unload(b)
}

func (c *conn) unload(b []byte) int {
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	if len(c.rest) == 0 {
		c.drop()
	}
	return n
}

// drop gives the burst buffer back.
func (c *conn) drop() {
	if c.burst != nil {
		bursts.Put(c.burst)
		c.burst, c.rest = nil, nil
	}
}

// violation closes the connection of a client that does not speak MQTT.
func (c *conn) violation(fault error) error {
	c.broker.counters.violations.Add(1)
	c.broker.log.Debug("client closed", "remote", c.remote, "client", c.id, "reason", fault)
	why := packets.ErrMalformedPacket
	if errors.Is(fault, errTooLarge) {
		why = packets.ErrPacketTooLarge
	}
	c.end(why)
	return fault
}
