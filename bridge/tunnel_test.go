package bridge

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// tube is a tunnel behind a real HTTP server, and the connections that came through it.
type tube struct {
	t      *testing.T
	hub    *Hub
	tunnel *Tunnel
	http   *httptest.Server
	conns  chan net.Conn
}

func newTube(t *testing.T, cfg Config, tunnelCfg TunnelConfig) *tube {
	t.Helper()
	if cfg.CloseTimeout == 0 {
		cfg.CloseTimeout = testTimeout
	}
	b := &tube{t: t, hub: newWorld(t, cfg, nil).hub, conns: make(chan net.Conn, 100)}
	b.tunnel = b.hub.Tunnel(tunnelCfg, func(c net.Conn) { b.conns <- c })
	b.http = httptest.NewServer(b.tunnel)
	t.Cleanup(func() {
		b.http.Close()
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := b.tunnel.Close(ctx); err != nil {
			t.Errorf("close tunnel: %v", err)
		}
	})
	return b
}

// open makes a WebSocket as a client library would and returns both its ends.
func (b *tube) open(header http.Header, protocols ...string) (*websocket.Conn, net.Conn) {
	b.t.Helper()
	if len(protocols) == 0 {
		protocols = []string{"mqtt"}
	}
	d := websocket.Dialer{Subprotocols: protocols}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(b.http.URL, "http")+"/mqtt", header)
	if err != nil {
		b.t.Fatalf("dial: %v", err)
	}
	b.t.Cleanup(func() { ws.Close() })
	ws.SetReadDeadline(time.Now().Add(testTimeout))
	return ws, b.served()
}

// openRaw makes a WebSocket whose peer may misbehave.
func (b *tube) openRaw() (*rawClient, net.Conn) {
	b.t.Helper()
	w := &world{t: b.t}
	c := w.dialRaw("ws"+strings.TrimPrefix(b.http.URL, "http")+"/mqtt", "mqtt")
	return c, b.served()
}

func (b *tube) served() net.Conn {
	b.t.Helper()
	select {
	case c := <-b.conns:
		b.t.Cleanup(func() { c.Close() })
		c.SetReadDeadline(time.Now().Add(testTimeout))
		return c
	case <-time.After(testTimeout):
		b.t.Fatal("the tunnel handed no connection on")
		return nil
	}
}

// ask makes a request that is refused and returns the answer.
func (b *tube) ask(header http.Header) (int, problem) {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, b.http.URL+"/mqtt", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var p problem
	if resp.StatusCode != http.StatusSwitchingProtocols {
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
			b.t.Errorf("answer %d is no problem: %v", resp.StatusCode, err)
		}
	}
	return resp.StatusCode, p
}

func TestTunnel_SpeaksTheSubprotocolMQTT(t *testing.T) {
	b := newTube(t, Config{}, TunnelConfig{})
	for _, c := range []struct {
		offered []string
		want    string
	}{
		{[]string{"mqtt"}, "mqtt"},
		{[]string{"mqttv3.1"}, "mqttv3.1"},
		{[]string{"mqttv3.1", "mqtt"}, "mqtt"},
		{[]string{"other", "mqtt"}, "mqtt"},
	} {
		ws, _ := b.open(nil, c.offered...)
		if got := ws.Subprotocol(); got != c.want {
			t.Errorf("offered %v: got %q, want %q", c.offered, got, c.want)
		}
	}
}

