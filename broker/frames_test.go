package broker

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// cut cuts b into packets and returns them as they came.
func (f *frames) cut(b []byte) (all [][]byte, rest []byte, err error) {
	for {
		_, size, _, err := f.next(b)
		if err != nil || size == 0 {
			return all, b, err
		}
		all = append(all, b[:size])
		b = b[size:]
	}
}

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
		{"length longer than it needs to be", []byte{0x10, 0x82, 0x00, 'c', 'c'}, errLength},
		{"ping after connect", append(bytes.Clone(connect), 0xc0, 0), nil},
		{"largest packet", append(bytes.Clone(connect), 0x30, 100), nil},
		{"too large", append(bytes.Clone(connect), 0x30, 101), errTooLarge},
	} {
		f := frames{max: 100}
		if _, _, got := f.cut(tt.in); !errors.Is(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// However the bytes are cut into reads, the packets and the verdict are the same.
func FuzzFrames_CutsDoNotMatter(f *testing.F) {
	f.Add([]byte{0x10, 2, 'c', 'c', 0x30, 3, 1, 2, 3, 0xc0, 0}, []byte{1, 2, 3})
	f.Add([]byte{0x10, 0x80, 0x80, 0x80, 0x80}, []byte{4})
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		whole := frames{max: 1000}
		want, _, wantErr := whole.cut(in)
		pieces := frames{max: 1000}
		var got [][]byte
		var rest []byte
		var gotErr error
		for left, i := in, 0; len(left) > 0 && gotErr == nil; i++ {
			n := 1
			if len(cuts) > 0 {
				n = 1 + int(cuts[i%len(cuts)])
			}
			n = min(n, len(left))
			var some [][]byte
			some, rest, gotErr = pieces.cut(append(rest, left[:n]...))
			for _, p := range some {
				got = append(got, bytes.Clone(p))
			}
			rest = bytes.Clone(rest)
			left = left[n:]
		}
		if gotErr != wantErr || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("in pieces %d packets and %v, whole %d and %v", len(got), gotErr, len(want), wantErr)
		}
	})
}
