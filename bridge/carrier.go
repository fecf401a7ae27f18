package bridge

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	controlTimeout = 5 * time.Second        // for a pong to leave; a peer that pings and does not read is gone
	writeGrace     = 200 * time.Millisecond // for a frame that is being written when the connection is closed

	maxPooledFrame = 64 << 10
)

var carrierFrames = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// carrier is a WebSocket as a stream of bytes. Messages and frames have no meaning in it: packets may span or share them [MQTT-6.0.0-2].
//
// gorilla reads; everything that is written, control frames included, is written here under one lock, whole frames at a time. It has no
// method that gives the socket away: bytes written past it would be no frames.
type carrier struct {
	tunnel *Tunnel
	ws     *websocket.Conn
	socket net.Conn
	remote net.Addr

	reading  sync.Mutex // serialises Read; taken by the farewell when reading is over
	message  io.Reader  // guarded by reading: the rest of the message being read; nil between messages
	ended    error      // guarded by reading: why reading is over
	answered bool       // guarded by reading: the peer has sent its close frame

	// writing is held while a frame is written, so possibly for long: who must not wait only tries it.
	writing sync.Mutex
	torn    bool                   // guarded by writing: a part of a frame has left, and nothing can follow it
	control atomic.Pointer[[]byte] // a pong that waits for its turn; of several only the last counts (RFC 6455 §5.5.3)

	closed atomic.Bool

	mu      sync.Mutex
	writeBy time.Time // guarded by mu: the write deadline as set from outside
}

func newCarrier(t *Tunnel, ws *websocket.Conn, socket net.Conn, remote net.Addr) *carrier {
	c := &carrier{tunnel: t, ws: ws, socket: socket, remote: remote}
	ws.SetPingHandler(func(data string) error {
		pong := appendControl(nil, opPong, data)
		c.control.Store(&pong)
		c.sendControl()
		return nil
	})
	ws.SetCloseHandler(func(int, string) error { return nil }) // answered by Read
	return c
}

