package drive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sensorcast/bridge"
)

// witness is one connection whose authority somebody takes away, or does not. It knows what it last heard or had acknowledged of each
// sensor, by the time the sender had then, and when and how its connection ended.
type witness struct {
	who  string
	over chan struct{} // closed at the end of its connection

	mu   sync.Mutex // guards all below
	seen map[string]int64
	told map[string]time.Time // of sensors it heard are deleted: when
	end  time.Time
	code int // of the end: of the close frame, or of DISCONNECT; none without
}

const none = -1

// sendEvery is the pause of witnesses that publish.
const sendEvery = 50 * time.Millisecond

func newWitness(who string) *witness {
	return &witness{who: who, over: make(chan struct{}), seen: map[string]int64{}, told: map[string]time.Time{}}
}

// stamped is a reading that says when it was sent.
func stamped() (at int64, data string) {
	at = time.Now().UnixMicro()
	return at, fmt.Sprintf(`{"at":%d}`, at)
}

func (w *witness) saw(serial string, at int64) {
	w.mu.Lock()
	w.seen[serial] = max(w.seen[serial], at)
	w.mu.Unlock()
}

func (w *witness) ended(code int) {
	w.mu.Lock()
	w.end, w.code = time.Now(), code
	w.mu.Unlock()
	close(w.over)
}

// socket opens a WebSocket with a ticket and reads it, also when it is a sensor's own.
func (p *person) socket(t testing.TB, who, path string, asked map[string]any) *witness {
	t.Helper()
	var ticket struct{ Ticket string }
	p.call("POST", path, asked, 201, &ticket)
	ws, _, err := p.s.viewer(context.Background(), "ticket", ticket.Ticket, url.Values{}, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	w := newWitness(who)
	go w.watch(ws) // ends with the connection
	if serial, ok := asked["serial_no"].(string); ok {
		go w.send(ws, serial) // as does this
	}
	return w
}

func (w *witness) watch(ws *websocket.Conn) {
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			code := none
			if closed := (*websocket.CloseError)(nil); errors.As(err, &closed) {
				code = closed.Code
			}
			w.ended(code)
			return
		}
		var m bridge.Frame
		if json.Unmarshal(text, &m) != nil {
			continue // shown by what is missing
		}
		switch m.Type {
		case "reading":
			if r, err := measure(m.Data); err == nil {
				w.saw(m.SerialNo, r.At)
			}
		case "ack":
			var at int64
			if json.Unmarshal(m.ID, &at) == nil {
				w.saw("itself", at)
			}
		case "resume":
			secrets.add("resume token", m.Token)
		case "error":
			w.mu.Lock()
			w.told[m.SerialNo] = time.Now()
			w.mu.Unlock()
		}
	}
}

// send has a sensor's own socket send readings.
func (w *witness) send(ws *websocket.Conn, serial string) {
	for w.lasts() {
		at, data := stamped()
		if ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"id":%d,"data":%s}`, at, data)) != nil {
			return
		}
	}
}

// lasts waits for the next turn; false: the connection has ended.
func (w *witness) lasts() bool {
	select {
	case <-w.over:
		return false
	case <-time.After(sendEvery):
		return true
	}
}

// publisher logs a sensor in and has it publish with QoS 1.
func (s *instance) publisher(t testing.TB, who, serial, secret string, version byte) *witness {
	t.Helper()
	d := s.enters(t, login{role: role{serial, secret}, id: serial, version: version})
	w := newWitness(who)
	go func() { // ends with the connection
		for n := 1; ; n++ {
			at, data := stamped()
			m := publication{topic: "sensors/" + serial + "/telemetry", payload: data, qos: 1, id: n%1000 + 1}
			_ = d.send(m.packet(version)) // a failure shows at the next read
			ack, code := d.answer(pPuback)
			if ack == nil {
				w.ended(code)
				return
			}
			if ack.code == 0 {
				w.saw("itself", at)
			}
			time.Sleep(sendEvery) // the rate of the load
		}
	}()
	return w
}

// subscriber logs a person in and has it listen to all its sensors.
func (s *instance) subscriber(t testing.TB, who string, p *person) *witness {
	t.Helper()
	d := s.enters(t, login{role: role{p.name, p.password}, id: "eyes", version: 5})
	if err := d.subscribe(0, "sensors/+/telemetry"); err != nil {
		t.Fatal(err)
	}
	w := newWitness(who)
	go func() { // ends with the connection
		for {
			m, code := d.answer(pPublish)
			if m == nil {
				w.ended(code)
				return
			}
			if r, err := measure(json.RawMessage(m.payload)); err == nil {
				w.saw(m.topic[len("sensors/"):len(m.topic)-len("/telemetry")], r.At)
			}
		}
	}()
	return w
}

func (s *instance) enters(t testing.TB, l login) *client {
	t.Helper()
	d, err := s.client("tcp", l)
	if err != nil {
		t.Fatalf("login of %s: %v", l.name, err)
	}
	t.Cleanup(d.vanish)
	return d
}

// answer reads until a packet of the kind comes; nil: the connection ended, with the code of DISCONNECT.
func (c *client) answer(kind int) (got *packet, code int) {
	for {
		p, err := c.read()
		switch {
		case err != nil:
			return nil, none
		case p.kind() == kind:
			return &p, 0
		case p.kind() == pDisconnect:
			return nil, int(p.code)
		}
	}
}

// knows returns a copy of what it has seen.
func (w *witness) knows() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.seen)
}
