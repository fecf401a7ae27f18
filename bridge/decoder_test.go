package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// heardWords is a listener that writes down what it hears.
type heardWords struct{ words []string }

func (h *heardWords) text(m []byte) error { h.words = append(h.words, "text "+string(m)); return nil }
func (h *heardWords) ping(d []byte) error { h.words = append(h.words, "ping "+string(d)); return nil }
func (h *heardWords) pong() error         { h.words = append(h.words, "pong"); return nil }

func TestDecoder_HearsTheSameHoweverTheBytesAreCut(t *testing.T) {
	long := strings.Repeat("é", 40_000)
	var b []byte
	b = append(b, masked(0x81, []byte("one"))...)
	b = append(b, masked(0x01, []byte("tw"))...)
	b = append(b, masked(0x89, []byte("are you there"))...)
	b = append(b, masked(0x00, []byte(""))...)
	b = append(b, masked(0x80, []byte("o"))...)
	b = append(b, masked(0x8A, nil)...)
	b = append(b, masked(0x81, []byte(long))...)
	b = append(b, masked(0x81, []byte(strings.Repeat("m", 200)))...)
	b = append(b, masked(0x81, nil)...)
	b = append(b, masked(0x88, []byte{0x0f, 0xa1, 'b', 'y', 'e'})...)
	want := []string{"text one", "ping are you there", "text two", "pong", "text " + long, "text " + strings.Repeat("m", 200), "text "}
	rng := rand.New(rand.NewPCG(5, 6))
	for _, piece := range []int{1, 2, 7, 4096, len(b)} {
		d := decoder{limit: 100_000}
		var l heardWords
		var err error
		for rest := bytes.Clone(b); len(rest) > 0 && err == nil; {
			n := min(len(rest), 1+rng.IntN(piece))
			piece := rest[:n]
			err = d.push(piece, &l)
			clear(piece) // the buffer is used again
			rest = rest[n:]
		}
		var gone *parted
		if !errors.As(err, &gone) || gone.code != 4001 {
			t.Errorf("pieces of %d: got %v, want the peer's 4001", piece, err)
		}
		if fmt.Sprint(l.words) != fmt.Sprint(want) {
			t.Errorf("pieces of %d: heard %.200q", piece, l.words)
		}
	}
}

// What a header promises costs nothing before it comes.
func TestDecoder_HoldsOnlyWhatCame(t *testing.T) {
	d := decoder{limit: 1 << 20}
	frame := masked(0x81, make([]byte, 1<<20))
	if err := d.push(frame[:100:100], &heardWords{}); err != nil || cap(d.rest) > 1000 {
		t.Errorf("after 100 bytes of a frame of 1 MiB: holds %d bytes, %v", cap(d.rest), err)
	}
	d = decoder{limit: 1 << 20}
	whole := masked(0x81, []byte("whole"))
	if err := d.push(whole, &heardWords{}); err != nil || d.rest != nil || d.message != nil {
		t.Errorf("between messages: holds %d and %d bytes, %v", cap(d.rest), cap(d.message), err)
	}
}

// FuzzDecoder_Bytes: whatever comes, in whatever pieces, the decoder hears the same, holds no more than its limit and a header, and never panics.
func FuzzDecoder_Bytes(f *testing.F) {
	f.Add(masked(0x81, []byte(`{"type":"rate"}`)), uint8(3))
	f.Add(append(masked(0x01, []byte("a")), masked(0x80, []byte("b"))...), uint8(1))
	f.Add([]byte{0x88, 0x82, 0, 0, 0, 0, 3, 232}, uint8(2))
	f.Add([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 4}, uint8(9))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		const limit = 300
		whole, cut := decoder{limit: limit}, decoder{limit: limit}
		var heardWhole, heardCut heardWords
		wholeErr := whole.push(bytes.Clone(b), &heardWhole)
		var cutErr error
		for rest := bytes.Clone(b); len(rest) > 0 && cutErr == nil; {
			n := min(len(rest), 1+int(piece))
			cutErr = cut.push(rest[:n], &heardCut)
			rest = rest[n:]
			if len(cut.rest)+len(cut.message) > 2*limit+64 {
				t.Fatalf("holds %d bytes and %d of a message, the limit is %d", len(cut.rest), len(cut.message), limit)
			}
		}
		if fmt.Sprint(wholeErr) != fmt.Sprint(cutErr) || fmt.Sprint(heardWhole.words) != fmt.Sprint(heardCut.words) {
			t.Fatalf("whole: %q, %v; in pieces of %d: %q, %v", heardWhole.words, wholeErr, int(piece)+1, heardCut.words, cutErr)
		}
	})
}
