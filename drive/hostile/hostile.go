// Package hostile lists the bytes that no MQTT server may take: packets that are ill-formed, properties that are, and CONNECTs that are.
// Package broker's own tests put them to a broker in the same process; the tests in drive put them to the packaged binary, through every
// door. The bytes are written out, so that no encoder can mend them. Nothing outside of tests imports it, and it imports nothing of ours.
package hostile

// Packet is one that ends its connection after a login.
type Packet struct {
	Name   string
	V3, V5 []byte // the bytes in MQTT 3.1.1 and 5; nil: the version cannot say it
	Reason byte   // what a v5 client is told in DISCONNECT
}

// Bytes are those of a protocol version, 4 or 5.
func (p Packet) Bytes(version byte) []byte {
	if version < 5 {
		return p.V3
	}
	return p.V5
}

// Reasons of MQTT 5.0 §2.4.
const (
	malformed      = 0x81
	protocolError  = 0x82
	invalidTopic   = 0x90
	packetTooLarge = 0x95
)

// Packets are ill-formed control packets, in both versions.
func Packets() []Packet {
	return []Packet{
		same("length of five bytes", malformed, 0x30, 0x80, 0x80, 0x80, 0x80, 0x01),
		same("length longer than it needs to be", malformed, 0xc0, 0x80, 0x00),
		same("packet too large", packetTooLarge, 0x30, 0xff, 0xff, 0xff, 0x7f),
		publish("topic not UTF-8", malformed, 0, "sensors/\xff"),
		publish("topic with a surrogate", malformed, 0, "sensors/\xed\xa0\x80"),
		publish("topic with U+0000", malformed, 0, "sensors/\x00"),
		publish("topic with a wildcard", invalidTopic, 0, "sensors/+/telemetry"),
		publish("topic with all levels", invalidTopic, 0, "sensors/#"),
		publish("empty topic", protocolError, 0, ""),
		publish("publish of QoS 3", protocolError, 0x06, "sensors/A/telemetry"),
		publish("publish of QoS 0 sent again", protocolError, 0x08, "sensors/A/telemetry"),
		each("publish without packet id", protocolError, []byte{0x32, 5, 0, 1, 'a', 0, 0}, []byte{0x32, 6, 0, 1, 'a', 0, 0, 0}),
		same("publish cut off in its topic", malformed, 0x30, 3, 0, 9, 'a'),
		same("publish cut off in its packet id", malformed, 0x32, 4, 0, 1, 'a', 0),
		each("subscribe with wrong flags", malformed, []byte{0x80, 6, 0, 1, 0, 1, 'a', 0}, []byte{0x80, 7, 0, 1, 0, 0, 1, 'a', 0}),
		same("pubrel with wrong flags", malformed, 0x60, 2, 0, 1),
		same("pingreq with flags", malformed, 0xc1, 0),
		same("pingreq with a body", malformed, 0xc0, 1, 0),
		each("subscribe without filter", protocolError, []byte{0x82, 2, 0, 1}, []byte{0x82, 3, 0, 1, 0}),
		each("subscribe without packet id", protocolError, []byte{0x82, 6, 0, 0, 0, 1, 'a', 0}, []byte{0x82, 7, 0, 0, 0, 0, 1, 'a', 0}),
		each("subscribe without options", malformed, []byte{0x82, 5, 0, 1, 0, 1, 'a'}, []byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}),
		each("subscribe at QoS 3", protocolError, []byte{0x82, 6, 0, 1, 0, 1, 'a', 3}, []byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 3}),
		each("subscribe with reserved bits", malformed, []byte{0x82, 6, 0, 1, 0, 1, 'a', 4}, []byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 0x40}),
		each("filter not UTF-8", malformed, []byte{0x82, 6, 0, 1, 0, 1, 0xff, 0}, []byte{0x82, 7, 0, 1, 0, 0, 1, 0xff, 0}),
		each("unsubscribe without filter", protocolError, []byte{0xa2, 2, 0, 1}, []byte{0xa2, 3, 0, 1, 0}),
		each("unsubscribe cut off", malformed, []byte{0xa2, 5, 0, 1, 0, 9, 'a'}, []byte{0xa2, 6, 0, 1, 0, 0, 9, 'a'}),
		same("puback without packet id", malformed, 0x40, 2, 0, 0),
		same("puback cut off", malformed, 0x40, 1, 0),
		same("packet of type 0", protocolError, 0x00, 0),
		same("CONNACK from a client", protocolError, 0x20, 2, 0, 0),
		same("SUBACK from a client", protocolError, 0x90, 3, 0, 1, 0),
		same("UNSUBACK from a client", protocolError, 0xb0, 2, 0, 1),
		same("PINGRESP from a client", protocolError, 0xd0, 0),
		same("AUTH unasked", protocolError, 0xf0, 0),
		each("second CONNECT", protocolError, connect(4, 0x02, 0, 1, 'x'), connect(5, 0x02, 0, 0, 1, 'x')),
	}
}

