package broker

import (
	"bytes"
	"errors"
	"testing"
)

func TestFrames_Violations(t *testing.T) {
	connect := []byte{0x10, 2, 'c', 'c'}
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"connect", connect, nil},
		{"publish first", []byte{0x30, 0}, errNotConnect},
		{"http", []byte("GET / HTTP/1.1\r\n"), errNotConnect},
		{"tls hello", []byte{0x16, 3, 1}, errNotConnect},
		{"largest connect", []byte{0x10, 0x80, 0x80, 0x01}, nil},
		{"connect over the bound", []byte{0x10, 0x81, 0x80, 0x01}, errConnectSize},
		{"256 MiB connect", []byte{0x10, 0xff, 0xff, 0xff, 0x7f}, errConnectSize},
		{"length of five bytes", []byte{0x10, 0x80, 0x80, 0x80, 0x80}, errLength},
		{"ping after connect", append(bytes.Clone(connect), 0xc0, 0), nil},
		{"largest packet", append(bytes.Clone(connect), 0x30, 100), nil},
		{"too large", append(bytes.Clone(connect), 0x30, 101), errTooLarge},
	} {
		f := frames{max: 100}
		if got := f.check(tt.in); !errors.Is(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// However the bytes are cut into reads, the verdict is the same.
func FuzzFrames_CutsDoNotMatter(f *testing.F) {
	f.Add([]byte{0x10, 2, 'c', 'c', 0x30, 3, 1, 2, 3, 0xc0, 0}, []byte{1, 2, 3})
	f.Add([]byte{0x10, 0x80, 0x80, 0x80, 0x80}, []byte{4})
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		whole := frames{max: 1000}
		want := whole.check(in)
		pieces := frames{max: 1000}
		var got error
		for rest, i := in, 0; len(rest) > 0 && got == nil; i++ {
			n := 1
			if len(cuts) > 0 {
				n = 1 + int(cuts[i%len(cuts)])
			}
			n = min(n, len(rest))
			got = pieces.check(rest[:n])
			rest = rest[n:]
		}
		if got != want {
			t.Fatalf("in pieces %v, whole %v", got, want)
		}
		if want == nil && pieces != whole {
			t.Fatalf("in pieces %+v, whole %+v", pieces, whole)
		}
	})
}
