package edge

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

var loopbacks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// proxied listens on loopback.
func proxied(t *testing.T, trusted []netip.Prefix, timeout time.Duration) *Proxied {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := NewProxied(l, trusted, timeout, new(logBuffer).logger())
	t.Cleanup(func() { p.Close() })
	return p
}

// dial connects to p and writes text.
func (p *Proxied) dial(t *testing.T, text []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testTimeout))
	if _, err := c.Write(text); err != nil {
		t.Fatal(err)
	}
	return c
}

// next accepts within the test's patience.
func (p *Proxied) next(t *testing.T) net.Conn {
	t.Helper()
	stop := time.AfterFunc(testTimeout, func() { p.Close() })
	defer stop.Stop()
	c, err := p.Accept()
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testTimeout))
	return c
}

func TestProxied_GivesTheClientsAddressAndEveryByteAfterTheHeader(t *testing.T) {
	p := proxied(t, loopbacks, testTimeout)
	for name, header := range map[string][]byte{
		"v1": []byte("PROXY TCP4 203.0.113.7 192.0.2.1 51000 1883\r\n"),
		"v2": headerV2(t, "203.0.113.7:51000", 40),
	} {
		client := p.dial(t, append(header, "hello"...))
		c := p.next(t)
		if got := c.RemoteAddr().String(); got != "203.0.113.7:51000" {
			t.Errorf("%s: remote address %s, want the client's", name, got)
		}
		if _, ok := c.RemoteAddr().(*net.TCPAddr); !ok {
			t.Errorf("%s: remote address is a %T, want *net.TCPAddr", name, c.RemoteAddr())
		}
		bare, ok := c.(*Conn).NetConn().(*net.TCPConn)
		if !ok {
			t.Fatalf("%s: NetConn is a %T, want *net.TCPConn", name, c.(*Conn).NetConn())
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(bare, got); err != nil || string(got) != "hello" {
			t.Errorf("%s: the bare socket gave %q, %v; want hello", name, got, err)
		}
		if _, err := c.Write([]byte("back")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, got[:4]); err != nil || string(got[:4]) != "back" {
			t.Errorf("%s: the client got %q, %v; want back", name, got[:4], err)
		}
	}
}

func TestProxied_HeaderTimeoutDoesNotStayOnTheConnection(t *testing.T) {
	p := proxied(t, loopbacks, 50*time.Millisecond)
	client := p.dial(t, local)
	c, err := p.Accept() // not next, which would move the deadline
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := c.(*net.TCPConn); !ok {
		t.Errorf("without a client's address got a %T, want the bare *net.TCPConn", c)
	}
	late := time.AfterFunc(100*time.Millisecond, func() { client.Write([]byte("x")) })
	defer late.Stop()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("read after the header's timeout: %v", err)
	}
}

func TestProxied_StrangersAreServedAsTheyAreAndCannotLie(t *testing.T) {
	p := proxied(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, testTimeout)
	text := "PROXY TCP4 203.0.113.7 192.0.2.1 51000 1883\r\n"
	client := p.dial(t, []byte(text))
	c := p.next(t)
	if got, want := c.RemoteAddr().String(), client.LocalAddr().String(); got != want {
		t.Errorf("remote address %s, want %s", got, want)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Errorf("the connection gave %q, %v; want what was sent", got, err)
	}
	silent := p.dial(t, nil)
	if got := p.next(t).RemoteAddr().String(); got != silent.LocalAddr().String() {
		t.Errorf("a silent stranger is %s, want %s", got, silent.LocalAddr())
	}
}

func TestProxied_TrustedProxyWithoutHeaderIsClosedAndCounted(t *testing.T) {
	p := proxied(t, loopbacks, 50*time.Millisecond)
	for name, text := range map[string]string{"none": "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", "silence": "", "half": "PROXY TCP4 203."} {
		before := p.Refused()
		c := p.dial(t, []byte(text))
		if n, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("%s: read %d bytes, %v; want the end of the connection", name, n, err)
		}
		if got := p.Refused(); got != before+1 {
			t.Errorf("%s: refused %d, want %d", name, got, before+1)
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestProxied_SlowHeaderDelaysNobody(t *testing.T) {
	p := proxied(t, loopbacks, testTimeout)
	header := headerV2(t, "203.0.113.7:51000", 0)
	var slow []net.Conn
	for range 50 {
		slow = append(slow, p.dial(t, header[:7]))
	}
	p.dial(t, headerV2(t, "203.0.113.8:51000", 0))
	if got := p.next(t).RemoteAddr().String(); got != "203.0.113.8:51000" {
		t.Errorf("first accepted is %s, want 203.0.113.8:51000", got)
	}
	for _, c := range slow {
		if _, err := c.Write(header[7:]); err != nil {
			t.Fatal(err)
		}
	}
	for range slow {
		if got := p.next(t).RemoteAddr().String(); got != "203.0.113.7:51000" {
			t.Errorf("a slow one is %s, want 203.0.113.7:51000", got)
		}
	}
}

func TestProxied_CloseEndsWhatIsUnderWay(t *testing.T) {
	p := proxied(t, loopbacks, time.Hour)
	waiting := p.dial(t, []byte("PROXY"))
	unaccepted := p.dial(t, local)
	eventually(t, "both headers are being read", func() bool { return p.unread.Load() == 2 })
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	for _, c := range []net.Conn{waiting, unaccepted} {
		if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("read after Close: %v, want the end of the connection", err)
		}
	}
	if _, err := p.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after Close: %v, want %v", err, net.ErrClosed)
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// failing is a listener that is out of file descriptors at first.
type failing struct {
	net.Listener
	errs chan error
}

func (f *failing) Accept() (net.Conn, error) {
	select {
	case err := <-f.errs:
		return nil, err
	default:
		return f.Listener.Accept()
	}
}

func TestProxied_FailedAcceptIsReportedAndTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	want := errors.New("too many open files")
	inner := &failing{Listener: l, errs: make(chan error, 1)}
	inner.errs <- want
	p := NewProxied(inner, loopbacks, testTimeout, new(logBuffer).logger())
	defer p.Close()
	if _, err := p.Accept(); !errors.Is(err, want) {
		t.Errorf("accept: %v, want %v", err, want)
	}
	p.dial(t, local)
	p.next(t)
}

func TestProxied_TLSBehindItSeesTheClient(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), newFolder(t)
	dir.pair(ca.server("one"))
	edge, err := NewTLS(dir.config(), new(logBuffer).logger())
	if err != nil {
		t.Fatal(err)
	}
	p := proxied(t, loopbacks, testTimeout)
	l := tls.NewListener(p, edge.MQTT())
	client := tls.Client(p.dial(t, headerV2(t, "203.0.113.7:51000", 0)), &tls.Config{RootCAs: ca.pool(), ServerName: "localhost"})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*tls.Conn).Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := c.RemoteAddr().String(); got != "203.0.113.7:51000" {
		t.Errorf("remote address %s, want the client's", got)
	}
}
