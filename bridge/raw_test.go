package bridge

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rawClient is a peer that speaks RFC 6455 by hand, so that it can misbehave.
type rawClient struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// dialRaw opens a socket with a small receive buffer, for one of the subprotocols if any are given.
func (w *world) dialRaw(address string, subprotocols ...string) *rawClient {
	w.t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	host, path, _ := strings.Cut(strings.TrimPrefix(address, "ws://"), "/")
	conn, err := d.Dial("tcp", host)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(testTimeout))
	req, err := http.NewRequest(http.MethodGet, "http://"+host+"/"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header = upgradeHeader()
	if len(subprotocols) > 0 {
		req.Header.Set("Sec-WebSocket-Protocol", strings.Join(subprotocols, ", "))
	}
	if err := req.Write(conn); err != nil {
		w.t.Fatal(err)
	}
	c := &rawClient{t: w.t, conn: conn, r: bufio.NewReader(conn)}
	resp, err := http.ReadResponse(c.r, req)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		w.t.Fatalf("upgrade: got %+v, %v", resp, err)
	}
	return c
}

// masked encodes a client's frame.
func masked(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	var key [4]byte
	rand.Read(key[:])
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

func (c *rawClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *rawClient) text(s string) { c.t.Helper(); c.write(masked(0x81, []byte(s))) }
func (c *rawClient) ping(s string) { c.t.Helper(); c.write(masked(0x89, []byte(s))) }

// frame reads the next frame; false at the end of the connection.
func (c *rawClient) frame() (wsFrame, bool) {
	c.t.Helper()
	f, err := nextFrame(c.r)
	switch {
	case err == nil:
		return f, true
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return f, false
	}
	c.t.Fatalf("read frame: %v (%+v)", err, f)
	return f, false
}

// message reads up to the next text message; control frames in between go to control, which may be nil.
func (c *rawClient) message(control func(wsFrame)) (Frame, bool) {
	c.t.Helper()
	var text []byte
	for {
		f, ok := c.frame()
		if !ok {
			return Frame{}, false
		}
		if f.op >= 8 {
			if control != nil {
				control(f)
			}
			continue
		}
		text = append(text, f.payload...)
		if !f.fin {
			continue
		}
		var m Frame
		if err := json.Unmarshal(text, &m); err != nil {
			c.t.Fatalf("message %q: %v", text, err)
		}
		if text = nil; m.Type == "resume" {
			continue // comes at any time
		}
		return m, true
	}
}

// closeCode reads to the end and returns the code of the close frame, zero without one.
func (c *rawClient) closeCode() (code int) {
	c.t.Helper()
	for {
		f, ok := c.frame()
		if !ok {
			return code
		}
		if f.op == opClose && len(f.payload) >= 2 {
			code = int(binary.BigEndian.Uint16(f.payload))
		}
	}
}
