package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// viewer is a WebSocket client that only counts.
type viewer struct {
	conn  net.Conn
	r     *bufio.Reader
	count func(payload []byte) int // messages in one frame
	buf   []byte
}

func dialWebSocket(addr, path, protocol string) (*viewer, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if protocol != "" {
		request += "Sec-WebSocket-Protocol: " + protocol + "\r\n"
	}
	if _, err := io.WriteString(c, request+"\r\n"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	v := &viewer{conn: c, r: bufio.NewReaderSize(c, 4<<10)}
	resp, err := http.ReadResponse(v.r, nil)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, errors.Join(fmt.Errorf("upgrade refused: %s", resp.Status), c.Close())
	}
	return v, nil
}

// file gives the socket away: the connection itself is of no use afterwards.
func (v *viewer) file() (*os.File, error) {
	tcp, ok := v.conn.(*net.TCPConn)
	if !ok {
		return nil, errors.New("not a TCP connection")
	}
	f, err := tcp.File()
	return f, errors.Join(err, tcp.Close())
}

// next reads one frame, and reports how many messages it carries.
func (v *viewer) next() (payload []byte, n int, err error) {
	var head [10]byte
	if _, err := io.ReadFull(v.r, head[:2]); err != nil {
		return nil, 0, err
	}
	size := int(head[1] & 0x7f)
	switch size {
	case 126:
		if _, err := io.ReadFull(v.r, head[2:4]); err != nil {
			return nil, 0, err
		}
		size = int(binary.BigEndian.Uint16(head[2:]))
	case 127:
		if _, err := io.ReadFull(v.r, head[2:10]); err != nil {
			return nil, 0, err
		}
		size = int(binary.BigEndian.Uint64(head[2:]))
	}
	if cap(v.buf) < size {
		v.buf = make([]byte, size)
	}
	v.buf = v.buf[:size]
	if _, err := io.ReadFull(v.r, v.buf); err != nil {
		return nil, 0, err
	}
	if op := head[0] & 0x0f; op == 1 || op == 2 {
		n = v.count(v.buf)
	}
	return v.buf, n, nil
}

// send writes one binary frame. Its mask is zero, which is as valid as any (RFC 6455 §5.3 asks clients for unpredictability against
// intermediaries, of which loopback has none).
func (v *viewer) send(p []byte) error {
	frame := append([]byte{0x82, 0x80 | byte(len(p)), 0, 0, 0, 0}, p...)
	if len(p) > 125 {
		return errors.New("the generator sends short frames only")
	}
	_, err := v.conn.Write(frame)
	return err
}
