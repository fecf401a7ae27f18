package broker

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pipeListener accepts the far ends of pipes: a listener for bubbles.
type pipeListener struct {
	net.Listener // none
	arriving     chan net.Conn
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	c, open := <-l.arriving
	if !open {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	close(l.arriving)
	return nil
}

// arrive has one more connection wait to be accepted.
func (l *pipeListener) arrive(t *testing.T) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	l.arriving <- theirs
}

// inDoorway is inBubble with a broker that serves a pipeListener.
func inDoorway(t *testing.T, f func(t *testing.T, h *house, l *pipeListener)) {
	inBubble(t, newIntake, func(t *testing.T, h *house) {
		l := &pipeListener{arriving: make(chan net.Conn, 3*acceptsPerRest)}
		go h.Serve(l) // ends with the house
		f(t, h, l)
	})
}

// Ten thousand who come at once are let in between the messages of those who are here.
func TestServe_RestsBetweenTheMany(t *testing.T) {
	inDoorway(t, func(t *testing.T, h *house, l *pipeListener) {
		for range cap(l.arriving) {
			l.arrive(t)
		}
		begin := time.Now()
		for want := int64(acceptsPerRest); want <= 3*acceptsPerRest; want += acceptsPerRest {
			synctest.Wait()
			if got := h.Stats().Accepted; got != want {
				t.Fatalf("after %v: got %d accepted, want %d", time.Since(begin), got, want)
			}
			time.Sleep(rest)
		}
	})
}

// A rest is over before the next one comes of those who come one by one.
func TestServe_WhoComesAloneIsLetInAtOnce(t *testing.T) {
	inDoorway(t, func(t *testing.T, h *house, l *pipeListener) {
		for want := int64(1); want <= 3*acceptsPerRest; want++ {
			l.arrive(t)
			synctest.Wait()
			if got := h.Stats().Accepted; got != want {
				t.Fatalf("got %d accepted, want %d", got, want)
			}
			time.Sleep(rest)
		}
	})
}
