package broker

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// cursor reads the fields of a packet one after another. A field that is missing or ill-formed makes it bad for good and reads as
// zero, so that a decoder asks once, at its end. What it returns are parts of the packet.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n > len(c.b) {
		c.bad = true
		return nil
	}
	f := c.b[:n:n]
	c.b = c.b[n:]
	return f
}

func (c *cursor) byte() byte {
	if f := c.take(1); f != nil {
		return f[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if f := c.take(2); f != nil {
		return binary.BigEndian.Uint16(f)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if f := c.take(4); f != nil {
		return binary.BigEndian.Uint32(f)
	}
	return 0
}

// length reads a variable byte integer, of at most four bytes and in its shortest form [MQTT-1.5.5-1].
func (c *cursor) length() int {
	n := 0
	for digits := range 4 {
		d := c.byte()
		n |= int(d&0x7f) << (7 * digits)
		if d&0x80 == 0 {
			c.bad = c.bad || d == 0 && digits > 0
			return n
		}
	}
	c.bad = true
	return 0
}

// binary reads data with its length in front.
func (c *cursor) binary() []byte { return c.take(int(c.uint16())) }

// text reads a UTF-8 string.
func (c *cursor) text() []byte {
	s := c.binary()
	c.bad = c.bad || !validText(s)
	return s
}

// validText reports whether s may be an MQTT string: well-formed UTF-8, surrogates excluded, without U+0000 [MQTT-1.5.4-1], [MQTT-1.5.4-2].
func validText(s []byte) bool { return utf8.Valid(s) && bytes.IndexByte(s, 0) < 0 }

func appendUint16(b []byte, n uint16) []byte { return binary.BigEndian.AppendUint16(b, n) }

func appendLength(b []byte, n int) []byte {
	for n > 0x7f {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func lengthSize(n int) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<14:
		return 2
	case n < 1<<21:
		return 3
	}
	return 4
}
