package broker

import (
	"bytes"

	"github.com/mochi-mqtt/server/v2/packets"
)

// properties are those of an inbound MQTT 5.0 packet that mean something to this server.
type properties struct {
	has            propertySet
	sessionExpiry  uint32 // s
	receiveMaximum uint16
	maximumPacket  uint32
	noProblems     bool // Request Problem Information is 0
	willDelay      uint32
	messageExpiry  uint32 // s
	alias          uint16
	identifier     uint32
	forward        []byte // what a PUBLISH or will hands on to subscribers as it is, encoded
}

// propertySet has a bit for each property identifier, the largest of which is 42.
type propertySet uint64

func setOf(ids ...byte) (s propertySet) {
	for _, id := range ids {
		s |= 1 << id
	}
	return s
}

func (s propertySet) has(id byte) bool { return id < 64 && s>>id&1 == 1 }

// What a client's packets may carry (MQTT 5.0 table 2-4).
var (
	forwarded = setOf(packets.PropPayloadFormat, packets.PropContentType, packets.PropResponseTopic, packets.PropCorrelationData, packets.PropUser)

	connectProperties = setOf(packets.PropSessionExpiryInterval, packets.PropAuthenticationMethod, packets.PropAuthenticationData,
		packets.PropRequestProblemInfo, packets.PropRequestResponseInfo, packets.PropReceiveMaximum, packets.PropTopicAliasMaximum,
		packets.PropMaximumPacketSize, packets.PropUser)
	willProperties        = forwarded | setOf(packets.PropWillDelayInterval, packets.PropMessageExpiryInterval)
	publishProperties     = forwarded | setOf(packets.PropMessageExpiryInterval, packets.PropTopicAlias)
	ackProperties         = setOf(packets.PropReasonString, packets.PropUser)
	subscribeProperties   = setOf(packets.PropSubscriptionIdentifier, packets.PropUser)
	unsubscribeProperties = setOf(packets.PropUser)
	disconnectProperties  = ackProperties | setOf(packets.PropSessionExpiryInterval, packets.PropServerReference)
)

// properties reads the properties of a packet. One that is not allowed there, or is cut off, makes the packet malformed; one that is
// repeated or has an impossible value is a protocol error (MQTT 5.0 §2.2.2.2).
func (c *cursor) properties(allowed propertySet) (p properties, err error) {
	in := cursor{b: c.take(c.length())}
	if c.bad {
		return p, packets.ErrMalformedProperties
	}
	all, mixed := in.b, false
	for len(in.b) > 0 {
		id := in.byte()
		if !allowed.has(id) {
			return p, packets.ErrMalformedProperties
		}
		if p.has.has(id) && id != packets.PropUser {
			return p, packets.ErrProtocolViolation
		}
		p.has |= 1 << id
		mixed = mixed || !forwarded.has(id)
		sound := p.read(id, &in)
		if in.bad {
			return p, packets.ErrMalformedProperties
		}
		if !sound {
			return p, packets.ErrProtocolViolation
		}
	}
	p.forward = all
	if mixed {
		p.forward = onlyForwarded(all)
	}
	return p, nil
}

// read reads the value of one property and reports whether it is a possible one.
func (p *properties) read(id byte, in *cursor) bool {
	switch id {
	case packets.PropPayloadFormat, packets.PropRequestResponseInfo:
		return in.byte() <= 1
	case packets.PropRequestProblemInfo:
		v := in.byte()
		p.noProblems = v == 0
		return v <= 1
	case packets.PropMessageExpiryInterval:
		p.messageExpiry = in.uint32()
	case packets.PropSessionExpiryInterval:
		p.sessionExpiry = in.uint32()
	case packets.PropWillDelayInterval:
		p.willDelay = in.uint32()
	case packets.PropMaximumPacketSize:
		p.maximumPacket = in.uint32()
		return p.maximumPacket > 0
	case packets.PropReceiveMaximum:
		p.receiveMaximum = in.uint16()
		return p.receiveMaximum > 0
	case packets.PropTopicAliasMaximum:
		in.uint16()
	case packets.PropTopicAlias:
		p.alias = in.uint16() // judged by its user: 0 has a reason code of its own
	case packets.PropSubscriptionIdentifier:
		p.identifier = uint32(in.length())
		return p.identifier > 0
	case packets.PropResponseTopic:
		t := in.text()
		return len(t) > 0 && !bytes.ContainsAny(t, "+#") // [MQTT-3.3.2-14]
	case packets.PropCorrelationData, packets.PropAuthenticationData:
		in.binary()
	case packets.PropUser:
		in.text()
		in.text()
	default: // content type, reason string, authentication method, server reference
		in.text()
	}
	return true
}

// onlyForwarded copies what subscribers get of well-formed properties.
func onlyForwarded(all []byte) (out []byte) {
	var p properties
	in := cursor{b: all}
	for len(in.b) > 0 {
		from := in.b
		id := in.byte()
		p.read(id, &in)
		if forwarded.has(id) {
			out = append(out, from[:len(from)-len(in.b)]...)
		}
	}
	return out
}
