package bridge

import (
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// stuckWriter is a response to a peer that reads nothing: a write waits until a deadline ends it.
type stuckWriter struct {
	http.ResponseWriter // nil: nothing else is called
	writing             chan struct{}
	cut                 chan struct{}
	touched             atomic.Int64
}

func newStuckWriter() *stuckWriter {
	return &stuckWriter{writing: make(chan struct{}), cut: make(chan struct{})}
}

func (w *stuckWriter) Write([]byte) (int, error) {
	w.touched.Add(1)
	close(w.writing)
	<-w.cut
	return 0, os.ErrDeadlineExceeded
}

func (w *stuckWriter) Flush() { w.touched.Add(1) }

func (w *stuckWriter) SetWriteDeadline(t time.Time) error {
	w.touched.Add(1)
	if t.Before(time.Now()) {
		close(w.cut)
	}
	return nil
}

func TestResponse_EndsAWriteThatWaits(t *testing.T) {
	for name, end := range map[string]func(*response){
		"Close":   func(c *response) { c.Close() },
		"release": (*response).release,
	} {
		t.Run(name, func(t *testing.T) {
			w := newStuckWriter()
			c := newResponse(w)
			written := make(chan error, 1)
			go func() { // ends when the write is cut off
				_, err := c.Write([]byte("data: x\n\n"))
				written <- err
			}()
			<-w.writing
			ended := make(chan struct{})
			go func() { // ends with it
				defer close(ended)
				end(c)
			}()
			for range 2 {
				select {
				case err := <-written:
					if err == nil {
						t.Errorf("the write succeeded")
					}
				case <-ended:
				case <-time.After(testTimeout):
					t.Fatal("still waiting for the peer")
				}
			}
		})
	}
}

// Once its handler has returned, the server may use the response for somebody else.
func TestResponse_IsNotTouchedAfterItsRelease(t *testing.T) {
	w := newStuckWriter()
	c := newResponse(w)
	c.release()
	if _, err := c.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: got %v, want %v", err, net.ErrClosed)
	}
	c.Close()
	c.release()
	if n := w.touched.Load(); n != 0 {
		t.Errorf("the response was touched %d times", n)
	}
}
