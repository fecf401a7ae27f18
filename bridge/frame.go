package bridge

import (
	"encoding/binary"
	"encoding/json"
	"strconv"

	"sensorcast/telemetry"
)

// Opcodes and the FIN bit of a frame's first byte (RFC 6455 §5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
	final          = 0x80

	headroom        = 10  // the longest header of an unmasked frame
	maxControlBytes = 125 // payload of a control frame (RFC 6455 §5.5)
)

// Close codes: those of RFC 6455 §7.4.1 and its registry, and ours from 4400 on, which name the HTTP status they resemble.
const (
	CloseNormal         = 1000 // in the counters also every close the peer began
	CloseGoingAway      = 1001 // the session's lifetime is over: connect again
	CloseProtocolError  = 1002
	CloseUnsupported    = 1003 // a binary message
	CloseNoStatus       = 1005 // never sent: the peer gave no code, and gets none
	CloseLost           = 1006 // never sent: the connection ended without a closing handshake
	CloseInvalidText    = 1007 // a text message that is not UTF-8
	ClosePolicy         = 1008 // too many messages, or sending what may not be sent
	CloseTooBig         = 1009
	CloseRestart        = 1012 // the server stops: connect again
	CloseOverloaded     = 1013 // try again later
	CloseAuthorityEnded = 4401 // logged out, password changed, account disabled, secret rotated
	CloseAccessLost     = 4403
	CloseSensorDeleted  = 4404
	CloseNotReading     = 4408 // never seen by the peer, which takes no data: for the counters
)

// frame is an encoded text frame of the stream, shared by all sessions it goes to.
type frame struct {
	wire  []byte // header and payload; never written to
	room  *room
	seq   int64 // of a reading; zero for a state or an alert
	late  bool  // a reading older, by its time, than the newest of its sensor
	alert bool
}

// seal puts a header before the payload that starts at b[headroom] and returns the frame, which is a part of b. A server's frames are not
// masked (RFC 6455 §5.1).
func seal(first byte, b []byte) []byte {
	n := len(b) - headroom
	switch {
	case n <= maxControlBytes:
		b = b[headroom-2:]
		b[1] = byte(n)
	case n <= 0xffff:
		b = b[headroom-4:]
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(n))
	default:
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(n))
	}
	b[0] = first
	return b
}

// payload returns an empty payload after the headroom, with space for size bytes.
func payload(size int) []byte { return make([]byte, headroom, headroom+size) }

// readingBytes is what a reading frame needs beside serial and data: keys, two times and the longest seq.
const readingBytes = 160

// readingFrame encodes r. The second result is r.Data as it lies in the frame, so that who keeps both keeps the bytes once.
func readingFrame(r *telemetry.Reading) (wire, data []byte) {
	b := payload(readingBytes + len(r.Serial) + len(r.Data))
	b = append(b, `{"type":"reading","serial_no":"`...)
	b = append(b, r.Serial...)
	b = append(b, `",`...)
	b = appendReading(b, r)
	data = b[len(b)-1-len(r.Data) : len(b)-1 : len(b)-1]
	return seal(final|opText, b), data
}

// appendReading appends the fields a reading has in every frame, and the closing brace.
func appendReading(b []byte, r *telemetry.Reading) []byte {
	b = append(b, `"seq":`...)
	b = strconv.AppendInt(b, r.Seq, 10)
	b = append(b, `,"time":`...)
	b = r.Time.AppendJSON(b)
	b = append(b, `,"received_at":`...)
	b = r.ReceivedAt.AppendJSON(b)
	b = append(b, `,"data":`...)
	b = append(b, r.Data...)
	return append(b, '}')
}

func stateFrame(serial string, state telemetry.State, lastSeen telemetry.Millis) []byte {
	b := payload(128)
	b = append(b, `{"type":"state","serial_no":"`...)
	b = append(b, serial...)
	b = append(b, `","state":"`...)
	b = append(b, state...)
	b = append(b, `","last_seen_at":`...)
	b = lastSeen.AppendJSON(b)
	return seal(final|opText, append(b, '}'))
}

