package broker

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/telemetry"
)

// porter writes down who knocked.
type porter struct {
	mu    sync.Mutex
	heard []string
	last  telemetry.Knock
}

func (p *porter) Knocked(k telemetry.Knock, secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = k
	p.heard = append(p.heard, k.Serial+" "+secret)
}

// Who is refused under a name that could be a new sensor's is reported, and hears what everybody hears.
func TestConnect_StrangersAreReportedAndLearnNothing(t *testing.T) {
	door := &porter{}
	certified := ""
	h := start(t, autoIntake(), func(h *house, cfg *Config) {
		h.porter = door
		cfg.PeerSerial = func(net.Conn) (string, bool) { return certified, certified != "" }
	})
	for _, tt := range []struct {
		cert, user, pass string
		want             byte
		heard            string // empty: nothing
	}{
		{"", "new-1", "the-devices-secret", 4, "new-1 the-devices-secret"},
		{"", "new-2", "", 4, "new-2 "},
		{"", "ann", "px", 4, "ann px"}, // whoever listens knows people
		{"", "ann", "pw", 0, ""},
		{"", "A", "wrong", 4, ""},
		{"", "A", secretOf("A"), 0, ""},
		{"", "ann@example.org", "px", 4, ""},
		{"", "sensors/x", "px", 4, ""},
		{"", "", "", 5, ""},
		{"new-3", "", "", 5, "new-3 "},
		{"new-4", "new-4", "shown", 4, "new-4 shown"},
		{"new-5", "ann", "pw", 4, "new-5 "},
		{"A", "new-6", "x", 4, ""}, // a known sensor that calls itself another
	} {
		certified = tt.cert
		door.heard = nil
		if got := h.dial(t).connect(tt.user, tt.pass).ReasonCode; got != tt.want {
			t.Errorf("certificate %q, user %q: got CONNACK %d, want %d", tt.cert, tt.user, got, tt.want)
		}
		door.mu.Lock()
		if want := []string{tt.heard}; tt.heard == "" && door.heard != nil || tt.heard != "" && !slices.Equal(door.heard, want) {
			t.Errorf("certificate %q, user %q: got %q reported, want %q", tt.cert, tt.user, door.heard, tt.heard)
		}
		door.mu.Unlock()
	}
	certified = ""
	h.dial(t).connect("new-7", "px", clientID("tasmota"), func(pk *packets.Packet) { pk.ProtocolVersion = 5 })
	door.mu.Lock()
	defer door.mu.Unlock()
	if k := door.last; k.ClientID != "tasmota" || k.Protocol != "MQTT 5" || !k.Address.IsLoopback() || k.At == 0 {
		t.Errorf("got %+v", k)
	}
	if strings.Contains(h.log.String(), "the-devices-secret") {
		t.Error("the log holds a secret")
	}
}
