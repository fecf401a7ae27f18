package bridge

import (
	"fmt"
	"time"
)

const (
	viewerLimit = 24 << 10 // bytes of one message from a viewer: the largest command with its name and id
	sensorLimit = 64 << 10 // and from a sensor

	// messagesPerSecond bounds what a viewer may send, and what anybody may send in control frames: a ping costs its sender next to nothing.
	messagesPerSecond = 10
)

// inbound handles the text messages of one session. The error, if any, ends the session.
type inbound interface {
	message(text []byte) error
}

// violation ends a session with a close code.
type violation struct {
	code   int
	reason string
}

func (v *violation) Error() string { return fmt.Sprintf("close %d: %s", v.code, v.reason) }

// text implements listener.
func (s *session) text(message []byte) error {
	s.hub.counters.received.Add(1)
	if !s.device && !s.rate.take(time.Now()) {
		return errTooMany
	}
	// A peer that does not take its replies is read no further; an ending session is only read for its close frame.
	if !s.box.awaitRoom() {
		return nil
	}
	return s.in.message(message)
}

// ping implements listener.
func (s *session) ping(data []byte) error {
	s.box.setPong(string(data))
	s.sender.Wake()
	return s.pong()
}

// pong implements listener. That the peer lives was noted when its bytes came.
func (s *session) pong() error {
	if !s.rate.take(time.Now()) {
		return errTooMany
	}
	return nil
}

var errTooMany = &violation{ClosePolicy, "too many messages"}

// allowance is a budget of messages for each second.
type allowance struct {
	since time.Time
	used  int
}

func (a *allowance) take(now time.Time) bool {
	if now.Sub(a.since) >= time.Second {
		a.since, a.used = now, 0
	}
	a.used++
	return a.used <= messagesPerSecond
}
