package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// turns is how often one socket may be written before the next one in the queue has its turn.
	turns = 4

	// chunkBytes is what a parked socket must take within the stall timeout to be considered alive: one TLS record.
	chunkBytes = 16 << 10
)

// The states of a sender. Whoever moves it from idle to queued or writing owns the socket's sending side until it is idle again.
const (
	idle    int32 = iota
	queued        // in the pool's queue, or on its way there
	ripe          // as queued, and woken since
	writing       // a goroutine is writing
	again         // as writing, and woken meanwhile
	parked        // a goroutine waits for the socket; what comes meanwhile is taken when it is done
	broken        // failed for good
)

// Sender is the sending side of one socket. Its methods are safe for concurrent use and never block.
type Sender struct {
	pool  *Pool
	conn  net.Conn
	src   Source
	raw   syscall.RawConn    // nil where the connection cannot be written without blocking (TLS, pipes)
	write func(uintptr) bool // writeFD, bound once
	state atomic.Int32

	// Guarded by pool.mu.
	in         *queue
	prev, next *Sender
	since      uint64 // the pool's turn when it was queued

	// For the goroutine that owns the state writing.
	out []byte
	n   int
	err error
}

// Wake has what waits in the Source written soon by a flusher. Calls before that coalesce; the second moves it ahead of senders
// that were woken once, since more leaves in its write.
func (s *Sender) Wake() {
	switch s.mark() {
	case join:
		s.pool.push(s)
	case advance:
		s.pool.ripen(s)
	}
}

// place is what a wake changes about a sender's place in the pool's queues.
type place uint8

const (
	stay    place = iota
	join          // it has to be put into one
	advance       // it may go before others
)

func (s *Sender) mark() place {
	for {
		switch s.state.Load() {
		case idle:
			if s.state.CompareAndSwap(idle, queued) {
				return join
			}
		case queued:
			if s.state.CompareAndSwap(queued, ripe) {
				return advance
			}
		case writing:
			if s.state.CompareAndSwap(writing, again) {
				return stay
			}
		default:
			return stay
		}
	}
}

// Flush writes what waits in the calling goroutine when no other is at it, else it is Wake. It saves the hand-over to a flusher
// where the caller has nothing better to do; a full socket is parked, not waited for.
func (s *Sender) Flush() {
	if s.raw == nil || !s.state.CompareAndSwap(idle, writing) {
		s.Wake()
		return
	}
	buf := s.pool.bufs.Get().(*[]byte)
	*buf = s.run(*buf)
	s.pool.bufs.Put(buf)
}

// Idle reports whether nothing is being written and nothing is scheduled.
func (s *Sender) Idle() bool { st := s.state.Load(); return st == idle || st == broken }

// run writes until nothing waits, the socket is full, or others should have their turn. The state is writing. It returns buf, grown.
func (s *Sender) run(buf []byte) []byte {
	for range turns {
		s.state.Store(writing)
		buf = s.src.Take(buf[:0])
		if len(buf) == 0 {
			if s.state.CompareAndSwap(writing, idle) {
				return buf
			}
			continue // woken while Take was looking
		}
		n, err := s.writeSome(buf)
		if err != nil {
			s.fail(err)
			return buf
		}
		if n < len(buf) {
			s.park(append([]byte(nil), buf[n:]...))
			return buf
		}
	}
	s.state.Store(queued)
	s.pool.push(s)
	return buf
}

// writeSome writes what the socket takes at once: nothing, where that cannot be known.
func (s *Sender) writeSome(b []byte) (int, error) {
	if s.raw == nil {
		return 0, nil
	}
	s.out, s.n, s.err = b, 0, nil
	err := s.raw.Write(s.write)
	s.out = nil
	if err == nil {
		err = s.err
	}
	return s.n, err
}

// writeFD is the body of raw.Write. It always answers true: waiting for the socket is park's business.
func (s *Sender) writeFD(fd uintptr) bool {
	for len(s.out) > s.n {
		n, err := syscall.Write(int(fd), s.out[s.n:])
		switch {
		case err == nil:
			s.n += n
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return true
		default:
			s.err = os.NewSyscallError("write", err)
			return true
		}
	}
	return true
}

// park leaves the rest of a write to a goroutine that waits for the socket. It ends when the rest is written, or when the Source,
// told that the socket failed or stalled, has closed it.
func (s *Sender) park(rest []byte) {
	s.state.Store(parked)
	if !s.pool.hold() {
		s.fail(net.ErrClosed)
		return
	}
	go func() {
		defer s.pool.wg.Done()
		stalled := time.AfterFunc(s.pool.stall, func() { s.fail(ErrStalled) })
		err := s.writeAll(rest, stalled)
		switch {
		case !stalled.Stop(): // it speaks for this socket now
		case err != nil:
			s.fail(err)
		default:
			s.state.Store(queued)
			s.pool.push(s)
		}
	}()
}

// writeAll blocks until b is written or the connection fails, and puts stalled off while b gets shorter.
func (s *Sender) writeAll(b []byte, stalled *time.Timer) error {
	for len(b) > 0 {
		n, err := s.conn.Write(b[:min(len(b), chunkBytes)])
		if err != nil {
			return err
		}
		b = b[n:]
		if !stalled.Reset(s.pool.stall) {
			return ErrStalled // it has fired already
		}
	}
	return nil
}

func (s *Sender) fail(err error) {
	if s.state.Swap(broken) == broken {
		return // by the stall timer, whose closing the socket is what failed the write
	}
	if errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed
	}
	s.src.Broken(err)
}