// Properties are PUBLISH packets of MQTT 5 whose properties are not allowed there, repeated, cut off, or of an impossible value.
func Properties() []Packet {
	return []Packet{
		property("unknown", malformed, 0x7f, 1),
		property("of another packet", malformed, 0x11, 0, 0, 0, 1),            // session expiry interval
		property("subscription identifier from a client", malformed, 0x0b, 1), // [MQTT-3.3.4-6]
		property("repeated", protocolError, 0x01, 0, 0x01, 0),                 // payload format indicator
		property("cut off", malformed, 0x02, 0, 0),                            // message expiry interval
		property("string not UTF-8", malformed, 0x03, 0, 1, 0xff),             // content type
		property("payload format 2", protocolError, 0x01, 2),
		property("response topic with a wildcard", protocolError, 0x08, 0, 1, '#'),
		{Name: "longer than the packet", V5: []byte{0x30, 4, 0, 1, 'a', 9}, Reason: malformed},
	}
}

// Connect is a CONNECT that ends its connection.
type Connect struct {
	Name   string
	Bytes  []byte
	Answer byte // in CONNACK; 0: none, the connection is closed without one
}

// Version is the protocol level it claims.
func (c Connect) Version() byte { return c.Bytes[8] }

// Connects are CONNECT packets that are ill-formed or of no use, said where the version has a word for it.
func Connects() []Connect {
	return []Connect{
		{"another protocol", []byte{0x10, 12, 0, 4, 'H', 'T', 'T', 'P', 4, 2, 0, 60, 0, 0}, 0},
		{"level 6", connect(6, 2, 0, 0), 1},
		{"level 3 under the new name", connect(3, 2, 0, 0), 1},
		{"flags of the fixed header", append([]byte{0x12}, connect(4, 2, 0, 0)[1:]...), 0},
		{"reserved bit, v4", connect(4, 3, 0, 0), 0},
		{"reserved bit, v5", connect(5, 3, 0, 0, 0), protocolError},
		{"will QoS without a will, v5", connect(5, 0x0a, 0, 0, 0), protocolError},
		{"will retain without a will, v5", connect(5, 0x22, 0, 0, 0), protocolError},
		{"will of QoS 3, v5", connect(5, 0x1e, 0, 0, 0, 0, 0, 1, 'a', 0, 0), protocolError},
		{"will cut off, v5", connect(5, 0x06, 0, 0, 0, 0, 0, 9, 'a'), malformed},
		{"password without user name, v4", connect(4, 0x42, 0, 0, 0, 1, 'p'), 0},
		{"user name not UTF-8, v5", connect(5, 0x82, 0, 0, 0, 0, 1, 0xff), malformed},
		{"user name not UTF-8, v4", connect(4, 0x82, 0, 0, 0, 1, 0xff), 0},
		{"bytes left over, v5", connect(5, 0x02, 0, 0, 0, 9), malformed},
		{"receive maximum 0", connect(5, 0x02, 3, 0x21, 0, 0, 0, 0), protocolError},
		{"maximum packet size 0", connect(5, 0x02, 5, 0x27, 0, 0, 0, 0, 0, 0), protocolError},
		{"authentication method", connect(5, 0x02, 4, 0x15, 0, 1, 'x', 0, 0), 0x8c},
		{"authentication data alone", connect(5, 0x02, 4, 0x16, 0, 1, 'x', 0, 0), protocolError},
	}
}

// Filters are topic filters to be refused one by one, each in its place in SUBACK.
func Filters() []string {
	return []string{"sport#", "sport/#/x", "a+/b", "$share//x", "$share/g/", "$share/g", "$share/+/x", ""}
}

// same is a packet of the same bytes in both versions.
func same(name string, reason byte, b ...byte) Packet { return Packet{name, b, b, reason} }

func each(name string, reason byte, v3, v5 []byte) Packet { return Packet{name, v3, v5, reason} }

// publish is a PUBLISH of the payload 1, with flags for its fixed header.
func publish(name string, reason, flags byte, topic string) Packet {
	head := append([]byte{0, byte(len(topic))}, topic...)
	if flags&0x06 != 0 {
		head = append(head, 0, 1)
	}
	packet := func(rest ...byte) []byte {
		return append(append([]byte{0x30 | flags, byte(len(head) + len(rest))}, head...), rest...)
	}
	return each(name, reason, packet('1'), packet(0, '1'))
}

func property(name string, reason byte, b ...byte) Packet {
	head := []byte{0x30, byte(4 + len(b)), 0, 1, 'a', byte(len(b))}
	return Packet{Name: name, V5: append(head, b...), Reason: reason}
}

// connect is a CONNECT with a keep alive of a minute, up to it; the rest is what follows.
func connect(version, flags byte, rest ...byte) []byte {
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', version, flags, 0, 60}, rest...)
	return append([]byte{0x10, byte(len(body))}, body...)
}
