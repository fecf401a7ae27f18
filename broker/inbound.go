package broker

import (
	"cmp"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

const (
	burstBytes = 16 << 10 // one read(2) of a pipelining client: some hundred messages
	smallBytes = 1 << 10  // the buffer of a connection that cannot be asked whether there is something to read
	keepCut    = 256      // bytes kept allocated for packets that come in pieces
)

var bursts = sync.Pool{New: func() any { b := make([]byte, burstBytes); return &b }}

// inbound is the reading side of a conn. It belongs to the connection's goroutine. While there is nothing to read an idle client has
// no buffer: over TCP one is taken when the socket has become readable.
type inbound struct {
	frames   frames
	fd       syscall.RawConn    // of a connection that is its socket, else nil
	readFD   func(uintptr) bool // readReady, bound once
	buf      []byte             // what is being worked through; nil between bursts
	pooled   *[]byte            // what buf is part of, unless it was made for one large packet
	from, to int                // of buf: not handled yet
	cut      []byte             // the beginning of a packet, between bursts
	small    []byte             // where there is no fd
	more     bool               // where there is no fd: the last read filled small, so more is likely there
	got      int                // readReady's result
	arrived  telemetry.Millis   // when the last read returned
	gotErr   error
	idle     time.Duration // how long a logged-in client may be silent; zero: for ever
	deadline time.Time     // as set on the socket
	rearm    bool          // it was set by another rule
	ended    bool          // reading failed: the peer has nothing more to say
	parted   bool          // DISCONNECT came: no will
	why      error         // how serve ended
	pace     pace

	gathered  *ingest.Burst // messages of QoS 0 on their way in; nil between bursts
	last      inboundPublish
	topic     string          // of the last publish, to be reused by the next
	parsed    telemetry.Topic // of topic
	permit    permit          // what it may publish, as last asked
	aliases   []string        // MQTT 5.0 topic aliases the client has set, by number less one
	retaining string          // topic of the last publish retained
}

// serve reads and handles packets until the connection ends, and returns why.
func (c *conn) serve() error {
	defer c.release()
	for {
		if err := c.work(); err != nil {
			return c.fault(err)
		}
		c.shelve()
		c.pause()
		if err := c.arm(); err != nil {
			return err
		}
		if err := c.fill(); err != nil {
			c.ended = !c.closing.Load()
			return err
		}
		if c.session == nil {
			c.stepIn()
		}
		c.mu.Lock()
		c.busy = true
		c.mu.Unlock()
	}
}

// work handles the packets that are there.
func (c *conn) work() (err error) {
	handled := 0
	defer func() {
		c.broker.counters.received.Add(int64(handled))
		if undelivered := c.deliver(); undelivered != nil {
			c.broker.counters.unavailable.Add(1)
			err = cmp.Or(err, error(packets.ErrServerBusy))
		}
	}()
	for !c.closing.Load() {
		p, size, want, err := c.frames.next(c.buf[c.from:c.to])
		if err != nil {
			return err
		}
		if size == 0 {
			c.grow(want)
			return nil
		}
		c.from += size
		handled++
		if err := c.handle(p); err != nil {
			return err
		}
	}
	return net.ErrClosed
}

// grow makes room for a packet that needs want bytes in all. It never more than quadruples: memory is for what came, not for what
// was announced.
func (c *conn) grow(want int) {
	if have := c.to - c.from; want > burstBytes && c.to == len(c.buf) {
		b := make([]byte, min(want, max(4*have, 2*burstBytes)))
		copy(b, c.buf[c.from:c.to])
		c.release()
		c.buf, c.to = b, have
	}
}

// shelve gives the buffer back between bursts, and keeps what is left of it.
func (c *conn) shelve() {
	left := c.buf[c.from:c.to]
	switch {
	case len(left) == 0:
		c.release()
		if cap(c.cut) > keepCut {
			c.cut = nil
		}
	case c.pooled == nil:
		c.to = copy(c.buf, left)
		c.from = 0
	default:
		c.cut = append(c.cut[:0], left...)
		c.release()
	}
}

func (c *conn) release() {
	if c.pooled != nil {
		bursts.Put(c.pooled)
	}
	c.buf, c.pooled, c.from, c.to = nil, nil, 0, 0
}

// acquire takes a buffer that begins with what was cut off.
func (c *conn) acquire() {
	c.pooled = bursts.Get().(*[]byte)
	c.buf = *c.pooled
	if len(c.cut) >= len(c.buf) { // cannot be: a packet this large has a buffer of its own
		c.buf, c.pooled = make([]byte, 2*len(c.cut)), nil
	}
	c.from, c.to = 0, copy(c.buf, c.cut)
	c.cut = c.cut[:0]
}

// fill blocks until there is something to read, and reads it.
func (c *conn) fill() (err error) {
	n := 0
	if c.fd != nil {
		err = c.fd.Read(c.readFD)
		n = c.got
		if err == nil {
			err = c.gotErr
		}
		if err == nil && n == 0 {
			err = io.EOF
		}
	} else {
		n, err = c.fillSmall()
	}
	c.broker.counters.receivedBytes.Add(int64(n))
	c.arrived = telemetry.Now() // for all that came at once: the clock costs as much as the rest of a small message's way
	return err
}

// readReady is the body of fd.Read: it reads without blocking and reports whether there was anything, an error included.
func (c *conn) readReady(fd uintptr) bool {
	fresh := c.buf == nil
	cut := len(c.cut)
	if fresh {
		c.acquire()
	}
	for {
		n, err := syscall.Read(int(fd), c.buf[c.to:])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			if fresh {
				c.cut = append(c.cut[:0], c.buf[:cut]...)
				c.release()
			}
			c.stepOut()
			return false
		}
		c.got, c.gotErr = max(n, 0), err
		c.to += c.got
		return true
	}
}

