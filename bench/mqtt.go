package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The generator writes MQTT 3.1.1 by hand: a client library's goroutines and allocations would be most of what is measured.

func dialMQTT(addr, id, user, password string) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(connectPacket(id, user, password)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	var ack [4]byte
	if _, err := io.ReadFull(c, ack[:]); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if ack[0] != 0x20 || ack[3] != 0 {
		return nil, errors.Join(fmt.Errorf("CONNACK % x", ack), c.Close())
	}
	return c, nil
}

func connectPacket(id, user, password string) []byte {
	flags := byte(0x02) // clean session
	body := appendString(nil, "MQTT")
	if user != "" {
		flags |= 0xc0
	}
	body = append(body, 4, flags, 0, 0) // no keep-alive: an idle socket is idle
	body = appendString(body, id)
	if user != "" {
		body = appendString(appendString(body, user), password)
	}
	return packet(0x10, body)
}

func subscribePacket(filter string) []byte {
	return packet(0x82, append(appendString([]byte{0, 1}, filter), 0))
}

// publishPacket makes a PUBLISH with room for a packet identifier at idAt (0 for QoS 0) and the payload's place.
func publishPacket(topic string, qos byte, payload []byte) (p []byte, idAt int) {
	body := appendString(nil, topic)
	if qos > 0 {
		idAt = len(body)
		body = append(body, 0, 0)
	}
	head := packet(0x30|qos<<1, append(body, payload...))
	if qos > 0 {
		idAt += len(head) - len(body) - len(payload)
	}
	return head, idAt
}

func packet(first byte, body []byte) []byte {
	p := []byte{first}
	for n := len(body); ; {
		b := byte(n % 128)
		if n /= 128; n > 0 {
			p = append(p, b|0x80)
			continue
		}
		p = append(p, b)
		return append(p, body...)
	}
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// countPublishes counts the PUBLISH packets in a WebSocket message, which the broker fills with whole packets.
func countPublishes(b []byte) int {
	n := 0
	for len(b) >= 2 {
		size, shift, i := 0, 0, 1
		for ; i < len(b); i++ {
			size |= int(b[i]&0x7f) << shift
			shift += 7
			if b[i]&0x80 == 0 {
				break
			}
		}
		if b[0]>>4 == 3 {
			n++
		}
		b = b[min(i+1+size, len(b)):]
	}
	return n
}
