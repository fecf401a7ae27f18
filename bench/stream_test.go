package main

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// messagesOf feeds b in pieces of a size and lists what was cut.
func messagesOf(c cut, b []byte, piece int) (all []message, err error) {
	s := stream{cut: c}
	for len(b) > 0 && err == nil {
		n := min(piece, len(b))
		err = s.feed(bytes.Clone(b[:n]), func(kind byte, body []byte) { all = append(all, message{kind, bytes.Clone(body)}) })
		b = b[n:]
	}
	return all, err
}

func FuzzStream_MessagesDoNotDependOnHowTheyWereCutUp(f *testing.F) {
	publish := newPublication("sensors/a/telemetry", 1).at(7, 258)
	f.Add(append(bytes.Repeat(publish, 3), puback, 2, 1, 2), uint8(5))
	f.Add(append(frame([]byte{connack, 2, 0, 0}), 0x82, 126, 0, 200), uint8(1))
	f.Add([]byte{0x81, 2, '{', '}', 0x02, 3, puback, 2, 0, 0x80, 1, 9}, uint8(2))
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 1}, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		for name, of := range map[string]func() cut{
			"packets": func() cut { return cutPackets }, "frames": func() cut { return cutFrames }, "packets in frames": packetsInFrames,
		} {
			whole, wholeErr := messagesOf(of(), b, max(1, len(b)))
			pieces, piecesErr := messagesOf(of(), b, int(piece)+1)
			if (wholeErr == nil) != (piecesErr == nil) {
				t.Fatalf("%s % x: error in one piece %v, in pieces of %d %v", name, b, wholeErr, int(piece)+1, piecesErr)
			}
			if !reflect.DeepEqual(whole, pieces) {
				t.Fatalf("%s % x: in one piece %v, in pieces of %d %v", name, b, whole, int(piece)+1, pieces)
			}
		}
	})
}

func TestPackets_AreCutOutOfFragmentedFrames(t *testing.T) {
	// One PUBACK across the fragments of one message, another in the same frame as its end.
	in := []byte{0x02, 1, puback, 0x80, 5, 2, 0, 7, puback, 2, 0x82, 2, 0, 8}
	got, err := messagesOf(packetsInFrames(), in, 3)
	want := []message{{puback, []byte{0, 7}}, {puback, []byte{0, 8}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("cut % x: got %v, %v; want %v", in, got, err, want)
	}
}

func TestStream_HostileLengthIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cut cut
		in  []byte
	}{
		"packet of 256 MiB":     {cutPackets, []byte{0x30, 0xff, 0xff, 0xff, 0x7f}},
		"length of five digits": {cutPackets, []byte{0x30, 0x80, 0x80, 0x80, 0x80}},
		"frame of 2^63 bytes":   {cutFrames, []byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}},
		"masked frame":          {cutFrames, []byte{0x82, 0x81, 0, 0, 0, 0, 1}},
	} {
		if got, err := messagesOf(c.cut, c.in, 1); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

func TestPublication_CarriesTimeAndIdentifierToTheStamp(t *testing.T) {
	p := newPublication(strings.Repeat("t", 200), 1)
	got, err := messagesOf(cutPackets, p.at(1234567890, 0x1234), 1000)
	if err != nil || len(got) != 1 {
		t.Fatalf("got %v, %v; want one packet", got, err)
	}
	at, ok := stamped(got[0].body)
	id := fmt.Sprintf("%x", got[0].body[202:204])
	if !ok || at != 1234567890 || id != "1234" || !isPublish(got[0].kind, nil) {
		t.Errorf("got kind %#x, time %d, identifier %s; want PUBLISH, 1234567890, 1234", got[0].kind, at, id)
	}
}
