package broker

import (
	"bytes"

	"github.com/mochi-mqtt/server/v2/packets"

	state "sensorcast/session"
	"sensorcast/telemetry"
)

// appendPublish appends m as a PUBLISH for a client of the given version. Without a packet id, it is of QoS 0.
func appendPublish(b []byte, m *state.Message, version byte, packetID uint16, dup bool) []byte {
	head := byte(packets.Publish << 4)
	if packetID != 0 {
		head |= m.QoS << 1
	}
	if dup {
		head |= 1 << 3
	}
	if m.Retain {
		head |= 1
	}
	props, rest := publishSizes(m, version, packetID != 0)
	b = appendLength(append(b, head), rest)
	b = append(appendUint16(b, uint16(len(m.Topic))), m.Topic...)
	if packetID != 0 {
		b = appendUint16(b, packetID)
	}
	if version == 5 {
		b = appendLength(b, props)
		if m.ExpiresAt != 0 {
			left := max(1, uint32(m.ExpiresAt.Sub(telemetry.Now()).Seconds()))
			b = append(b, packets.PropMessageExpiryInterval, byte(left>>24), byte(left>>16), byte(left>>8), byte(left)) // [MQTT-3.3.2-6]
		}
		b = append(b, m.Properties...)
	}
	return append(b, m.Payload...)
}

// publishSizes returns the lengths that stand in a PUBLISH: of its properties and of all that follows the fixed header.
func publishSizes(m *state.Message, version byte, withID bool) (props, rest int) {
	rest = 2 + len(m.Topic) + len(m.Payload)
	if withID {
		rest += 2
	}
	if version == 5 {
		if props = len(m.Properties); m.ExpiresAt != 0 {
			props += 5
		}
		rest += lengthSize(props) + props
	}
	return props, rest
}

// tooLarge reports whether a client does not take m, as PUBLISH of QoS 0 or above [MQTT-3.1.2-24].
func (c *conn) tooLarge(m *state.Message, withID bool) bool {
	if c.maxPacket == 0 {
		return false
	}
	_, rest := publishSizes(m, byte(c.version.Load()), withID)
	return 1+lengthSize(rest)+rest > c.maxPacket
}

// brief encodes a packet with a reason string, or without where the client wants none, or takes no packet so large [MQTT-3.2.2-19],
// [MQTT-3.4.2-2], [MQTT-3.14.2-3].
func (c *conn) brief(encode func(why string) []byte, why string) []byte {
	if !c.noProblems {
		if b := encode(why); c.maxPacket == 0 || len(b) <= c.maxPacket {
			return b
		}
	}
	return encode("")
}

// withIdentifiers returns the properties of a delivery: the message's own behind the subscription identifiers [MQTT-3.3.4-3].
func withIdentifiers(ids []int, props []byte) []byte {
	if len(ids) == 0 {
		return props
	}
	b := make([]byte, 0, 5*len(ids)+len(props))
	for _, id := range ids {
		b = appendLength(append(b, packets.PropSubscriptionIdentifier), id)
	}
	return append(b, props...)
}

// encodeAck is PUBACK, PUBREC, PUBREL or PUBCOMP. v3.1.1 knows no reasons.
func encodeAck(kind byte, packetID uint16, version byte, reason packets.Code, why string) []byte {
	head := kind << 4
	if kind == packets.Pubrel {
		head |= 0x02
	}
	if version < 5 || reason.Code == packets.CodeSuccess.Code {
		return []byte{head, 2, byte(packetID >> 8), byte(packetID)}
	}
	if why == "" {
		return []byte{head, 3, byte(packetID >> 8), byte(packetID), reason.Code}
	}
	why = why[:min(len(why), maxReasonBytes)]
	props := 3 + len(why)
	b := appendLength([]byte{head}, 3+lengthSize(props)+props)
	b = append(appendUint16(b, packetID), reason.Code)
	b = append(appendLength(b, props), packets.PropReasonString)
	return append(appendUint16(b, uint16(len(why))), why...)
}

// maxReasonBytes bounds a reason string.
const maxReasonBytes = 400

// encodeConnack answers CONNECT; the code of a refusal is the version's own.
func encodeConnack(present bool, code packets.Code, props packets.Properties, version byte) []byte {
	var b bytes.Buffer
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Connack},
		ProtocolVersion: version,
		SessionPresent:  present,
		ReasonCode:      code.Code,
		Properties:      props,
	}
	_ = pk.ConnackEncode(&b) // writes to memory
	return b.Bytes()
}

// encodeSuback answers SUBSCRIBE, a code for each filter. encodeUnsuback does for UNSUBSCRIBE, where v3.1.1 has no codes.
func encodeSuback(packetID uint16, codes []byte, version byte) []byte {
	return encodeCodes(packets.Suback, packetID, codes, version)
}

func encodeUnsuback(packetID uint16, codes []byte, version byte) []byte {
	if version < 5 {
		codes = nil
	}
	return encodeCodes(packets.Unsuback, packetID, codes, version)
}

func encodeCodes(kind byte, packetID uint16, codes []byte, version byte) []byte {
	size := 2 + len(codes)
	if version == 5 {
		size++
	}
	b := appendUint16(appendLength([]byte{kind << 4}, size), packetID)
	if version == 5 {
		b = append(b, 0) // no properties
	}
	return append(b, codes...)
}

// encodeDisconnect is for v5 clients only.
func encodeDisconnect(code packets.Code, why string) []byte {
	var b bytes.Buffer
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ProtocolVersion: 5, ReasonCode: code.Code}
	pk.Properties.ReasonString = why
	_ = pk.DisconnectEncode(&b) // writes to memory
	return b.Bytes()
}