// fillSmall is fill for connections that only block.
func (c *conn) fillSmall() (n int, err error) {
	c.stepOut()
	if c.buf == nil && !c.more {
		if c.small == nil {
			c.small = make([]byte, smallBytes)
		}
		small := c.small[:min(smallBytes, max(1, burstBytes-len(c.cut)))] // no more than fits behind what was cut off
		n, err = c.raw.Read(small)
		c.acquire()
		c.to += copy(c.buf[c.to:], small[:n])
		c.more = n == len(small)
	} else {
		if c.buf == nil {
			c.acquire()
		}
		n, err = c.raw.Read(c.buf[c.to:])
		c.to += n
		c.more = n >= smallBytes
	}
	if n > 0 {
		return n, nil // an error shows again in the read that follows
	}
	return 0, err
}

// pause sends what was gathered and waits while too much is uncommitted or too much was sent: the back-pressure on this client.
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
	cfg, counters := &c.broker.cfg, &c.broker.counters
	messages, bytes := c.pace.messages.owed(cfg.PublishRate), c.pace.bytes.owed(cfg.PublishBytes)
	if messages > 0 {
		counters.paced.Add(1)
	}
	if bytes > 0 {
		counters.pacedBytes.Add(1)
	}
	if wait := max(messages, bytes); wait > 0 {
		c.await(wait, func() bool { return c.closing.Load() })
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
	if c.rearm || want.IsZero() != c.deadline.IsZero() || c.deadline.Before(want) {
		c.deadline, c.rearm = want, false
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

// fault ends the connection for what its client did wrong.
func (c *conn) fault(err error) error {
	var code packets.Code
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, errParted):
		return err // nobody's fault
	case errors.As(err, new(refusal)):
		c.Close() // and has been told
		return err
	case errors.As(err, &code):
	case errors.Is(err, errTooLarge):
		code = packets.ErrPacketTooLarge
	default:
		code = packets.ErrMalformedPacket
	}
	c.broker.counters.violations.Add(1)
	c.shownOut(code)
	c.broker.log.Debug("client closed", "remote", c.remote, "client", c.sessionID(), "reason", err)
	c.end(code)
	return err
}

// sessionID is for the log.
func (c *conn) sessionID() sessionName {
	if c.session == nil {
		return ""
	}
	return sessionName(c.session.id)
}
