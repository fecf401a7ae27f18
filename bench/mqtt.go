package main

import (
	"encoding/binary"
	"fmt"
)

// The generator writes MQTT 3.1.1 by hand: a client library's goroutines and allocations would be most of what is measured.

// First bytes of the packets it knows.
const (
	connect   = 0x10
	connack   = 0x20
	puback    = 0x40
	subscribe = 0x82
	suback    = 0x90
)

// maxMessageBytes is far above what any row sends: a longer message means the stream was misread.
const maxMessageBytes = 1 << 20

// cutPackets cuts MQTT packets [MQTT 3.1.1 §2.2.3].
func cutPackets(b []byte, each taker) (used int, err error) {
	for {
		size, head := 0, 1
		for shift := 0; ; shift += 7 {
			if head >= len(b)-used {
				return used, nil
			}
			digit := b[used+head]
			head++
			size |= int(digit&0x7f) << shift
			if digit&0x80 == 0 {
				break
			}
			if shift == 21 {
				return used, fmt.Errorf("malformed length in a packet from the server: % x", b[used:used+head])
			}
		}
		if size > maxMessageBytes {
			return used, fmt.Errorf("packet of %d bytes from the server", size)
		}
		if len(b)-used < head+size {
			return used, nil
		}
		each(b[used], b[used+head:used+head+size])
		used += head + size
	}
}

func isPublish(kind byte, _ []byte) bool { return kind>>4 == 3 }

func connectPacket(id, user, password string) []byte {
	flags := byte(0x02) // clean session
	if user != "" {
		flags |= 0xc0
	}
	body := appendString(nil, "MQTT")
	body = append(body, 4, flags, 0, 0) // no keep-alive: an idle socket is idle
	body = appendString(body, id)
	if user != "" {
		body = appendString(appendString(body, user), password)
	}
	return packet(connect, body)
}

func subscribePacket(filter string) []byte {
	return packet(subscribe, append(appendString([]byte{0, 1}, filter), 0))
}

// publication is a PUBLISH to be written again and again with another time and identifier.
type publication struct {
	bytes   []byte
	payload []byte // the part of bytes
	id      []byte // the part of bytes; empty at QoS 0
}

func newPublication(topic string, qos byte) publication {
	body := appendString(nil, topic)
	idBytes := 0
	if qos > 0 {
		idBytes = 2
		body = append(body, 0, 0)
	}
	b := packet(0x30|qos<<1, append(body, payload()...))
	at := len(b) - payloadBytes
	return publication{bytes: b, payload: b[at:], id: b[at-idBytes : at]}
}

// at sets time and, at QoS 1, identifier. The bytes are good until the next call.
func (p publication) at(sent int64, id int) []byte {
	stamp(p.payload, sent)
	if len(p.id) > 0 {
		binary.BigEndian.PutUint16(p.id, uint16(id))
	}
	return p.bytes
}

func packet(first byte, body []byte) []byte {
	p := []byte{first}
	n := len(body)
	for ; n > 127; n /= 128 {
		p = append(p, byte(n%128)|0x80)
	}
	return append(append(p, byte(n)), body...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
