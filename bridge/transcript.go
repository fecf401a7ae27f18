package bridge

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"time"
)

// transcript rewrites the frames of a session as an event stream (WHATWG HTML §9.2), without decoding what is in them:
//
//	id: 42
//	event: reading
//	data: {"type":"reading",…}
//
// An event is named after its frame's type. Only what moves the position a viewer may resume from has an id: a reading, and a hello, which
// stands for everything up to its seq. So the Last-Event-ID a client comes back with is always one it has read all of. A ping is a comment.
type transcript struct {
	retry time.Duration // how long a client waits before it connects again, said first; zero: it was said
	open  bool          // the fragments of a message are under way
}

// append adds frames to buf. They are whole frames of our own making.
func (t *transcript) append(buf, frames []byte) []byte {
	if t.retry > 0 {
		buf = append(buf, "retry: "...)
		buf = strconv.AppendInt(buf, t.retry.Milliseconds(), 10)
		buf = append(buf, "\n\n"...)
		t.retry = 0
	}
	for len(frames) > 0 {
		first, content, rest := unseal(frames)
		buf = t.frame(buf, first, content)
		frames = rest
	}
	return buf
}

func (t *transcript) frame(buf []byte, first byte, content []byte) []byte {
	switch first &^ final {
	case opText:
		buf = appendHead(buf, content)
	case opContinuation:
	case opPing:
		if t.open {
			return buf // the message itself is the sign of life, and an empty line would end it in the middle
		}
		return append(buf, ": ping\n\n"...)
	case opClose:
		if t.open {
			return buf // half a message cannot be taken back, but a client drops an event that no empty line ends
		}
		return appendFarewell(buf, content)
	default:
		return buf
	}
	buf = appendData(buf, content)
	if t.open = first&final == 0; !t.open {
		buf = append(buf, "\n\n"...)
	}
	return buf
}

// unseal takes the first frame off frames; it is the reverse of seal and appendControl.
func unseal(frames []byte) (first byte, content, rest []byte) {
	first, n, at := frames[0], int(frames[1]), 2
	switch n {
	case 126:
		n, at = int(binary.BigEndian.Uint16(frames[2:])), 4
	case 127:
		n, at = int(binary.BigEndian.Uint64(frames[2:])), 10
	}
	return first, frames[at : at+n], frames[at+n:]
}

const typeKey = `{"type":"` // how every message begins

// appendHead adds what comes before the data of a message, or of its first fragment.
func appendHead(buf, content []byte) []byte {
	name := typeOf(content)
	switch string(name) {
	case "reading", "hello":
		if seq := seqOf(content); len(seq) > 0 {
			buf = append(append(append(buf, "id: "...), seq...), '\n')
		}
	case "error":
		name = []byte("problem") // "error" is what a browser calls its own event of a lost connection
	}
	if len(name) > 0 {
		buf = append(append(append(buf, "event: "...), name...), '\n')
	}
	return append(buf, "data: "...)
}

// typeOf returns the type of a message when it is a plain word.
func typeOf(content []byte) []byte {
	rest, ok := bytes.CutPrefix(content, []byte(typeKey))
	if !ok {
		return nil
	}
	for i, c := range rest {
		if c == '"' {
			return rest[:i]
		}
		if c != '_' && (c < 'a' || c > 'z') {
			break
		}
	}
	return nil
}

// seqOf returns the digits of the first seq in a message. What is before it, a serial or an epoch, cannot be taken for it: in a JSON string
// a quotation mark is escaped.
func seqOf(content []byte) []byte {
	_, rest, _ := bytes.Cut(content, []byte(`,"seq":`))
	n := 0
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	if n == len(rest) {
		return nil // perhaps not all of it
	}
	return rest[:n]
}

// appendData adds content to a data field. A line break in it, which between the tokens of JSON is legal, would end the field and let
// what follows speak for the server: it begins a new data line instead, which the client puts a line break before.
func appendData(buf, content []byte) []byte {
	if bytes.IndexByte(content, '\n') < 0 && bytes.IndexByte(content, '\r') < 0 {
		return append(buf, content...)
	}
	for _, c := range content {
		if c == '\n' || c == '\r' {
			buf = append(buf, "\ndata: "...)
		} else {
			buf = append(buf, c)
		}
	}
	return buf
}

// appendFarewell adds a close frame as the last event: {"code":4401,"reason":"…"}.
func appendFarewell(buf, content []byte) []byte {
	code, reason := CloseNoStatus, ""
	if len(content) >= 2 {
		code, reason = int(binary.BigEndian.Uint16(content)), string(content[2:])
	}
	buf = append(buf, "event: close\ndata: {\"code\":"...)
	buf = strconv.AppendInt(buf, int64(code), 10)
	buf = append(buf, `,"reason":`...)
	buf = appendString(buf, reason)
	return append(buf, "}\n\n"...)
}
