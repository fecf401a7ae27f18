package edge

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxUnread bounds the connections whose header is awaited or that Accept has not taken yet. They come from declared proxies only, so more than this is a proxy that has
// gone mad rather than an attack.
const maxUnread = 4096

// Conn is a connection that came through a proxy: the socket with the address of the client behind it.
type Conn struct {
	*net.TCPConn
	remote *net.TCPAddr
}

// RemoteAddr is the client's address, as a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// NetConn is the bare socket, for who wants to read and write it without detours. Its remote address is the proxy's.
func (c *Conn) NetConn() net.Conn { return c.TCPConn }

// Proxied is a listener that understands the PROXY protocol, versions 1 and 2. A connection from a trusted address must begin with a
// header, in time; it is then accepted as a *Conn, or as the bare *net.TCPConn where the header names no client. Every other connection is
// accepted as it is: a header in it is not looked for.
//
// Headers are read beside Accept, each in a goroutine of its own, so that a slow one delays nobody.
type Proxied struct {
	inner   net.Listener
	trusted []netip.Prefix
	timeout time.Duration
	log     *slog.Logger

	ready   chan accepted
	closed  chan struct{}
	close   sync.Once
	readers sync.WaitGroup // the accepting goroutine and the reading ones

	unread  atomic.Int64
	refused atomic.Int64

	mu      sync.Mutex
	reading map[net.Conn]struct{} // guarded by mu: sockets whose header is awaited; nil once closed
}

type accepted struct {
	conn net.Conn
	err  error
}

// NewProxied starts accepting from inner, a TCP listener that belongs to it from now on.
func NewProxied(inner net.Listener, trusted []netip.Prefix, timeout time.Duration, log *slog.Logger) *Proxied {
	p := &Proxied{
		inner: inner, trusted: trusted, timeout: timeout, log: log.With("component", "proxy protocol"),
		ready: make(chan accepted), closed: make(chan struct{}), reading: map[net.Conn]struct{}{},
	}
	p.readers.Go(p.accept) // ends when Close closes inner
	return p
}

// Addr implements net.Listener.
func (p *Proxied) Addr() net.Addr { return p.inner.Addr() }

// Accept returns the next connection whose client is known. It may be called by several goroutines.
func (p *Proxied) Accept() (net.Conn, error) {
	select {
	case <-p.closed:
		return nil, net.ErrClosed
	case a := <-p.ready:
		return a.conn, a.err
	}
}

// Close stops accepting, closes the connections whose header is awaited, and returns when their goroutines have ended. Connections
// accepted before are left alone.
func (p *Proxied) Close() error {
	var err error
	p.close.Do(func() {
		close(p.closed)
		err = p.inner.Close()
		p.mu.Lock()
		for c := range p.reading {
			c.Close()
		}
		p.reading = nil
		p.mu.Unlock()
	})
	p.readers.Wait()
	return err
}

// Refused is the number of connections from trusted addresses that were closed: without a header in time, with a broken one, or for
// being too many at once. It only rises.
func (p *Proxied) Refused() int64 { return p.refused.Load() }

// accept hands on what needs no header, and errors: waiting after one is the caller's business, and as nothing is accepted until Accept has
// taken it, this loop waits with it.
func (p *Proxied) accept() {
	for {
		c, err := p.inner.Accept()
		switch {
		case err != nil:
			if !p.deliver(accepted{err: err}) {
				return
			}
		case !p.trusts(c.RemoteAddr()):
			p.deliver(accepted{conn: c})
		case p.unread.Add(1) > maxUnread || !p.enter(c):
			p.unread.Add(-1)
			p.refused.Add(1)
			c.Close()
		default:
			p.readers.Go(func() { p.read(c) }) // ends with the header, the timeout or Close
		}
	}
}

// read takes the header off c and hands it on.
func (p *Proxied) read(c net.Conn) {
	defer p.unread.Add(-1)
	client, err := p.clientOf(c)
	p.mu.Lock()
	delete(p.reading, c)
	p.mu.Unlock()
	if err != nil {
		p.refused.Add(1)
		p.log.Debug("connection from a trusted proxy refused", "remote", c.RemoteAddr(), "err", err)
		c.Close()
		return
	}
	if tcp, ok := c.(*net.TCPConn); ok && client != nil {
		c = &Conn{TCPConn: tcp, remote: client}
	}
	p.deliver(accepted{conn: c})
}

func (p *Proxied) clientOf(c net.Conn) (*net.TCPAddr, error) {
	if err := c.SetReadDeadline(time.Now().Add(p.timeout)); err != nil {
		return nil, err
	}
	client, err := readHeader(c)
	if err != nil {
		return nil, err
	}
	return client, c.SetReadDeadline(time.Time{})
}

// enter makes c known to Close.
func (p *Proxied) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reading == nil {
		return false
	}
	p.reading[c] = struct{}{}
	return true
}

// deliver waits until Accept takes a, or drops it when the listener is closed.
func (p *Proxied) deliver(a accepted) bool {
	select {
	case p.ready <- a:
		return true
	case <-p.closed:
		if a.conn != nil {
			a.conn.Close()
		}
		return false
	}
}

func (p *Proxied) trusts(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.trusted, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}