// Read implements net.Conn. It returns io.EOF when the peer has closed the WebSocket, and stays with its first error.
func (c *carrier) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	for c.ended == nil && !c.closed.Load() {
		if c.message == nil {
			c.next()
			continue
		}
		n, err := c.message.Read(b)
		if err == io.EOF { // the message's end
			c.message, err = nil, nil
		}
		if err != nil {
			c.fail(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	if c.ended == nil {
		return 0, net.ErrClosed
	}
	return 0, c.ended
}

// next begins a message. The caller holds reading.
func (c *carrier) next() {
	kind, message, err := c.ws.NextReader()
	switch {
	case err != nil:
		c.fail(err)
	case kind != websocket.BinaryMessage:
		c.end(CloseUnsupported, errors.New("text message in an MQTT connection")) // [MQTT-6.0.0-1]
	default:
		c.message = message
	}
}

// fail ends reading for an error of gorilla's. The caller holds reading.
func (c *carrier) fail(err error) {
	var closed *websocket.CloseError
	var network net.Error
	switch {
	case c.closed.Load():
		c.ended = net.ErrClosed
	case errors.As(err, &closed) && closed.Code == CloseLost:
		c.ended = io.ErrUnexpectedEOF
	case errors.As(err, &closed):
		c.answered = true
		c.end(CloseNormal, io.EOF)
	case errors.Is(err, websocket.ErrReadLimit):
		c.end(CloseTooBig, err)
	case errors.As(err, &network) && network.Timeout():
		c.ended = os.ErrDeadlineExceeded // which gorilla has hidden
	case errors.As(err, &network):
		c.ended = err
	default:
		c.end(CloseProtocolError, err)
	}
}

// end keeps why reading is over and says goodbye. The caller holds reading.
func (c *carrier) end(code int, err error) {
	c.ended = err
	c.goodbye(code)
}

// Write implements net.Conn: it sends b as one binary frame. It waits for the peer as long as that takes; Close ends it.
func (c *carrier) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if c.closed.Load() {
		return 0, net.ErrClosed // without waiting for the farewell
	}
	buf := carrierFrames.Get().(*[]byte)
	*buf = append(append((*buf)[:0], make([]byte, headroom)...), b...)
	frame := seal(final|opBinary, *buf)
	c.writing.Lock()
	if c.closed.Load() {
		c.writing.Unlock()
		return 0, net.ErrClosed
	}
	n, err := c.socket.Write(frame)
	c.torn = c.torn || err != nil
	c.writing.Unlock()
	if cap(*buf) <= maxPooledFrame {
		carrierFrames.Put(buf)
	}
	if err != nil {
		return max(0, n-(len(frame)-len(b))), err
	}
	c.sendControl()
	return len(b), nil
}

// sendControl sends the pong that waits, unless a frame is being written: then whoever writes it looks again afterwards.
func (c *carrier) sendControl() {
	for c.control.Load() != nil && c.writing.TryLock() {
		if pong := c.control.Swap(nil); pong != nil && !c.torn && c.limitWrite(time.Now().Add(controlTimeout)) {
			if _, err := c.socket.Write(*pong); err != nil {
				c.torn = true
				c.socket.Close()
			}
			c.mu.Lock()
			writeBy := c.writeBy
			c.mu.Unlock()
			c.limitWrite(writeBy)
		}
		c.writing.Unlock()
	}
}

// limitWrite moves the socket's write deadline, unless the connection is closed: then it is the farewell's.
func (c *carrier) limitWrite(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed.Load() && c.socket.SetWriteDeadline(t) == nil
}

// Close implements net.Conn. It never blocks: reading ends at once, a Write that waits for the peer after a moment, and the closing handshake
// goes on beside it, for at most Config.CloseTimeout.
func (c *carrier) Close() error {
	c.goodbye(CloseNormal)
	return nil
}

func (c *carrier) goodbye(code int) {
	if c.closed.Swap(true) {
		return
	}
	c.mu.Lock() // who moved a deadline before has done so, and who comes now finds closed set
	c.socket.SetReadDeadline(time.Unix(1, 0))
	c.socket.SetWriteDeadline(time.Now().Add(writeGrace))
	c.mu.Unlock()
	c.tunnel.farewell.Go(func() { c.part(code) }) // ends with the peer's closing, at the latest with the timeout
}

// part sends the close frame, after the frame that is being written if it still gets through, and closes the socket.
func (c *carrier) part(code int) {
	defer c.socket.Close()
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.torn {
		return // the peer could not tell where a close frame begins
	}
	deadline := time.Now().Add(c.tunnel.hub.cfg.CloseTimeout)
	c.socket.SetWriteDeadline(deadline)
	_, err := c.socket.Write(closeFrame(code, ""))
	c.reading.Lock() // whoever reads has left, and who comes now finds closed set
	answered := c.answered
	c.reading.Unlock()
	half, ok := c.socket.(interface{ CloseWrite() error })
	if err != nil || answered || !ok || half.CloseWrite() != nil {
		return
	}
	// Closing a socket with unread data resets it, and the reset may overtake what was written last: read on until the peer has closed.
	c.socket.SetReadDeadline(deadline)
	io.Copy(io.Discard, c.socket)
}

// LocalAddr implements net.Conn.
func (c *carrier) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// RemoteAddr implements net.Conn: the client's address as TunnelConfig.ClientAddr found it.
func (c *carrier) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *carrier) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn. A Read that has failed for its deadline does not recover: the rest of a frame would be missing.
func (c *carrier) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return net.ErrClosed
	}
	return c.socket.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn. As with TLS, after a Write that failed for its deadline the connection is of no further use.
func (c *carrier) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return net.ErrClosed
	}
	c.writeBy = t
	return c.socket.SetWriteDeadline(t)
}
