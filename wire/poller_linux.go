package wire

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// Poller tells when sockets have something to read, so that idle ones need no goroutine of their own. It is safe for concurrent use.
type Poller struct {
	epoll int
	stop  [2]int // a pipe: closing its far end ends the loop
	done  chan struct{}

	mu      sync.Mutex
	watches []*Watch // guarded by mu; by file descriptor
	marks   int32    // guarded by mu
	closed  bool     // guarded by mu
}

// Watch is one socket that is waited for.
type Watch struct {
	poller *Poller
	raw    syscall.RawConn
	ready  Readable
	fd     int32
	mark   int32 // tells it from a later socket with the same descriptor
}

// readable is what Await waits for: bytes or the end of them, once. Errors and hang-ups are always told (epoll_ctl(2)).
const readable = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT

// pollEvents is how many sockets are told of between two system calls.
const pollEvents = 128

// NewPoller starts a goroutine that Close ends.
func NewPoller() (*Poller, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p := &Poller{epoll: epoll, done: make(chan struct{})}
	if err := syscall.Pipe2(p.stop[:], syscall.O_CLOEXEC); err != nil {
		syscall.Close(epoll)
		return nil, os.NewSyscallError("pipe2", err)
	}
	if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, p.stop[0], &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: -1}); err != nil {
		p.release()
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	go p.run()
	return p, nil
}

// Close ends the goroutine and waits for it. Nobody is told of anything afterwards.
func (p *Poller) Close() {
	p.mu.Lock()
	was := p.closed
	p.closed = true
	p.mu.Unlock()
	if !was {
		syscall.Close(p.stop[1])
	}
	<-p.done
}

func (p *Poller) release() {
	syscall.Close(p.epoll)
	syscall.Close(p.stop[0])
}

// Add makes a watch for the socket. Nothing is waited for until Await.
func (p *Poller) Add(c syscall.RawConn, ready Readable) (*Watch, error) {
	w := &Watch{poller: p, raw: c, ready: ready}
	err := w.control(func(fd int) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for fd >= len(p.watches) {
			p.watches = append(p.watches, make([]*Watch, 1+len(p.watches))...)
		}
		w.fd = int32(fd)
		p.marks++
		w.mark = p.marks
		p.watches[fd] = w
		// Disarmed: only errors could be told now, and nobody waits for them yet.
		return syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLONESHOT, Fd: w.fd, Pad: w.mark})
	})
	if err != nil {
		w.Forget()
		return nil, err
	}
	return w, nil
}

// control runs f with the descriptor, which stays open meanwhile. net.ErrClosed when the socket was closed before.
func (w *Watch) control(f func(fd int) error) (err error) {
	if closed := w.raw.Control(func(fd uintptr) { err = f(int(fd)) }); closed != nil {
		return closed
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// Await has Readable called once, when there is something to read or no more. An error: the socket is closed, and it never will be.
func (w *Watch) Await() error {
	return w.control(func(fd int) error {
		return syscall.EpollCtl(w.poller.epoll, syscall.EPOLL_CTL_MOD, fd, &syscall.EpollEvent{Events: readable, Fd: w.fd, Pad: w.mark})
	})
}

// Read reads what is there: io.EOF at the end, ErrNothing when there is nothing now.
func (w *Watch) Read(b []byte) (n int, err error) {
	closed := w.raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), b)
		for err == syscall.EINTR {
			n, err = syscall.Read(int(fd), b)
		}
		return true // waiting is what Await is for
	})
	switch {
	case closed != nil:
		return 0, closed
	case err == syscall.EAGAIN:
		return 0, ErrNothing
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Forget lets the socket go. It is called once the socket is closed, which is what ends the waiting.
func (w *Watch) Forget() {
	p := w.poller
	p.mu.Lock()
	defer p.mu.Unlock()
	if int(w.fd) < len(p.watches) && p.watches[w.fd] == w {
		p.watches[w.fd] = nil
	}
}

func (p *Poller) run() {
	defer close(p.done)
	defer p.release()
	events := make([]syscall.EpollEvent, pollEvents)
	for {
		n, err := syscall.EpollWait(p.epoll, events, -1)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			panic(fmt.Sprintf("epoll_wait: %v", err)) // only for arguments that make no sense
		}
		for _, e := range events[:n] {
			if e.Fd < 0 {
				return
			}
			if w := p.find(e); w != nil {
				w.ready.Readable()
			}
		}
	}
}

// find returns the watch an event is for; nil when it has been let go.
func (p *Poller) find(e syscall.EpollEvent) *Watch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if int(e.Fd) >= len(p.watches) {
		return nil
	}
	if w := p.watches[e.Fd]; w != nil && w.mark == e.Pad {
		return w
	}
	return nil
}
