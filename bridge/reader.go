package bridge

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"sensorcast/wire"
)

// What is read of a socket at a time. The large buffers are shared: a session that waits for its peer holds none, and no goroutine. The small
// ones belong to sockets that the system does not watch for us, such as those behind TLS.
const (
	readBytes    = 4 << 10
	ownReadBytes = 512
)

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBytes); return &b }}

// listen begins to read the socket. Before it, nobody does.
func (s *session) listen() {
	if c, ok := s.conn.(syscall.Conn); ok && s.hub.poller != nil {
		if raw, err := c.SyscallConn(); err == nil {
			if w, err := s.hub.poller.Add(raw, s); err == nil {
				s.socket.Store(w)
			}
		}
	}
	if s.socket.Load() == nil || s.rest() {
		go s.attend() // ends when nothing is left to read; without a watch, with the session
	}
}

// Readable implements wire.Readable.
func (s *session) Readable() {
	if s.attended.CompareAndSwap(false, true) {
		go s.attend() // ends when nothing is left to read
	}
}

// rest leaves the socket until there is something to read. It reports whether the caller has to go on instead, because the socket is closed.
func (s *session) rest() (on bool) {
	s.attended.Store(false)
	return s.socket.Load().Await() != nil && s.attended.CompareAndSwap(false, true)
}

// attend reads until nothing is left for now, or the session is over: then it is ended and the socket closed.
func (s *session) attend() {
	socket := s.socket.Load()
	if socket == nil {
		s.conclude(s.readAll(make([]byte, ownReadBytes), s.conn.Read))
		return
	}
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	for {
		err := s.readAll(*buf, socket.Read)
		if !errors.Is(err, wire.ErrNothing) {
			s.conclude(err)
			return
		}
		if !s.rest() {
			return
		}
	}
}

// readAll decodes what read returns until it fails or the peer breaks the protocol.
func (s *session) readAll(buf []byte, read func([]byte) (int, error)) error {
	for {
		n, err := read(buf)
		if n > 0 {
			s.heard.Store(time.Now().UnixNano())
			err = s.decoder.push(buf[:n], s)
		}
		if err != nil {
			return err
		}
	}
}

// conclude ends the session for what reading it came to, and closes the socket.
func (s *session) conclude(err error) {
	defer s.hub.release()
	defer func() {
		if socket := s.socket.Load(); socket != nil {
			socket.Forget()
		}
	}()
	defer s.kill()

	var broken *violation
	var gone *parted
	switch {
	case errors.As(err, &broken):
		s.end(broken.code, broken.reason, true) // with the replies that name what was wrong
	case errors.As(err, &gone):
		s.hub.leave(s, CloseNormal) // whatever code the peer gave: it must not choose our counters
		s.end(gone.code, "", false)
		s.box.awaitFlushed()
		return
	default: // end of file, a reset, silence: nobody is there to answer
		s.hub.leave(s, CloseLost)
		return
	}
	// Closing a socket with unread data resets it, and the reset may overtake our close frame: read on until the peer has closed its
	// side. The timer started by end bounds this.
	s.box.awaitFlushed()
	io.Copy(io.Discard, s.conn)
}