func TestTunnel_RefusesBeforeTheUpgrade(t *testing.T) {
	b := newTube(t, Config{AllowedOrigins: []string{"https://app.example.com"}}, TunnelConfig{})
	with := func(name, value string) http.Header {
		h := upgradeHeader()
		h.Set("Sec-WebSocket-Protocol", "mqtt")
		if value == "" {
			h.Del(name)
		} else {
			h.Set(name, value)
		}
		return h
	}
	for name, c := range map[string]struct {
		header http.Header
		status int
		says   string
	}{
		"no subprotocol":      {with("Sec-WebSocket-Protocol", ""), http.StatusBadRequest, "subprotocol mqtt"},
		"another subprotocol": {with("Sec-WebSocket-Protocol", "sensorcast.v1"), http.StatusBadRequest, "subprotocol mqtt"},
		"in other case":       {with("Sec-WebSocket-Protocol", "MQTT"), http.StatusBadRequest, "subprotocol mqtt"},
		"no upgrade":          {with("Upgrade", ""), http.StatusUpgradeRequired, "WebSocket"},
		"foreign origin":      {with("Origin", "https://evil.example"), http.StatusForbidden, "origin"},
		"null origin":         {with("Origin", "null"), http.StatusForbidden, "origin"},
		"this host's cousin":  {with("Origin", "https"+strings.TrimPrefix(b.http.URL, "http")+".evil.example"), http.StatusForbidden, "origin"},
		"bad key":             {with("Sec-WebSocket-Key", "short"), http.StatusBadRequest, "Key"},
	} {
		status, p := b.ask(c.header)
		if status != c.status || !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s: got %d %q, want %d with %q", name, status, p.Detail, c.status, c.says)
		}
	}
	for _, origin := range []string{b.http.URL, "https://app.example.com", "https" + strings.TrimPrefix(b.http.URL, "http")} {
		b.open(http.Header{"Origin": {origin}})
	}
	if got := b.hub.Stats(); got.Refused["subprotocol"] != 3 || got.Refused["origin"] != 3 || got.Tunnels != 3 {
		t.Errorf("stats %+v, want 3 refused for the subprotocol, 3 for the origin, 3 tunnels", got)
	}
}

func TestTunnel_FramesHaveNoMeaning(t *testing.T) {
	b := newTube(t, Config{}, TunnelConfig{})
	c, conn := b.openRaw()
	// One message of one-byte fragments with a ping among them, an empty message, two messages back to back.
	c.write(masked(opBinary, []byte("a")))
	c.write(masked(opContinuation, []byte("b")))
	c.ping("still there?")
	c.write(masked(opContinuation, nil))
	c.write(masked(final|opContinuation, []byte("c")))
	c.write(masked(final|opBinary, nil))
	c.write(append(masked(final|opBinary, []byte("de")), masked(final|opBinary, []byte("fgh"))...))
	got := make([]byte, 8)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "abcdefgh" {
		t.Fatalf("read %q, %v; want abcdefgh", got, err)
	}
	if f, ok := c.frame(); !ok || f.op != opPong || string(f.payload) != "still there?" {
		t.Errorf("got frame %+v, want the pong", f)
	}
	for _, text := range []string{"x", strings.Repeat("y", 126), strings.Repeat("z", 70_000)} {
		written := make(chan error, 1)
		go func() {
			n, err := conn.Write([]byte(text))
			if err == nil && n != len(text) {
				err = io.ErrShortWrite
			}
			written <- err
		}()
		if f, ok := c.frame(); !ok || f.op != opBinary || !f.fin || string(f.payload) != text {
			t.Errorf("a write of %d bytes gave frame op %d fin %v of %d", len(text), f.op, f.fin, len(f.payload))
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
}

func TestTunnel_TextMessageEndsIt(t *testing.T) {
	b := newTube(t, Config{}, TunnelConfig{})
	c, conn := b.openRaw()
	c.write(masked(final|opBinary, []byte("good")))
	c.text("bad")
	got, err := io.ReadAll(conn)
	if err == nil || string(got) != "good" {
		t.Errorf("read %q, %v; want the good bytes and an error", got, err)
	}
	if code := c.closeCode(); code != CloseUnsupported {
		t.Errorf("close code %d, want %d", code, CloseUnsupported)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write afterwards: %v, want %v", err, net.ErrClosed)
	}
}

func TestTunnel_BreachesOfTheProtocolEndIt(t *testing.T) {
	b := newTube(t, Config{}, TunnelConfig{})
	for name, frame := range map[string][]byte{
		"unmasked":       {final | opBinary, 1, 'x'},
		"reserved bit":   masked(final|0x40|opBinary, []byte("x")),
		"unknown opcode": masked(final|0x3, []byte("x")),
		"no beginning":   masked(final|opContinuation, []byte("x")),
		"long ping":      masked(final|opPing, make([]byte, 126)),
	} {
		c, conn := b.openRaw()
		c.write(frame)
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read gave %v, want an error at once", name, err)
		}
		if code := c.closeCode(); code != CloseProtocolError {
			t.Errorf("%s: close code %d, want %d", name, code, CloseProtocolError)
		}
	}
}

func TestTunnel_MessageUpToTheLimitPassesAndNoneBeyond(t *testing.T) {
	const limit = 1 << 20
	b := newTube(t, Config{}, TunnelConfig{})
	want := make([]byte, limit)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	ws, conn := b.open(nil)
	go ws.WriteMessage(websocket.BinaryMessage, want)
	got := make([]byte, limit)
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("a message of 1 MiB: %v, equal %v", err, bytes.Equal(got, want))
	}

	c, conn := b.openRaw()
	header := binary.BigEndian.AppendUint64([]byte{final | opBinary, 0x80 | 127}, limit+1)
	c.write(append(header, 0, 0, 0, 0))
	if _, err := conn.Read(got); !errors.Is(err, websocket.ErrReadLimit) {
		t.Errorf("one byte more: %v, want %v, before any of it", err, websocket.ErrReadLimit)
	}
	if code := c.closeCode(); code != CloseTooBig {
		t.Errorf("close code %d, want %d", code, CloseTooBig)
	}
}

