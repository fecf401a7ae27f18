package simulator

import (
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// message is one PUBLISH from when it is made until it is acknowledged, over as many connections as that takes.
type message struct {
	payload []byte
	token   mqtt.Token // of the present connection; nil: not handed over on it
	first   time.Time  // first hand-over, zero before it: latency counts from here, so an outage shows in its tail
	latest  time.Time  // hand-over on the present connection
}

// outbox holds a sensor's unacknowledged messages, oldest first: messages[:sent] are out on the present connection, the rest wait.
// A broker acknowledges in the order of sending [MQTT-4.6.0-2], so watching the oldest is enough. Not safe for concurrent use.
type outbox struct {
	messages []message
	sent     int
}

func (o *outbox) push(payload []byte) { o.messages = append(o.messages, message{payload: payload}) }

func (o *outbox) len() int { return len(o.messages) }

// next is the oldest message not handed over, or nil when there is none or window messages are out.
func (o *outbox) next(window int) *message {
	if o.sent >= window || o.sent >= len(o.messages) {
		return nil
	}
	return &o.messages[o.sent]
}

// oldest is the message whose acknowledgement comes next, or nil.
func (o *outbox) oldest() *message {
	if o.sent == 0 {
		return nil
	}
	return &o.messages[0]
}

// pop removes and returns the oldest.
func (o *outbox) pop() message {
	m := o.messages[0]
	o.messages = slices.Delete(o.messages, 0, 1) // in place: the window is short
	o.sent--
	return m
}

// rewind makes every message wait again, for the next connection.
func (o *outbox) rewind() {
	for i := range o.messages {
		o.messages[i].token = nil
	}
	o.sent = 0
}

// drop empties the outbox of what was handed over at least once and returns how many those were; the rest, never sent, goes too.
func (o *outbox) drop() (sent int) {
	for i := range o.messages {
		if !o.messages[i].first.IsZero() {
			sent++
		}
	}
	o.messages, o.sent = nil, 0
	return sent
}
