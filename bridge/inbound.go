package bridge

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
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

// read takes messages from the peer until it leaves, breaks the protocol, or the socket fails. Nothing it calls writes to the socket.
func (s *session) read(ws *websocket.Conn, in inbound) error {
	rate := &allowance{}
	control := func() error {
		if !rate.take(time.Now()) {
			return &violation{ClosePolicy, "too many messages"}
		}
		return nil
	}
	ws.SetPingHandler(func(data string) error {
		s.box.setPong(data)
		s.sender.Wake()
		return control()
	})
	ws.SetPongHandler(func(string) error { return control() })
	ws.SetCloseHandler(func(int, string) error { return nil }) // answered by run
	ws.SetReadLimit(viewerLimit)
	if s.device {
		ws.SetReadLimit(sensorLimit)
	}
	for {
		kind, r, err := ws.NextReader()
		if err != nil {
			return readError(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return readError(err)
		}
		s.hub.counters.received.Add(1)
		switch {
		case kind != websocket.TextMessage:
			return &violation{CloseUnsupported, "only text messages are understood"}
		case !utf8.Valid(text):
			return &violation{CloseInvalidText, "a text message must be UTF-8"}
		case !s.device && !rate.take(time.Now()):
			return &violation{ClosePolicy, "too many messages"}
		}
		// A peer that does not take its replies is read no further; an ending session is only read for its close frame.
		if s.box.awaitRoom() {
			if err := in.message(text); err != nil {
				return err
			}
		}
	}
}

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

// readError tells breaches of the protocol, which are answered, from the end of the connection, which cannot be.
func readError(err error) error {
	var closed *websocket.CloseError
	var broken *violation
	switch {
	case errors.As(err, &broken), errors.As(err, &closed):
		return err
	case errors.Is(err, websocket.ErrReadLimit):
		return &violation{CloseTooBig, "message too big"}
	case strings.HasPrefix(err.Error(), "websocket: "): // gorilla's protocol errors have no type of their own
		return &violation{CloseProtocolError, "not a valid WebSocket frame"}
	}
	return err
}
