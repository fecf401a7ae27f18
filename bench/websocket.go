package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcodes [RFC 6455 §5.2].
const (
	continuation = 0x0
	text         = 0x1
	binaryFrame  = 0x2
)

// upgraded is the kind of the answer to an upgrade, which is no frame.
const upgraded = 0xff

// dialWebSocket opens a WebSocket whose frames are cut by inner.
func dialWebSocket(addr, path, protocol string, inner cut) (*socket, error) {
	request := "GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if protocol != "" {
		request += "Sec-WebSocket-Protocol: " + protocol + "\r\n"
	}
	s, err := dial(addr, nil)
	if err != nil {
		return nil, err
	}
	s.in.cut = afterUpgrade(s, inner)
	answer, err := s.ask([]byte(request+"\r\n"), upgraded)
	if err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 101 ")) {
		line, _, _ := bytes.Cut(answer, []byte("\r\n"))
		err = fmt.Errorf("upgrade refused: %s", line)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// afterUpgrade cuts off the HTTP head and leaves the rest, which may have come with it, to inner.
func afterUpgrade(s *socket, inner cut) cut {
	return func(b []byte, each taker) (int, error) {
		head := bytes.Index(b, []byte("\r\n\r\n"))
		if head < 0 {
			return 0, nil
		}
		each(upgraded, b[:head])
		s.in.cut = inner
		used, err := inner(b[head+4:], each)
		return head + 4 + used, err
	}
}

// cutFrames cuts the frames of a server.
func cutFrames(b []byte, each taker) (used int, err error) {
	for len(b)-used >= 2 {
		f := b[used:]
		size, head := uint64(f[1]), 2
		switch {
		case size > 127:
			return used, fmt.Errorf("masked frame % x from a server", f[:2])
		case size == 126 && len(f) >= 4:
			size, head = uint64(binary.BigEndian.Uint16(f[2:])), 4
		case size == 127 && len(f) >= 10:
			size, head = binary.BigEndian.Uint64(f[2:]), 10
		case size >= 126:
			return used, nil
		}
		if size > maxMessageBytes {
			return used, fmt.Errorf("frame of %d bytes from the server", size)
		}
		if uint64(len(f)) < uint64(head)+size {
			return used, nil
		}
		each(f[0]&0x0f, f[head:head+int(size)])
		used += head + int(size)
	}
	return used, nil
}

// packetsInFrames cuts MQTT packets out of frames, whose borders mean nothing to MQTT [MQTT-6.0.0-3].
func packetsInFrames() cut {
	packets := stream{cut: cutPackets}
	return func(b []byte, each taker) (used int, err error) {
		var bad error
		used, err = cutFrames(b, func(opcode byte, body []byte) {
			if opcode == continuation || opcode == binaryFrame {
				bad = errors.Join(bad, packets.feed(body, each))
			}
		})
		return used, errors.Join(err, bad)
	}
}

// frame wraps a short message of a client. Its mask is zero, which is as valid as any (RFC 6455 §5.3 asks clients for unpredictability
// against intermediaries, of which loopback has none).
func frame(p []byte) []byte {
	if len(p) > 125 {
		panic("the generator sends short frames only")
	}
	return append([]byte{0x80 | binaryFrame, 0x80 | byte(len(p)), 0, 0, 0, 0}, p...)
}