func alertFrame(serial string, a *telemetry.Alert) []byte {
	b := payload(640)
	b = append(b, `{"type":"alert","serial_no":"`...)
	b = append(b, serial...)
	b = append(b, `","alert":`...)
	shown, _ := json.Marshal(a) // strings, numbers and times always marshal
	b = append(b, shown...)
	return seal(final|opText, append(b, '}'))
}

// appendGap appends the frame that tells of readings left out: they are the sensor's readings with after < seq < before.
func appendGap(buf []byte, serial string, after, before, dropped int64, reason string) []byte {
	b := payload(192)
	b = append(b, `{"type":"gap","serial_no":"`...)
	b = append(b, serial...)
	b = append(b, `","after_seq":`...)
	b = strconv.AppendInt(b, after, 10)
	b = append(b, `,"before_seq":`...)
	b = strconv.AppendInt(b, before, 10)
	b = append(b, `,"dropped":`...)
	b = strconv.AppendInt(b, dropped, 10)
	b = append(b, `,"reason":"`...)
	b = append(b, reason...)
	b = append(b, `"}`...)
	return append(buf, seal(final|opText, b)...)
}

// wholeGapFrame tells that the viewer may miss readings of any of its sensors with after < seq < before. A hello follows.
func wholeGapFrame(after, before int64, reason string) []byte {
	b := payload(128)
	b = append(b, `{"type":"gap","after_seq":`...)
	b = strconv.AppendInt(b, after, 10)
	b = append(b, `,"before_seq":`...)
	b = strconv.AppendInt(b, before, 10)
	b = append(b, `,"reason":"`...)
	b = append(b, reason...)
	return seal(final|opText, append(b, '"', '}'))
}

// resumeFrame gives the viewer a token to come back with. A token needs no escaping.
func resumeFrame(token string) []byte {
	b := payload(32 + len(token))
	b = append(b, `{"type":"resume","token":"`...)
	b = append(b, token...)
	return seal(final|opText, append(b, '"', '}'))
}

// ackFrame acknowledges a reading; id is its id as JSON text, or empty.
func ackFrame(id []byte) []byte {
	b := payload(32 + len(id))
	b = append(b, `{"type":"ack"`...)
	b = appendID(b, id)
	return seal(final|opText, append(b, '}'))
}

// commandAckFrame acknowledges a command: id is what the viewer called it, or empty, own what the server and the sensor call it.
func commandAckFrame(id []byte, own string) []byte {
	b := payload(64 + len(id) + len(own))
	b = append(b, `{"type":"ack"`...)
	b = appendID(b, id)
	b = append(b, `,"command_id":`...)
	b = appendString(b, own)
	return seal(final|opText, append(b, '}'))
}

// errorFrame tells the peer what was wrong with what it sent. serial may be empty, id is JSON text or empty.
func errorFrame(code, message, serial string, id []byte) []byte {
	b := payload(64 + len(code) + len(message) + len(serial) + len(id))
	b = append(b, `{"type":"error","code":"`...)
	b = append(b, code...)
	b = append(b, `","message":`...)
	b = appendString(b, message)
	if serial != "" {
		b = append(b, `,"serial_no":`...)
		b = appendString(b, serial)
	}
	b = appendID(b, id)
	return seal(final|opText, append(b, '}'))
}

func appendID(b, id []byte) []byte {
	if len(id) == 0 {
		return b
	}
	b = append(b, `,"id":`...)
	return append(b, id...)
}

func appendString(b []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string always marshals; broken UTF-8 becomes U+FFFD
	return append(b, quoted...)
}

// closeFrame starts or answers a closing handshake (RFC 6455 §5.5.1). reason is ASCII.
func closeFrame(code int, reason string) []byte {
	b := payload(maxControlBytes)
	if code != CloseNoStatus {
		b = binary.BigEndian.AppendUint16(b, uint16(code))
		b = append(b, reason[:min(len(reason), maxControlBytes-2)]...)
	}
	return seal(final|opClose, b)
}

// appendControl appends a ping or pong to buf.
func appendControl(buf []byte, op byte, data string) []byte {
	data = data[:min(len(data), maxControlBytes)]
	buf = append(buf, final|op, byte(len(data)))
	return append(buf, data...)
}