// A frame that has come half is there to read: it is not gathered first.
func TestTunnel_BigFrameIsNotBuffered(t *testing.T) {
	b := newTube(t, Config{}, TunnelConfig{})
	c, conn := b.openRaw()
	whole := masked(final|opBinary, bytes.Repeat([]byte("x"), 100_000))
	c.write(whole[:50_000])
	if _, err := io.ReadFull(conn, make([]byte, 49_000)); err != nil {
		t.Errorf("the first half: %v", err)
	}
}

func TestTunnel_EndOfThePeerIsEOF(t *testing.T) {
	b := newTube(t, Config{}, TunnelConfig{})
	c, conn := b.openRaw()
	c.write(masked(final|opBinary, []byte("bye")))
	c.write(masked(final|opClose, []byte{3, 232}))
	if got, err := io.ReadAll(conn); err != nil || string(got) != "bye" {
		t.Errorf("after a close frame: read %q, %v; want bye and EOF", got, err)
	}
	if code := c.closeCode(); code != CloseNormal { // and the socket is closed by the server, not by a timeout
		t.Errorf("close frame answered with %d, want %d", code, CloseNormal)
	}

	c, conn = b.openRaw()
	c.conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after a lost connection: %v, want an error that is no EOF", err)
	}
	for range 2000 { // gorilla panics at the thousandth
		conn.Read(make([]byte, 1))
	}
}

func TestTunnel_CloseSaysGoodbyeAndEndsTheReader(t *testing.T) {
	b := newTube(t, Config{}, TunnelConfig{})
	c, conn := b.openRaw()
	read := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	if _, err := conn.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	c.write(masked(final|opPing, []byte("x"))) // unread data would reset the connection and lose what was written
	if err := conn.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("pending read: %v, want %v", err, net.ErrClosed)
	}
	c.write(masked(final|opBinary, bytes.Repeat([]byte("x"), 100_000)))
	var words string
	code := 0
	for f, ok := c.frame(); ok; f, ok = c.frame() {
		switch f.op {
		case opBinary:
			words = string(f.payload)
		case opClose:
			code = int(binary.BigEndian.Uint16(f.payload))
			c.conn.(*net.TCPConn).CloseWrite()
		}
	}
	if words != "last words" || code != CloseNormal {
		t.Errorf("got %q and close code %d, want the last words and %d", words, code, CloseNormal)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Hour)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("deadline after Close: %v, want %v", err, net.ErrClosed)
	}
}

