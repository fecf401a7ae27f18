package drive

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"sensorcast/drive/hostile"
)

// transports are the doors a probe goes through. The last two are WebSockets: one packet in each message, and messages that end anywhere.
var transports = []string{"tcp", "tls", "ws", "pieces"}

// newSecureStage is a stage with all its doors open.
func newSecureStage(t *testing.T, args ...string) *stage {
	t.Helper()
	return newStage(t, t.TempDir(), append(secured(t), args...)...)
}

// secured are the arguments for a server with TLS.
func secured(t *testing.T) []string {
	t.Helper()
	cert, key, _ := selfSigned(t, t.TempDir(), 1)
	return []string{"--mqtts-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key}
}

// atEveryDoor runs a test for each door.
func atEveryDoor(t *testing.T, act func(t *testing.T, transport string)) {
	t.Helper()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) { act(t, transport) })
	}
}

// everyWay runs a test for each door and version.
func everyWay(t *testing.T, act func(t *testing.T, transport string, v5 bool)) {
	t.Helper()
	atEveryDoor(t, func(t *testing.T, transport string) {
		inBoth(t, func(t *testing.T, v5 bool) { act(t, transport, v5) })
	})
}

// enter logs in at a door.
func (s *stage) enter(t *testing.T, transport string, v5 bool, l login) *peer {
	t.Helper()
	p := s.through(t, transport, v5)
	p.connect(l)
	return p
}

// bystander is a client that must not notice what is done to others, nor find anything left of it.
type bystander struct {
	*peer
	s        *stage
	attended int
	files    float64
}

func (s *stage) bystander(t *testing.T) *bystander {
	t.Helper()
	b := &bystander{peer: s.login(t, true, login{role: s.viewer(), id: "bystander"}), s: s}
	b.attended = s.attending()
	b.files = s.metrics()["process_open_fds"]
	return b
}

// readerFiles are what the store's readers may open and close meanwhile, as they come and go with what is asked.
const readerFiles = 6

// alone insists that the bystander is served, and that the server attends to nobody else.
func (b *bystander) alone(t *testing.T) {
	t.Helper()
	b.wantQuiet()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // asks a process of its own, again and again
		got := b.s.attending()
		if got == b.attended {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines attend to clients, want %d as before", got, b.attended)
		}
	}
}

// done insists that the server holds no more files than before, has contained no panic and counts one connection.
func (b *bystander) done(t *testing.T) {
	t.Helper()
	b.s.settled("mqtt_connections", 1)
	b.s.settled("mqtt_connections_pending", 0)
	most := b.files + readerFiles
	b.s.comesTo("process_open_fds", fmt.Sprintf("at most %v", most), func(got float64) bool { return got <= most })
	b.s.settled(`mqtt_disconnected_total{reason="panic"}`, 0)
}

// Every malformed packet closes its connection, a v5 client is told why, nobody else notices, and nothing is left of it.
func TestMalformed_CostsOneConnectionAtEveryDoor(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	who, _ := s.newSensor()
	other := s.bystander(t)
	atEveryDoor(t, func(t *testing.T, transport string) {
		for _, h := range append(hostile.Packets(), hostile.Properties()...) {
			for _, version := range []byte{4, 5} {
				in := h.Bytes(version)
				if in == nil {
					continue
				}
				t.Run(fmt.Sprintf("%s, v%d", h.Name, version), func(t *testing.T) {
					p := s.enter(t, transport, version == 5, login{role: who, id: "hostile"})
					p.write(frame(pPingreq<<4), in)
					p.want(pPingresp)
					p.wantEnd(h.Reason)
					p.Close()
					other.alone(t)
				})
			}
		}
	})
	other.done(t)
}

func TestMalformed_ConnectIsRefusedAtEveryDoor(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	other := s.bystander(t)
	atEveryDoor(t, func(t *testing.T, transport string) {
		for _, h := range hostile.Connects() {
			t.Run(h.Name, func(t *testing.T) {
				p := s.through(t, transport, false)
				p.version = h.Version()
				p.write(h.Bytes)
				if h.Answer != 0 {
					if ack := p.want(pConnack); ack.code != h.Answer || ack.present {
						t.Errorf("got CONNACK %#x, want %#x", ack.code, h.Answer)
					}
				}
				p.wantEnd(0)
				p.Close()
				other.alone(t)
			})
		}
	})
	other.done(t)
}

func TestMalformed_FiltersAreRefusedOneByOneAtEveryDoor(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		p := s.enter(t, transport, v5, login{role: s.viewer(), id: "filters"})
		filters := append(hostile.Filters(), "sensors/#")
		no := byte(0x80)
		if v5 {
			no = 0x8f
		}
		p.write(subscribePacket(p.version, 1, 0, filters...))
		want := append(bytes.Repeat([]byte{no}, len(filters)-1), 0)
		if got := p.want(pSuback).codes; !bytes.Equal(got, want) {
			t.Errorf("got SUBACK %#x, want %#x", got, want)
		}
	})
}
