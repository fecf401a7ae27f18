package drive

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sensorcast/bridge"
)

// incident is an alert as everybody is shown it.
type incident struct {
	ID     string
	Serial string `json:"serial_no"`
	State  string
	Cause  string
	Text   string `json:"message"`
	By     string `json:"acknowledged_by"`
}

// alerts lists incidents.
func (p *person) alerts(query string) []incident {
	p.s.t.Helper()
	var page struct{ Items []incident }
	p.call("GET", "/api/v1/alerts?limit=500&"+query, nil, 200, &page)
	return page.Items
}

// nextAlert skips frames that are none.
func nextAlert(t *testing.T, c *bridge.Client) (a incident) {
	t.Helper()
	for {
		if f := next(t, c); f.Type == "alert" {
			if err := json.Unmarshal(f.Alert, &a); err != nil || f.SerialNo != a.Serial {
				t.Fatalf("%v in %s", err, f.Raw)
			}
			return a
		}
	}
}

// alertLine reads the next line of mosquitto_sub.
func alertLine(t *testing.T, lines <-chan string) (a incident) {
	t.Helper()
	select {
	case line := <-lines:
		topic, text, _ := strings.Cut(line, " ")
		if err := json.Unmarshal([]byte(text), &a); err != nil || topic != "alerts/"+a.Serial {
			t.Fatalf("mosquitto_sub printed %q (%v), want an alert", line, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no alert came within 10 s")
	}
	return a
}

func TestEndToEnd_AlertSaysWhyAndIsToldEverywhere(t *testing.T) {
	s := serve(t, t.TempDir())
	ann, bob := s.register("ann"), s.register("bob")
	secret := ann.quick("SN1")
	viewer := ann.watch("SN1")
	lines, theirs := s.mosquittoSub(ann, "alerts/+"), s.mosquittoSub(bob, "alerts/#")
	send := func() {
		t.Helper()
		if out, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", `{"t":1}`, "-q", "1"); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	send()
	opened := nextAlert(t, viewer)
	if opened.State != "open" || opened.Cause != "disconnected" || !strings.HasPrefix(opened.Text, "no reading for 1 second; it disconnected at ") {
		t.Errorf("frame: got %+v", opened)
	}
	if got := alertLine(t, lines); got != opened {
		t.Errorf("MQTT: got %+v, want %+v", got, opened)
	}
	if got := ann.alerts("state=open"); len(got) != 1 || got[0] != opened {
		t.Errorf("REST: got %+v, want %+v", got, opened)
	}
	if got := bob.alerts(""); len(got) != 0 {
		t.Errorf("bob is shown %+v", got)
	}
	bob.call("POST", "/api/v1/alerts/"+opened.ID+"/ack", nil, 404, nil)
	ann.call("POST", "/api/v1/alerts/"+opened.ID+"/ack", nil, 200, nil)
	for _, got := range []incident{nextAlert(t, viewer), alertLine(t, lines)} {
		if got.By != "ann" || got.State != "open" {
			t.Errorf("acknowledged: got %+v", got)
		}
	}
	ann.call("PATCH", "/api/v1/sensors/SN1", map[string]any{"silence_after": nil}, 200, nil)
	send()
	for _, got := range []incident{nextAlert(t, viewer), alertLine(t, lines)} {
		if got.ID != opened.ID || got.State != "resolved" {
			t.Errorf("resolved: got %+v", got)
		}
	}
	var timeline struct{ Items []struct{ Event string } }
	ann.call("GET", "/api/v1/sensors/SN1/timeline", nil, 200, &timeline)
	if n := len(timeline.Items); n != 4 || timeline.Items[0].Event != "online" || timeline.Items[3].Event != "created" {
		t.Errorf("timeline: got %+v", timeline)
	}
	select {
	case line := <-theirs:
		t.Errorf("bob heard %q", line)
	default:
	}
}