func TestTunnel_FarewellIsBounded(t *testing.T) {
	b := newTube(t, Config{CloseTimeout: 50 * time.Millisecond}, TunnelConfig{})
	_, conn := b.openRaw() // never answers a close
	conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if err := b.tunnel.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestTunnel_CloseUnblocksAWriteNobodyReads(t *testing.T) {
	b := newTube(t, Config{}, TunnelConfig{})
	c, conn := b.openRaw()
	wrote := make(chan error, 1)
	progress := make(chan struct{}, 1)
	go func() { // as package wire does: no deadline
		block := make([]byte, 16<<10)
		for {
			if _, err := conn.Write(block); err != nil {
				wrote <- err
				return
			}
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	}()
	for stuck := false; !stuck; {
		select {
		case <-progress:
		case <-time.After(200 * time.Millisecond): // the socket's buffers are full
			stuck = true
		}
	}
	c.ping("are you there?") // its pong has to wait and must not hold up the reader
	c.write(masked(final|opBinary, []byte("read me")))
	got := make([]byte, 7)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "read me" {
		t.Errorf("while a write is stuck: read %q, %v", got, err)
	}
	start := time.Now()
	conn.Close()
	select {
	case err := <-wrote:
		if err == nil {
			t.Error("the stuck write succeeded")
		}
	case <-time.After(testTimeout):
		t.Fatal("the write is still stuck after Close")
	}
	if took := time.Since(start); took > testTimeout/2 {
		t.Errorf("Close took %v to end the write", took)
	}
}

func TestTunnel_WaitingPongLeavesAfterTheWrite(t *testing.T) {
	b := newTube(t, Config{}, TunnelConfig{})
	c, conn := b.openRaw()
	carried := conn.(*carrier)
	carried.writing.Lock() // a frame is being written
	for _, s := range []string{"one", "two"} {
		c.ping(s)
	}
	c.write(masked(final|opBinary, []byte("x")))
	if _, err := conn.Read(make([]byte, 1)); err != nil { // the pings before it have been seen
		t.Fatal(err)
	}
	carried.writing.Unlock()
	if _, err := conn.Write([]byte("frame")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []wsFrame{{op: opBinary, payload: []byte("frame")}, {op: opPong, payload: []byte("two")}} {
		if f, ok := c.frame(); !ok || f.op != want.op || !bytes.Equal(f.payload, want.payload) {
			t.Errorf("got frame op %d %q, want op %d %q", f.op, f.payload, want.op, want.payload)
		}
	}
}

func TestTunnel_DeadlinesHold(t *testing.T) {
	b := newTube(t, Config{}, TunnelConfig{})
	_, conn := b.open(nil)
	conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v, want %v", err, os.ErrDeadlineExceeded)
	}
	_, conn = b.openRaw()
	conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	var err error
	for err == nil {
		_, err = conn.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

func TestTunnel_ClientsAddressIsTheOneBehindTheProxy(t *testing.T) {
	behind := netip.MustParseAddr("203.0.113.7")
	for name, c := range map[string]struct {
		addr func(*http.Request) netip.Addr
		want string // "": the peer's
	}{
		"nobody says":  {nil, ""},
		"a proxy says": {func(*http.Request) netip.Addr { return behind }, "203.0.113.7:0"},
		"the peer":     {func(*http.Request) netip.Addr { return loopback }, ""},
		"not known":    {func(*http.Request) netip.Addr { return netip.Addr{} }, ""},
	} {
		ws, conn := newTube(t, Config{}, TunnelConfig{ClientAddr: c.addr}).open(nil)
		want := c.want
		if want == "" {
			want = ws.NetConn().LocalAddr().String()
		}
		if _, ok := conn.RemoteAddr().(*net.TCPAddr); !ok || conn.RemoteAddr().String() != want {
			t.Errorf("%s: remote address %T %v, want *net.TCPAddr %s", name, conn.RemoteAddr(), conn.RemoteAddr(), want)
		}
	}
}

// Bytes written past the carrier would be no frames, so nobody may find the socket in it.
func TestTunnel_GivesTheSocketToNobody(t *testing.T) {
	_, conn := newTube(t, Config{}, TunnelConfig{}).open(nil)
	if _, ok := conn.(interface{ NetConn() net.Conn }); ok {
		t.Error("the connection has a NetConn method")
	}
	if _, ok := conn.(syscall.Conn); ok {
		t.Error("the connection has a SyscallConn method")
	}
}
