package broker

import "errors"

// maxConnectBytes bounds what is read of a client that has not logged in: a CONNECT with long credentials and a will fits well.
const maxConnectBytes = 16 << 10

// Violations of the framing: what came is no MQTT, or more than is taken.
var (
	errNotConnect  = errors.New("first packet is not CONNECT") // [MQTT-3.1.0-1]
	errLength      = errors.New("ill-formed remaining length") // MQTT 5.0 §1.5.5
	errTooLarge    = errors.New("packet too large")
	errConnectSize = errors.New("CONNECT too large")
)

// frames finds the packet boundaries in the inbound bytes of one connection.
type frames struct {
	max   int  // largest remaining length of packets after CONNECT
	begun bool // the first packet was cut off
}

// packet is one MQTT control packet as it came.
type packet struct {
	head byte   // first byte of the fixed header: type and flags
	body []byte // part of the buffer it was read into
}

func (p packet) kind() byte { return p.head >> 4 }

// next cuts the first packet off b. A size of 0 says that not all of it is there; want is then what it needs in all, or 0 if that
// is not known yet either.
func (f *frames) next(b []byte) (p packet, size, want int, err error) {
	if len(b) == 0 {
		return p, 0, 0, nil
	}
	if !f.begun && b[0] != 0x10 {
		return p, 0, 0, errNotConnect
	}
	length, digits := 0, 0
	for more := true; more; digits++ {
		if 1+digits == len(b) {
			return p, 0, 0, nil
		}
		d := b[1+digits]
		length |= int(d&0x7f) << (7 * digits)
		more = d&0x80 != 0
		if more && digits == 3 || d == 0 && digits > 0 {
			return p, 0, 0, errLength
		}
	}
	switch {
	case !f.begun && length > maxConnectBytes:
		return p, 0, 0, errConnectSize
	case f.begun && length > f.max:
		return p, 0, 0, errTooLarge
	}
	want = 1 + digits + length
	if want > len(b) {
		return p, 0, want, nil
	}
	f.begun = true
	return packet{b[0], b[1+digits : want : want]}, want, want, nil
}
