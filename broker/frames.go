package broker

import "errors"

// maxConnectBytes bounds what is read of a client that has not logged in: a CONNECT with long credentials and a will fits well.
const maxConnectBytes = 16 << 10

// Violations of the framing, before mochi sees a byte. mochi reads a length of any number of bytes and allocates whatever it says.
var (
	errNotConnect  = errors.New("first packet is not CONNECT")           // [MQTT-3.1.0-1]
	errLength      = errors.New("remaining length of more than 4 bytes") // MQTT 5.0 §1.5.5
	errTooLarge    = errors.New("packet too large")
	errConnectSize = errors.New("CONNECT too large")
)

// frames follows the packet boundaries in the inbound bytes of one connection.
type frames struct {
	max    int  // largest remaining length of packets after CONNECT
	body   int  // bytes of the present packet's body still to come
	length int  // of the header being read
	digits int  // bytes of the length read
	header bool // inside a fixed header: the first byte was read
	begun  bool // the first packet's header was read
}

// check follows b, which continues what was checked before, and returns the first violation.
func (f *frames) check(b []byte) error {
	for len(b) > 0 {
		if f.body > 0 {
			n := min(f.body, len(b))
			f.body -= n
			b = b[n:]
			continue
		}
		if !f.header {
			if !f.begun && b[0] != 0x10 {
				return errNotConnect
			}
			f.header, f.length, f.digits = true, 0, 0
			b = b[1:]
			continue
		}
		f.length |= int(b[0]&0x7f) << (7 * f.digits)
		f.digits++
		more := b[0]&0x80 != 0
		b = b[1:]
		switch {
		case more && f.digits == 4:
			return errLength
		case more:
			continue
		case !f.begun && f.length > maxConnectBytes:
			return errConnectSize
		case f.begun && f.length > f.max:
			return errTooLarge
		}
		f.body, f.header, f.begun = f.length, false, true
	}
	return nil
}
