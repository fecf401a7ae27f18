package broker

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"
)

// errParted ends a connection whose client took its leave.
var errParted = errors.New("client disconnected")

// handle does what one packet asks for. The body is only valid during the call. An error ends the connection; a packets.Code among
// them is what a v5 client is told.
func (c *conn) handle(p packet) error {
	if c.session == nil {
		return c.connect(p)
	}
	if want, ok := fixedFlags(p.kind()); ok && p.head&0x0f != want {
		return packets.ErrMalformedFlags // [MQTT-2.1.3-1]
	}
	in := cursor{b: p.body}
	switch p.kind() {
	case packets.Publish:
		return c.publish(p)
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		return c.handshake(p.kind(), &in)
	case packets.Subscribe:
		return c.subscribe(&in)
	case packets.Unsubscribe:
		return c.unsubscribe(&in)
	case packets.Pingreq:
		if len(p.body) > 0 {
			return packets.ErrMalformedPacket
		}
		c.write([]byte{packets.Pingresp << 4, 0})
		return nil
	case packets.Disconnect:
		return c.disconnect(&in)
	}
	return packets.ErrProtocolViolation // a second CONNECT [MQTT-3.1.0-2], AUTH unasked, what only a server sends
}

// fixedFlags are the low four bits of the fixed header where they have one value (MQTT 5.0 table 2-2).
func fixedFlags(kind byte) (flags byte, ok bool) {
	switch kind {
	case packets.Publish:
		return 0, false
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		return 0x02, true
	}
	return 0, true
}

// disconnect takes the client's leave. A v5 client may ask for its will all the same, and may change how long its session is kept.
func (c *conn) disconnect(in *cursor) error {
	if c.version.Load() < 5 {
		if len(in.b) > 0 {
			return packets.ErrMalformedPacket
		}
		c.parted = true
		return c.part()
	}
	reason := packets.CodeDisconnect.Code
	if len(in.b) > 0 {
		reason = in.byte()
	}
	if len(in.b) > 0 {
		props, err := in.properties(disconnectProperties)
		if err != nil {
			return err
		}
		if props.has.has(packets.PropSessionExpiryInterval) && !c.session.setExpiry(props.sessionExpiry, c.broker.cfg.SessionExpiry) {
			return packets.ErrProtocolViolationZeroNonZeroExpiry // MQTT 5.0 §3.14.2.2.2
		}
	}
	c.parted = reason == packets.CodeDisconnect.Code // any other reason leaves the will in force (MQTT 5.0 §3.14.4)
	return c.part()
}

func (c *conn) part() error {
	c.ended = true
	c.Close()
	return errParted
}
