package bridge

import (
	"encoding/binary"
	"unicode/utf8"
)

// decoder reads a client's frames (RFC 6455 §5) out of bytes as they arrive, however they are cut. Between messages it holds nothing.
type decoder struct {
	limit    int    // bytes of one message
	rest     []byte // a frame that has not come whole
	message  []byte // the fragments so far of one message
	fragment bool   // a message is under way
}

// listener takes what a decoder finds. An error ends the decoding.
type listener interface {
	text(message []byte) error // its own copy
	ping(data []byte) error
	pong() error
}

// parted is the error of a decoder that has read the peer's close frame.
type parted struct{ code int }

func (*parted) Error() string { return "closed by peer" }

// header is the beginning of a frame.
type header struct {
	final  bool
	opcode byte
	size   int // of the payload
	length int // of the header itself, mask included
}

const maskBytes = 4

// headerOf reads a header; !ok: it has not come whole.
func headerOf(b []byte) (h header, ok bool, err error) {
	if len(b) < 2 {
		return h, false, nil
	}
	h = header{final: b[0]&final != 0, opcode: b[0] & 0x0f, size: int(b[1] & 0x7f), length: 2}
	switch {
	case b[0]&0x70 != 0:
		return h, false, &violation{CloseProtocolError, "reserved bits are for extensions, and none was agreed on"}
	case b[1]&0x80 == 0:
		return h, false, &violation{CloseProtocolError, "a client's frames must be masked"}
	case h.opcode >= opClose && (!h.final || h.size > maxControlBytes):
		return h, false, &violation{CloseProtocolError, "a control frame is short and never fragmented"}
	}
	switch h.size {
	case 126:
		h.length = 4
	case 127:
		h.length = 10
	}
	if len(b) < h.length+maskBytes {
		return h, false, nil
	}
	switch h.length {
	case 4:
		h.size = int(binary.BigEndian.Uint16(b[2:]))
	case 10:
		size := binary.BigEndian.Uint64(b[2:])
		if size > 1<<31 {
			return h, false, &violation{CloseTooBig, "message too big"}
		}
		h.size = int(size)
	}
	h.length += maskBytes
	return h, true, nil
}

// push decodes b, which it may change, behind what came before.
func (d *decoder) push(b []byte, l listener) error {
	own := len(d.rest) > 0
	if own {
		b = append(d.rest, b...)
		d.rest = nil
	}
	for len(b) > 0 {
		h, ok, err := headerOf(b)
		if err == nil && ok {
			err = d.admit(h)
		}
		if err != nil {
			return err
		}
		if !ok || len(b) < h.length+h.size {
			if !own {
				b = append([]byte(nil), b...) // it grows as bytes come, not as the header promises
			}
			d.rest = b
			return nil
		}
		payload := b[h.length : h.length+h.size]
		unmask(payload, b[h.length-maskBytes:h.length])
		b = b[h.length+h.size:]
		if err := d.frame(h, payload, l); err != nil {
			return err
		}
	}
	return nil
}

// admit judges a frame by its header, before memory is spent on it.
func (d *decoder) admit(h header) error {
	switch h.opcode {
	case opClose, opPing, opPong:
		return nil
	case opText, opBinary:
		if d.fragment {
			return &violation{CloseProtocolError, "a message began within another"}
		}
	case opContinuation:
		if !d.fragment {
			return &violation{CloseProtocolError, "a fragment of no message"}
		}
	default:
		return &violation{CloseProtocolError, "reserved opcode"}
	}
	if len(d.message)+h.size > d.limit {
		return &violation{CloseTooBig, "message too big"}
	}
	if h.opcode == opBinary {
		return &violation{CloseUnsupported, "only text messages are understood"}
	}
	return nil
}

func (d *decoder) frame(h header, payload []byte, l listener) error {
	switch h.opcode {
	case opPing:
		return l.ping(payload)
	case opPong:
		return l.pong()
	case opClose:
		return farewell(payload)
	}
	d.message = append(d.message, payload...)
	if d.fragment = !h.final; d.fragment {
		return nil
	}
	message := d.message
	d.message = nil
	if !utf8.Valid(message) {
		return &violation{CloseInvalidText, "a text message must be UTF-8"}
	}
	return l.text(message)
}

// farewell reads the peer's close frame (RFC 6455 §5.5.1, §7.4).
func farewell(payload []byte) error {
	if len(payload) == 0 {
		return &parted{CloseNoStatus}
	}
	if len(payload) == 1 {
		return &violation{CloseProtocolError, "half a close code"}
	}
	code := int(binary.BigEndian.Uint16(payload))
	switch {
	case code < 1000, code > 4999, code > 1014 && code < 3000, code == 1004, code == CloseNoStatus, code == CloseLost:
		return &violation{CloseProtocolError, "a close code that may not be sent"}
	case !utf8.Valid(payload[2:]):
		return &violation{CloseInvalidText, "a reason must be UTF-8"}
	}
	return &parted{code}
}

// unmask undoes RFC 6455 §5.3.
func unmask(payload, key []byte) {
	for len(payload) >= 8 { // eight bytes at a time, for there is no need to go slowly
		k := uint64(binary.LittleEndian.Uint32(key))
		binary.LittleEndian.PutUint64(payload, binary.LittleEndian.Uint64(payload)^(k|k<<32))
		payload = payload[8:]
	}
	for i := range payload {
		payload[i] ^= key[i&3]
	}
}
