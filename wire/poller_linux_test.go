package wire

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// signal is a Readable that counts in a channel.
type signal chan struct{}

func (s signal) Readable() { s <- struct{}{} }

func sockets(t testing.TB) (near *net.TCPConn, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); far.Close() })
	return c.(*net.TCPConn), far
}

func watch(t testing.TB, p *Poller, c *net.TCPConn) (*Watch, signal) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	s := make(signal, 10)
	w, err := p.Add(raw, s)
	if err != nil {
		t.Fatal(err)
	}
	return w, s
}

func newPoller(t testing.TB) *Poller {
	t.Helper()
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func (s signal) wait(t testing.TB) {
	t.Helper()
	select {
	case <-s:
	case <-time.After(10 * time.Second):
		t.Fatal("never told that there is something to read")
	}
}

func (s signal) quiet(t testing.TB) {
	t.Helper()
	select {
	case <-s:
		t.Fatal("told without being asked to")
	case <-time.After(30 * time.Millisecond):
	}
}

func TestPoller_TellsOnceForEachAwait(t *testing.T) {
	near, far := sockets(t)
	w, s := watch(t, newPoller(t), near)
	far.Write([]byte("a"))
	s.quiet(t) // not asked yet
	for _, text := range []string{"a", "b"} {
		if err := w.Await(); err != nil {
			t.Fatal(err)
		}
		s.wait(t)
		s.quiet(t)
		buf := make([]byte, 10)
		if n, err := w.Read(buf); string(buf[:n]) != text || err != nil {
			t.Errorf("read: got %q, %v, want %s", buf[:n], err, text)
		}
		if _, err := w.Read(buf); !errors.Is(err, ErrNothing) {
			t.Errorf("read on: got %v, want ErrNothing", err)
		}
		far.Write([]byte("b"))
	}
	if err := w.Await(); err != nil {
		t.Fatal(err)
	}
	s.wait(t) // what was there before counts too
	far.Close()
	w.Read(make([]byte, 10))
	if err := w.Await(); err != nil {
		t.Fatal(err)
	}
	s.wait(t)
	if _, err := w.Read(make([]byte, 10)); !errors.Is(err, io.EOF) {
		t.Errorf("after the peer's end: got %v, want io.EOF", err)
	}
}

func TestPoller_ClosedSocketIsRefusedAndForgotten(t *testing.T) {
	p := newPoller(t)
	near, _ := sockets(t)
	w, s := watch(t, p, near)
	if err := w.Await(); err != nil {
		t.Fatal(err)
	}
	near.Close()
	s.quiet(t)
	if err := w.Await(); err == nil {
		t.Error("await of a closed socket: got nil, want an error")
	}
	if _, err := w.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed socket: got %v, want net.ErrClosed", err)
	}
	w.Forget()
	for fd, w := range p.watches {
		if w != nil {
			t.Errorf("descriptor %d is still watched", fd)
		}
	}
	raw, _ := near.SyscallConn()
	if raw != nil {
		if _, err := p.Add(raw, s); err == nil {
			t.Error("add of a closed socket: got nil, want an error")
		}
	}
}

// Descriptors are given to new sockets as soon as old ones are closed: nobody may be told of another's bytes, or miss its own.
func TestPoller_ReusedDescriptorsAreNotMixedUp(t *testing.T) {
	p := newPoller(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				near, far := sockets(t)
				w, s := watch(t, p, near)
				if err := w.Await(); err != nil {
					t.Error(err)
				}
				far.Write([]byte("x"))
				s.wait(t)
				if n, err := w.Read(make([]byte, 2)); n != 1 || err != nil {
					t.Errorf("read: got %d bytes, %v, want the one", n, err)
				}
				near.Close()
				w.Forget()
				far.Close()
			}
		})
	}
	wg.Wait()
}

func TestPoller_CloseEndsItsGoroutineAndDescriptors(t *testing.T) {
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	p.Close()
	if err := syscall.Close(p.epoll); err == nil {
		t.Error("the epoll descriptor was still open")
	}
}
