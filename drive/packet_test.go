package drive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The bytes of MQTT, written down once more and apart from the broker's own: a mistake there cannot hide in here.

const (
	pConnect = iota + 1
	pConnack
	pPublish
	pPuback
	pPubrec
	pPubrel
	pPubcomp
	pSubscribe
	pSuback
	pUnsubscribe
	pUnsuback
	pPingreq
	pPingresp
	pDisconnect
)

const (
	propPayloadFormat  = 0x01
	propMessageExpiry  = 0x02
	propContentType    = 0x03
	propResponseTopic  = 0x08
	propCorrelation    = 0x09
	propIdentifier     = 0x0b
	propSessionExpiry  = 0x11
	propAssignedID     = 0x12
	propKeepAlive      = 0x13
	propRequestProblem = 0x17
	propWillDelay      = 0x18
	propReason         = 0x1f
	propReceiveMaximum = 0x21
	propAliasMaximum   = 0x22
	propAlias          = 0x23
	propMaximumQoS     = 0x24
	propRetain         = 0x25
	propUser           = 0x26
	propMaximumPacket  = 0x27
	propWildcard       = 0x28
	propIdentifiers    = 0x29
	propShared         = 0x2a
)

func u16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

func u32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func text(s string) []byte { return append(u16(len(s)), s...) }

func varint(n int) (b []byte) {
	for ; n > 0x7f; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// prop is one property, encoded.
func prop(id byte, value []byte) []byte { return append([]byte{id}, value...) }

// frame is a control packet.
func frame(head byte, parts ...[]byte) []byte {
	body := join(parts...)
	return join([]byte{head}, varint(len(body)), body)
}

// properties is the field of that name: 3.1.1 has none.
func properties(version byte, all ...[]byte) []byte {
	if version < 5 {
		return nil
	}
	b := join(all...)
	return join(varint(len(b)), b)
}

// acknowledgement is PUBACK, PUBREC, PUBREL or PUBCOMP: success is the same in both versions.
func acknowledgement(kind, id int) []byte {
	head := byte(kind << 4)
	if kind == pPubrel {
		head |= 2
	}
	return frame(head, u16(id))
}

// publication is a PUBLISH.
type publication struct {
	topic, payload string
	qos            byte
	id             int // QoS 0 has none
	retain, dup    bool
	props          []byte
}

func (m publication) packet(version byte) []byte {
	head := byte(pPublish<<4) | m.qos<<1
	if m.retain {
		head |= retained
	}
	if m.dup {
		head |= again
	}
	var number []byte
	if m.qos > 0 {
		number = u16(m.id)
	}
	return frame(head, text(m.topic), number, properties(version, m.props), []byte(m.payload))
}

// flags of PUBLISH
const (
	retained = 1
	again    = 8
)

func subscribePacket(version byte, id int, qos byte, filters ...string) []byte {
	b := join(u16(id), properties(version))
	for _, f := range filters {
		b = join(b, text(f), []byte{qos})
	}
	return frame(pSubscribe<<4|2, b)
}

func unsubscribePacket(version byte, id int, filters ...string) []byte {
	b := join(u16(id), properties(version))
	for _, f := range filters {
		b = join(b, text(f))
	}
	return frame(pUnsubscribe<<4|2, b)
}

// packet is one that was received.
type packet struct {
	head    byte
	body    []byte
	size    int // with its header
	code    byte
	present bool // of CONNACK
	id      int
	codes   []byte // of SUBACK and UNSUBACK
	topic   string
	payload string
	props   []property
}

type property struct {
	id    byte
	value []byte // of strings without their length, of pairs with it
}

func (p packet) kind() int    { return int(p.head >> 4) }
func (p packet) qos() int     { return int(p.head >> 1 & 3) }
func (p packet) dup() bool    { return p.head&8 != 0 }
func (p packet) retain() bool { return p.head&1 != 0 }

func (p packet) String() string {
	return fmt.Sprintf("packet %d of flags %#x, code %#x, id %d, topic %q, payload %.40q", p.kind(), p.head&15, p.code, p.id, p.topic, p.payload)
}

// all returns the values of a property.
func (p packet) all(id byte) (values [][]byte) {
	for _, q := range p.props {
		if q.id == id {
			values = append(values, q.value)
		}
	}
	return values
}

// value is the first of them, nil if there is none.
func (p packet) value(id byte) []byte {
	if all := p.all(id); len(all) > 0 {
		return all[0]
	}
	return nil
}

// number is the value of a property that is one.
func (p packet) number(id byte) (n int, ok bool) {
	v := p.value(id)
	if id == propIdentifier {
		n, _ = readVarint(v)
		return n, v != nil
	}
	for _, b := range v {
		n = n<<8 | int(b)
	}
	return n, v != nil
}

func readVarint(b []byte) (n, size int) {
	for i, d := range b[:min(4, len(b))] {
		n |= int(d&0x7f) << (7 * i)
		if d < 0x80 {
			return n, i + 1
		}
	}
	return 0, 0
}

var errWire = errors.New("the server sent an ill-formed packet")

// parse fills in the fields of what a server sends.
func (p *packet) parse(version byte) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%w: %#x %x", errWire, p.head, p.body)
		}
	}()
	b := p.body
	take := func(n int) []byte { f := b[:n]; b = b[n:]; return f }
	properties := func() {
		if version < 5 || len(b) == 0 {
			return
		}
		n, size := readVarint(b)
		take(size)
		p.props = parseProperties(take(n))
	}
	switch p.kind() {
	case pConnack:
		p.present, p.code = take(1)[0] == 1, take(1)[0]
		properties()
	case pPublish:
		p.topic = string(take(int(binary.BigEndian.Uint16(take(2)))))
		if p.qos() > 0 {
			p.id = int(binary.BigEndian.Uint16(take(2)))
		}
		properties()
		p.payload, b = string(b), nil
	case pPuback, pPubrec, pPubrel, pPubcomp:
		p.id = int(binary.BigEndian.Uint16(take(2)))
		if len(b) > 0 && version == 5 {
			p.code = take(1)[0]
			properties()
		}
	case pSuback, pUnsuback:
		p.id = int(binary.BigEndian.Uint16(take(2)))
		properties()
		p.codes, b = b, nil
	case pDisconnect:
		if len(b) > 0 {
			p.code = take(1)[0]
			properties()
		}
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %x left over", errWire, b)
	}
	return nil
}

func parseProperties(b []byte) (all []property) {
	for len(b) > 0 {
		id, n, skip := b[0], 0, 0
		b = b[1:]
		switch id {
		case propPayloadFormat, propRequestProblem, propMaximumQoS, propRetain, propWildcard, propIdentifiers, propShared, 0x19:
			n = 1
		case propKeepAlive, propReceiveMaximum, propAliasMaximum, propAlias:
			n = 2
		case propMessageExpiry, propSessionExpiry, propWillDelay, propMaximumPacket:
			n = 4
		case propIdentifier:
			_, n = readVarint(b)
		case propUser:
			n = 2 + int(binary.BigEndian.Uint16(b))
			n += 2 + int(binary.BigEndian.Uint16(b[n:]))
		default:
			skip, n = 2, int(binary.BigEndian.Uint16(b))
		}
		all = append(all, property{id, b[skip : skip+n]})
		b = b[skip+n:]
	}
	return all
}
