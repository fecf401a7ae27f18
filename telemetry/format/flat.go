package format

import (
	"encoding/binary"
	"math/bits"
)

// flat reports whether text is what nearly every sensor sends: one object of at least one plain name with a plain string, an ordinary number or a
// literal, written without white space, escapes, exponents or letters beyond ASCII, and no envelope. It reads that two to three times
// as fast as scanner, which judges everything else. What it takes scanner takes; FuzzScan holds it to that.
func flat(text []byte) bool {
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
		return false
	}
	body := text[:len(text)-1] // what is looked at never runs beyond the last brace
	for i := 1; ; i++ {
		if i >= len(body) || body[i] != '"' {
			return false
		}
		from := i + 1
		end := plain(body, from)
		if end+1 >= len(body) || body[end] != '"' || body[end+1] != ':' {
			return false
		}
		if name := string(body[from:end]); name == "data" || name == "values" {
			return false
		}
		if i = scalar(body, end+2); i == len(body) {
			return true
		}
		if i < 0 || body[i] != ',' {
			return false
		}
	}
}

// scalar returns where the value that begins at i ends, or -1.
func scalar(body []byte, i int) int {
	if i >= len(body) {
		return -1
	}
	switch body[i] {
	case '"':
		if i = plain(body, i+1); i < len(body) && body[i] == '"' {
			return i + 1
		}
		return -1
	case 't':
		return literal(body, i, "true")
	case 'f':
		return literal(body, i, "false")
	case 'n':
		return literal(body, i, "null")
	case '-':
		i++
	}
	from := i
	if i = run(body, i); i == from || body[from] == '0' && i > from+1 { // no digit follows a leading zero
		return -1
	}
	if i < len(body) && body[i] == '.' {
		from = i + 1
		if i = run(body, from); i == from {
			return -1
		}
	}
	return i
}

func literal(body []byte, i int, word string) int {
	if end := i + len(word); end <= len(body) && string(body[i:end]) == word {
		return end
	}
	return -1
}

// run returns where the digits from i on end.
func run(body []byte, i int) int {
	for i < len(body) && body[i]-'0' <= 9 {
		i++
	}
	return i
}

const (
	eachByte = 0x0101010101010101
	topBits  = 0x80 * eachByte
)

// plain returns the place of the first byte from i on that is no plain part of a string: a quote, a backslash, a control character or
// anything beyond ASCII. It looks at eight bytes at once: subtracting a limit leaves a byte's top bit set where the byte was below
// it. The borrow may set it falsely in later bytes, never in earlier ones.
func plain(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, backslash := x^'"'*eachByte, x^'\\'*eachByte
		if stop := (x | (x - ' '*eachByte) | (quote - eachByte) | (backslash - eachByte)) & topBits; stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
			break
		}
	}
	return i
}
