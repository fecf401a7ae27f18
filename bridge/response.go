package bridge

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// response is the body of an HTTP response as a net.Conn, for package wire, over whatever the request came: HTTP/1.1, HTTP/2, TLS. It is
// only written: what a peer has to say after its request nobody hears.
type response struct {
	net.Conn // nil: wire calls Write and Close, nothing else

	w       http.ResponseWriter
	control *http.ResponseController

	writing sync.Mutex // held while w is written to
	mu      sync.Mutex
	closed  bool // guarded by mu: w and control are touched no more
}

func newResponse(w http.ResponseWriter) *response {
	return &response{w: w, control: http.NewResponseController(w)}
}

// Write sends b at once. It waits for the peer as long as that takes; Close ends it.
func (c *response) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	n, err := c.w.Write(b)
	if err == nil {
		err = c.control.Flush()
	}
	return n, err
}

func (c *response) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Close cuts the peer off, a Write that waits for it included. It may be called at any time, also when the handler has returned.
func (c *response) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	return c.control.SetWriteDeadline(time.Unix(1, 0))
}

// release gives the response back to its handler, which is about to return: nothing of ours touches it afterwards. What was written is ended
// in good order, unless a Write still waits for the peer: then that is cut off.
func (c *response) release() {
	if !c.writing.TryLock() {
		c.Close()
		c.writing.Lock()
	}
	defer c.writing.Unlock()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
}
