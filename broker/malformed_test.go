package broker

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// rawPublish is a PUBLISH to topic with the flags given, for either version.
func rawPublish(version, flags byte, topic string, rest ...byte) []byte {
	body := append([]byte{byte(len(topic) >> 8), byte(len(topic))}, topic...)
	if flags&0x06 != 0 {
		body = append(body, 0, 1)
	}
	if version == 5 {
		body = append(body, 0)
	}
	body = append(body, rest...)
	return append([]byte{0x30 | flags, byte(len(body))}, body...)
}

// Every malformed packet closes its connection, a v5 client is told why, and nobody else notices.
func TestMalformed_ClosesOnlyItsConnection(t *testing.T) {
	h := start(t, autoIntake())
	other := h.login(t, "B")
	type c struct {
		name string
		in   func(version byte) []byte
		code byte // of DISCONNECT
	}
	always := func(b ...byte) func(byte) []byte { return func(byte) []byte { return b } }
	byVersion := func(v4, v5 []byte) func(byte) []byte {
		return func(v byte) []byte {
			if v == 5 {
				return v5
			}
			return v4
		}
	}
	topic := func(s string) func(byte) []byte { return func(v byte) []byte { return rawPublish(v, 0, s, '1') } }
	for _, tt := range []c{
		{"length of five bytes", always(0x30, 0x80, 0x80, 0x80, 0x80, 0x01), 0x81},
		{"length longer than it needs to be", always(0xc0, 0x80, 0x00), 0x81},
		{"packet too large", always(0x30, 0xff, 0xff, 0xff, 0x7f), 0x95},
		{"topic not UTF-8", topic("sensors/\xff"), 0x81},
		{"topic with a surrogate", topic("sensors/\xed\xa0\x80"), 0x81},
		{"topic with U+0000", topic("sensors/\x00"), 0x81},
		{"topic with a wildcard", topic("sensors/+/telemetry"), 0x90},
		{"topic with all levels", topic("sensors/#"), 0x90},
		{"empty topic", topic(""), 0x82},
		{"publish of QoS 3", func(v byte) []byte { return rawPublish(v, 0x06, "sensors/A/telemetry", '1') }, 0x82},
		{"publish of QoS 0 sent again", func(v byte) []byte { return rawPublish(v, 0x08, "sensors/A/telemetry", '1') }, 0x82},
		{"publish without packet id", byVersion([]byte{0x32, 5, 0, 1, 'a', 0, 0}, []byte{0x32, 6, 0, 1, 'a', 0, 0, 0}), 0x82},
		{"publish cut off in its topic", always(0x30, 3, 0, 9, 'a'), 0x81},
		{"publish cut off in its packet id", always(0x32, 4, 0, 1, 'a', 0), 0x81},
		{"subscribe with wrong flags", byVersion([]byte{0x80, 6, 0, 1, 0, 1, 'a', 0}, []byte{0x80, 7, 0, 1, 0, 0, 1, 'a', 0}), 0x81},
		{"pubrel with wrong flags", always(0x60, 2, 0, 1), 0x81},
		{"pingreq with flags", always(0xc1, 0), 0x81},
		{"pingreq with a body", always(0xc0, 1, 0), 0x81},
		{"subscribe without filter", byVersion([]byte{0x82, 2, 0, 1}, []byte{0x82, 3, 0, 1, 0}), 0x82},
		{"subscribe without packet id", byVersion([]byte{0x82, 6, 0, 0, 0, 1, 'a', 0}, []byte{0x82, 7, 0, 0, 0, 0, 1, 'a', 0}), 0x82},
		{"subscribe without options", byVersion([]byte{0x82, 5, 0, 1, 0, 1, 'a'}, []byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}), 0x81},
		{"subscribe at QoS 3", byVersion([]byte{0x82, 6, 0, 1, 0, 1, 'a', 3}, []byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 3}), 0x82},
		{"subscribe with reserved bits", byVersion([]byte{0x82, 6, 0, 1, 0, 1, 'a', 4}, []byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 0x40}), 0x81},
		{"filter not UTF-8", byVersion([]byte{0x82, 6, 0, 1, 0, 1, 0xff, 0}, []byte{0x82, 7, 0, 1, 0, 0, 1, 0xff, 0}), 0x81},
		{"unsubscribe without filter", byVersion([]byte{0xa2, 2, 0, 1}, []byte{0xa2, 3, 0, 1, 0}), 0x82},
		{"unsubscribe cut off", byVersion([]byte{0xa2, 5, 0, 1, 0, 9, 'a'}, []byte{0xa2, 6, 0, 1, 0, 0, 9, 'a'}), 0x81},
		{"puback without packet id", always(0x40, 2, 0, 0), 0x81},
		{"puback cut off", always(0x40, 1, 0), 0x81},
		{"packet of type 0", always(0x00, 0), 0x82},
		{"CONNACK from a client", always(0x20, 2, 0, 0), 0x82},
		{"SUBACK from a client", always(0x90, 3, 0, 1, 0), 0x82},
		{"UNSUBACK from a client", always(0xb0, 2, 0, 1), 0x82},
		{"PINGRESP from a client", always(0xd0, 0), 0x82},
		{"AUTH unasked", always(0xf0, 0), 0x82},
		{"second CONNECT", func(v byte) []byte {
			return encode(connectPacket("A", secretOf("A"), func(pk *packets.Packet) { pk.ProtocolVersion = v }))
		}, 0x82},
	} {
		for _, version := range []byte{4, 5} {
			p := h.login(t, "A", func(pk *packets.Packet) { pk.ProtocolVersion = version })
			p.raw(tt.in(version))
			if version == 5 {
				if got := p.want(packets.Disconnect).ReasonCode; got != tt.code {
					t.Errorf("%s: got DISCONNECT %#x, want %#x", tt.name, got, tt.code)
				}
			}
			t.Run(fmt.Sprintf("%s, v%d", tt.name, version), func(t *testing.T) { p.t = t; p.wantEnd() })
		}
	}
	other.wantAlive()
	if s := h.Stats(); s.Panics != 0 {
		t.Errorf("got %d panics, want none", s.Panics)
	}
}

