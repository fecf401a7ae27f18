// Package wire is the shared way out: it writes the outbound bytes of many sockets from a few goroutines, never waiting for one of
// them. Package bridge (WebSocket viewers) and package broker (MQTT clients) hand their sockets to it.
//
// A [Source] keeps what waits for its socket, within its own bound. [Sender.Wake] says that something waits; one of the [Pool]'s
// flushers then asks the Source for all of it and writes it with a single system call. That coalescing is where the speed comes
// from: a write(2) of one small frame costs some 5 µs on loopback whatever its size, so sixteen frames in one write cost a
// sixteenth each.
//
// Invariants: a socket is written by one goroutine at a time; bytes leave in the order Take returned them; a flusher never blocks on
// a socket. A socket whose buffer is full is parked: a goroutine of its own waits for it, at most the stall timeout without
// progress, and the Source meanwhile keeps, drops or conflates as it sees fit. Deadlines of the connection are left alone: they
// belong to whoever reads it.
//
// Locks: Pool.mu guards the queue of senders and is held for pointer moves only. A Sender has no lock, only a state.
package wire

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	defaultStall = 10 * time.Second

	// takeBytes is how much a Source should hand out at a time: enough to make the system call's own cost small, little enough
	// that a parked socket's unfinished rest stays small too.
	takeBytes = 64 << 10

	// socketBytes is what the system may hold for one socket, twice that on Linux with what it takes for itself (socket(7)). Left to itself it takes some
	// 4 MB for a peer that stalls; two hundred of them at once were seen to hold up everybody. A peer 100 ms away still gets 2.6 MB/s.
	socketBytes = 256 << 10

	// patience is how many others a sender lets go ahead that have more to write. Under load that is some milliseconds, in which what
	// waits for it gets company; without load nobody is ahead. With a thousand viewers and one reading under way for each, a write
	// carries 1.5 frames instead of 1.1.
	patience = 1024
)

// Source has bytes waiting for one socket.
type Source interface {
	// Take appends what waits to buf, at most about 64 KiB, and returns it; returning buf as it was means nothing waits. It is
	// called by one goroutine at a time, never while an earlier write of the socket is unfinished, and must not block.
	Take(buf []byte) []byte
	// Broken is called at most once, when the socket failed or took nothing for the stall timeout; nothing is taken or written after
	// it. The Source closes the socket, which is also what ends a write that stalled. It must not block.
	Broken(err error)
}

// ErrStalled is what Broken is told when the peer took nothing for the pool's stall timeout.
var ErrStalled = errors.New("peer takes no data")

// Pool is a set of flushers shared by many sockets. It is safe for concurrent use.
type Pool struct {
	stall time.Duration
	wg    sync.WaitGroup // flushers and parked writers
	bufs  sync.Pool      // *[]byte of takeBytes, for writers that are not flushers

	mu     sync.Mutex
	work   sync.Cond // signalled when a queue grows or the pool closes
	fresh  queue     // guarded by mu: senders woken once since they were last written
	ripe   queue     // and more often; together each sender at most once, so never more than there are sockets
	turn   uint64    // senders handed to flushers
	closed bool
}

// NewPool starts the flushers. Zero values mean one flusher for every two processors and a stall timeout of ten seconds. More flushers
// are not faster: each finds less waiting for a socket, and a system call costs the same for one frame as for five.
func NewPool(flushers int, stall time.Duration) *Pool {
	if flushers <= 0 {
		flushers = (runtime.GOMAXPROCS(0) + 1) / 2
	}
	if stall <= 0 {
		stall = defaultStall
	}
	p := &Pool{stall: stall}
	p.work.L = &p.mu
	p.bufs.New = func() any { b := make([]byte, 0, takeBytes); return &b }
	for range flushers {
		p.wg.Go(p.flush) // ends when Close sets closed
	}
	return p
}

// Close stops the flushers and waits for them and for parked writers. Close the sockets first, or it waits for their stall timeouts.
// Nothing is scheduled afterwards; a socket that turns out to be full is broken with net.ErrClosed.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.work.Broadcast()
	p.wg.Wait()
}

// Attach makes src the source of all that is written to c from now on. Connections that are their socket (TCP, Unix, and what embeds one of
// them) are written without blocking; others by a goroutine of their own while something waits.
func (p *Pool) Attach(c net.Conn, src Source) *Sender {
	bound(c)
	s := &Sender{pool: p, conn: c, src: src}
	if socket, ok := c.(syscall.Conn); ok {
		s.raw, _ = socket.SyscallConn()
	}
	s.write = s.writeFD
	return s
}

// bound keeps the system from buffering megabytes for a peer that takes nothing.
func bound(c net.Conn) {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	if socket, ok := c.(interface{ SetWriteBuffer(bytes int) error }); ok {
		socket.SetWriteBuffer(socketBytes) // where it fails the socket is closed, or has the system's own bound
	}
}

// hold keeps Close waiting for one more goroutine, unless the pool is closed already.
func (p *Pool) hold() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.wg.Add(1)
	return true
}

// flush takes senders off the queues and writes them, until the pool closes.
func (p *Pool) flush() {
	buf := make([]byte, 0, takeBytes)
	for {
		p.mu.Lock()
		for p.fresh.head == nil && p.ripe.head == nil && !p.closed {
			p.work.Wait()
		}
		s := p.nextLocked()
		p.mu.Unlock()
		if s == nil {
			return
		}
		s.state.Store(writing)
		buf = s.run(buf)
	}
}

// nextLocked takes the sender that is written next off its queue: the ripe before the fresh, but for who has let patience others go ahead.
// It is nil when nobody waits.
func (p *Pool) nextLocked() *Sender {
	p.turn++
	s, fresh := p.ripe.head, p.fresh.head
	if s == nil || fresh != nil && p.turn-fresh.since > patience {
		s = fresh
	}
	if s != nil {
		s.in.remove(s)
	}
	return s
}

// pushLocked queues a sender whose state is queued or ripe.
func (p *Pool) pushLocked(s *Sender) {
	s.since = p.turn
	if s.state.Load() == ripe {
		p.ripe.push(s)
	} else {
		p.fresh.push(s)
	}
}

// ripenLocked has a sender go before those for which less waits. It may have been taken off its queue, or not be in it yet.
func (p *Pool) ripenLocked(s *Sender) {
	if s.in == &p.fresh {
		p.fresh.remove(s)
		p.ripe.push(s)
	}
}

func (p *Pool) push(s *Sender) {
	p.mu.Lock()
	p.pushLocked(s)
	p.mu.Unlock()
	p.work.Signal()
}

func (p *Pool) ripen(s *Sender) {
	p.mu.Lock()
	p.ripenLocked(s)
	p.mu.Unlock()
}

// WakeAll is Wake for many senders of this pool at the cost of one lock.
func (p *Pool) WakeAll(senders []*Sender) {
	n := 0
	p.mu.Lock()
	for _, s := range senders {
		switch s.mark() {
		case join:
			p.pushLocked(s)
			n++
		case advance:
			p.ripenLocked(s)
		}
	}
	p.mu.Unlock()
	switch {
	case n == 1:
		p.work.Signal()
	case n > 1:
		p.work.Broadcast()
	}
}
