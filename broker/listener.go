package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"
)

const (
	minAcceptDelay = 50 * time.Millisecond
	maxAcceptDelay = time.Second

	acceptsPerRest = 64 // about a shift's work; some 30,000 a second
)

// keepAliveProbes find dead peers of clients that switched the MQTT keep alive off: within about two minutes.
var keepAliveProbes = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

// Serve accepts MQTT connections from l until Close. A failing accept, such as for want of file descriptors, is tried again for as long
// as it takes. It returns nil after Close, and the listener's error when somebody else closed it.
func (b *Broker) Serve(l net.Listener) error {
	return b.serve(l, func(raw net.Conn) net.Conn { return raw })
}

// ServeTLS is Serve for connections that begin with a TLS handshake. Handshakes take their turn with all others who want to log in.
func (b *Broker) ServeTLS(l net.Listener, secure *tls.Config) error {
	return b.serve(l, func(raw net.Conn) net.Conn { return tls.Server(&turnstile{Conn: raw}, secure) })
}

func (b *Broker) serve(l net.Listener, dress func(net.Conn) net.Conn) error {
	b.mu.Lock()
	if b.closing.Load() {
		b.mu.Unlock()
		return l.Close()
	}
	b.listeners[l] = struct{}{}
	b.wg.Add(1)
	b.mu.Unlock()
	defer b.wg.Done()
	defer func() {
		b.mu.Lock()
		delete(b.listeners, l)
		b.mu.Unlock()
	}()

	delay := minAcceptDelay
	for n := 1; ; n++ {
		raw, err := l.Accept()
		switch {
		case err == nil:
			delay = minAcceptDelay
			b.admit(dress(raw))
			if n%acceptsPerRest == 0 { // ten thousand at once are let in between the messages of those who are here
				time.Sleep(rest)
			}
			continue
		case b.closing.Load():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		}
		b.counters.acceptErrors.Add(1)
		b.log.Warn("accept failed, trying again", "err", err)
		select {
		case <-b.stop:
		case <-time.After(delay):
		}
		delay = min(2*delay, maxAcceptDelay)
	}
}

// ServeConn serves MQTT on a connection that was accepted elsewhere, such as the inside of a WebSocket. It owns raw from now on, does not
// block, and closes it when too many wait to log in or the broker is closed.
func (b *Broker) ServeConn(raw net.Conn) { b.admit(raw) }

// admit gives raw a goroutine as soon as the vestibule has a place, or closes it when too many wait to log in.
func (b *Broker) admit(raw net.Conn) {
	b.counters.accepted.Add(1)
	c := newConn(b, raw, addressOf(raw))
	crowdedOut := func() {
		b.counters.crowded.Add(1)
		c.abort()
	}
	place, ok := b.pending.enter(c.remote, crowdedOut)
	if !ok {
		crowdedOut()
		return
	}
	c.place = place
	b.mu.Lock()
	if b.closing.Load() {
		b.mu.Unlock()
		b.pending.leave(place)
		raw.Close()
		return
	}
	b.conns[c] = struct{}{}
	b.wg.Add(1)
	b.mu.Unlock()
	b.entrance.enter(func() {
		go func() { // ends with the connection
			defer b.wg.Done()
			b.handle(c)
		}()
	})
}

func addressOf(raw net.Conn) netip.Addr {
	if a, ok := raw.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// shake tunes the socket and has TLS proven within the connect timeout.
func (c *conn) shake() error {
	t, isTLS := c.raw.(*tls.Conn)
	if !isTLS {
		tune(c.raw)
		return nil
	}
	entry, ours := t.NetConn().(*turnstile)
	if !ours {
		return errors.New("a TLS connection that did not come through ServeTLS")
	}
	tune(entry.Conn)
	entry.shaking = c
	defer func() { entry.shaking = nil }()
	ctx, cancel := context.WithDeadline(context.Background(), c.connectBy)
	defer cancel()
	return t.HandshakeContext(ctx)
}

func tune(raw net.Conn) {
	if tcp, ok := raw.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = tcp.SetKeepAliveConfig(keepAliveProbes) // a refusal leaves the system's own
	}
}

// turnstile is the socket under a TLS connection. While hands are shaken the connection has no place in the vestibule where it waits for
// its peer, and one where it computes: a signature takes a processor longer than all the rest of a login.
type turnstile struct {
	net.Conn
	shaking *conn // nil before and after. One goroutine shakes hands, reads and writes during it
}

// Read implements net.Conn.
func (t *turnstile) Read(p []byte) (int, error) {
	defer t.wait()()
	return t.Conn.Read(p)
}

// Write implements net.Conn.
func (t *turnstile) Write(p []byte) (int, error) {
	defer t.wait()()
	return t.Conn.Write(p)
}

// wait gives the place back for as long as the peer may take.
func (t *turnstile) wait() (over func()) {
	c := t.shaking
	if c == nil {
		return func() {}
	}
	c.stepOut()
	return c.stepIn
}