// Properties of v5 packets: not allowed there, repeated, cut off, or of an impossible value.
func TestMalformed_PropertiesOfV5(t *testing.T) {
	h := start(t, autoIntake())
	for _, tt := range []struct {
		name  string
		props []byte
		code  byte
	}{
		{"unknown", []byte{0x7f, 1}, 0x81},
		{"of another packet", []byte{packets.PropSessionExpiryInterval, 0, 0, 0, 1}, 0x81},
		{"subscription identifier from a client", []byte{packets.PropSubscriptionIdentifier, 1}, 0x81},
		{"repeated", []byte{packets.PropPayloadFormat, 0, packets.PropPayloadFormat, 0}, 0x82},
		{"cut off", []byte{packets.PropMessageExpiryInterval, 0, 0}, 0x81},
		{"string not UTF-8", []byte{packets.PropContentType, 0, 1, 0xff}, 0x81},
		{"payload format 2", []byte{packets.PropPayloadFormat, 2}, 0x82},
		{"response topic with a wildcard", []byte{packets.PropResponseTopic, 0, 1, '#'}, 0x82},
		{"longer than the packet", nil, 0x81},
	} {
		p := h.login(t, "A", v5)
		body := append([]byte{0, 1, 'a', byte(len(tt.props))}, tt.props...)
		if tt.props == nil {
			body[3] = 9
		}
		p.raw(append([]byte{0x30, byte(len(body))}, body...))
		if got := p.want(packets.Disconnect).ReasonCode; got != tt.code {
			t.Errorf("%s: got DISCONNECT %#x, want %#x", tt.name, got, tt.code)
		}
		p.wantEnd()
	}
}

// What is wrong with a CONNECT is said where the version has a word for it, and closes.
func TestMalformed_Connect(t *testing.T) {
	h := start(t, autoIntake())
	head := func(version byte, flags byte, rest ...byte) []byte {
		body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', version, flags, 0, 60}, rest...)
		return append([]byte{0x10, byte(len(body))}, body...)
	}
	for _, tt := range []struct {
		name string
		in   []byte
		code byte // of CONNACK; 0: none
	}{
		{"another protocol", []byte{0x10, 12, 0, 4, 'H', 'T', 'T', 'P', 4, 2, 0, 60, 0, 0}, 0},
		{"level 6", head(6, 2, 0, 0), 1},
		{"level 3 under the new name", head(3, 2, 0, 0), 1},
		{"flags of the fixed header", append([]byte{0x12}, head(4, 2, 0, 0)[1:]...), 0},
		{"reserved bit, v4", head(4, 3, 0, 0), 0},
		{"reserved bit, v5", head(5, 3, 0, 0, 0), 0x82},
		{"will QoS without a will, v5", head(5, 0x0a, 0, 0, 0), 0x82},
		{"will retain without a will, v5", head(5, 0x22, 0, 0, 0), 0x82},
		{"will of QoS 3, v5", head(5, 0x1e, 0, 0, 0, 0, 0, 1, 'a', 0, 0), 0x82},
		{"will cut off, v5", head(5, 0x06, 0, 0, 0, 0, 0, 9, 'a'), 0x81},
		{"password without user name, v4", head(4, 0x42, 0, 0, 0, 1, 'p'), 0},
		{"user name not UTF-8, v5", head(5, 0x82, 0, 0, 0, 0, 1, 0xff), 0x81},
		{"user name not UTF-8, v4", head(4, 0x82, 0, 0, 0, 1, 0xff), 0},
		{"bytes left over, v5", head(5, 0x02, 0, 0, 0, 9), 0x81},
		{"receive maximum 0", head(5, 0x02, 3, packets.PropReceiveMaximum, 0, 0, 0, 0), 0x82},
		{"maximum packet size 0", head(5, 0x02, 5, packets.PropMaximumPacketSize, 0, 0, 0, 0, 0, 0), 0x82},
		{"authentication method", head(5, 0x02, 4, packets.PropAuthenticationMethod, 0, 1, 'x', 0, 0), 0x8c},
		{"authentication data alone", head(5, 0x02, 4, packets.PropAuthenticationData, 0, 1, 'x', 0, 0), 0x82},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := h.dial(t)
			p.version = tt.in[8]
			p.raw(tt.in)
			if tt.code != 0 {
				if got := p.want(packets.Connack).ReasonCode; got != tt.code {
					t.Errorf("got CONNACK %#x, want %#x", got, tt.code)
				}
			}
			p.wantEnd()
		})
	}
}

func TestMalformed_FiltersAreRefusedOneByOne(t *testing.T) {
	h := start(t, autoIntake())
	for version, no := range map[byte]byte{4: 0x80, 5: packets.ErrTopicFilterInvalid.Code} {
		p := h.login(t, "ann", func(pk *packets.Packet) { pk.ProtocolVersion = version })
		got := p.subscribe(0, "sport#", "sport/#/x", "a+/b", "$share//x", "$share/g/", "$share/g", "$share/+/x", "", "sensors/A/#")
		for i, code := range got {
			want := no
			if i == len(got)-1 {
				want = 0
			}
			if code != want {
				t.Errorf("v%d, filter %d: got %#x, want %#x", version, i, code, want)
			}
		}
	}
}
