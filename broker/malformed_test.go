package broker

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/drive/hostile"
)

// Every malformed packet closes its connection, a v5 client is told why, and nobody else notices. The table is also driven through every
// door of the binary, in drive.
func TestMalformed_ClosesOnlyItsConnection(t *testing.T) {
	h := start(t, autoIntake())
	other := h.login(t, "B")
	for _, tt := range append(hostile.Packets(), hostile.Properties()...) {
		for _, version := range []byte{4, 5} {
			in := tt.Bytes(version)
			if in == nil {
				continue
			}
			t.Run(fmt.Sprintf("%s, v%d", tt.Name, version), func(t *testing.T) {
				p := h.login(t, "A", func(pk *packets.Packet) { pk.ProtocolVersion = version })
				p.raw(in)
				if version == 5 {
					if got := p.want(packets.Disconnect).ReasonCode; got != tt.Reason {
						t.Errorf("got DISCONNECT %#x, want %#x", got, tt.Reason)
					}
				}
				p.wantEnd()
			})
		}
	}
	other.wantAlive()
	if s := h.Stats(); s.Panics != 0 {
		t.Errorf("got %d panics, want none", s.Panics)
	}
}

// What is wrong with a CONNECT is said where the version has a word for it, and closes.
func TestMalformed_Connect(t *testing.T) {
	h := start(t, autoIntake())
	for _, tt := range hostile.Connects() {
		t.Run(tt.Name, func(t *testing.T) {
			p := h.dial(t)
			p.version = tt.Version()
			p.raw(tt.Bytes)
			if tt.Answer != 0 {
				if got := p.want(packets.Connack).ReasonCode; got != tt.Answer {
					t.Errorf("got CONNACK %#x, want %#x", got, tt.Answer)
				}
			}
			p.wantEnd()
		})
	}
}

func TestMalformed_FiltersAreRefusedOneByOne(t *testing.T) {
	h := start(t, autoIntake())
	for version, no := range map[byte]byte{4: 0x80, 5: packets.ErrTopicFilterInvalid.Code} {
		p := h.login(t, "ann", func(pk *packets.Packet) { pk.ProtocolVersion = version })
		got := p.subscribe(0, append(hostile.Filters(), "sensors/A/#")...)
		for i, code := range got {
			want := no
			if i == len(got)-1 {
				want = 0
			}
			if code != want {
				t.Errorf("v%d, filter %d: got %#x, want %#x", version, i, code, want)
			}
		}
	}
}
