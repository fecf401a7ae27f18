package drive

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sensorcast/bridge"
	"sensorcast/telemetry"
)

// quick registers a sensor that may be silent for a second.
func (p *person) quick(serial string) (secret string) {
	p.s.t.Helper()
	secret = p.sensor(serial)
	p.call("PATCH", "/api/v1/sensors/"+serial, map[string]any{"silence_after": 1}, 200, nil)
	return secret
}

// report sends a reading over HTTP, which returns once it is committed.
func (p *person) report(serial, secret string) {
	p.s.t.Helper()
	if status, text := p.request("POST", "/api/v1/sensors/"+serial+"/telemetry", secret, map[string]any{"n": 1}); status != 202 {
		p.s.t.Fatalf("report of %s: %d %s, want 202", serial, status, text)
	}
}

// state is what REST shows, for itself and as a filter.
func (p *person) state(serial string) telemetry.State {
	p.s.t.Helper()
	var shown struct{ State telemetry.State }
	p.call("GET", "/api/v1/sensors/"+serial, nil, 200, &shown)
	var list struct {
		Items []struct {
			Serial string `json:"serial_no"`
		}
	}
	p.call("GET", "/api/v1/sensors?limit=500&state="+string(shown.State), nil, 200, &list)
	for _, item := range list.Items {
		if item.Serial == serial {
			return shown.State
		}
	}
	p.s.t.Errorf("%s is %s and not in the list of those", serial, shown.State)
	return shown.State
}

// wantStatus reads the next line of mosquitto_sub and checks that it is a status.
func wantStatus(t *testing.T, lines <-chan string, serial string, want telemetry.State) {
	t.Helper()
	select {
	case line := <-lines:
		topic, text, _ := strings.Cut(line, " ")
		var got struct {
			State    telemetry.State
			LastSeen telemetry.Millis `json:"last_seen_at"`
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || topic != "sensors/"+serial+"/status" || got.State != want {
			t.Fatalf("mosquitto_sub printed %q (%v), want the status of %s, %s", line, err, serial, want)
		}
		if (got.LastSeen == 0) != (want == telemetry.StateNeverSeen) {
			t.Errorf("last seen of a sensor that is %s: got %v", want, got.LastSeen)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no status of %s came within 10 s, want %s", serial, want)
	}
}

// nextOfSensor skips what is about the socket.
func nextOfSensor(t *testing.T, c *bridge.Client) bridge.Frame {
	t.Helper()
	for {
		if f := next(t, c); f.SerialNo != "" {
			return f
		}
	}
}

func TestEndToEnd_SilenceIsToldEverywhereAndOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	ann, bob := s.register("ann"), s.register("bob")
	secret := ann.quick("SN1")
	theirs := bob.quick("SN2")
	own := s.mosquittoSub(ann, "sensors/+/status")
	wantStatus(t, own, "SN1", telemetry.StateNeverSeen) // retained
	viewer := ann.watch("SN1")
	bob.report("SN2", theirs) // and ann hears nothing of it

	ann.report("SN1", secret)
	wantStatus(t, own, "SN1", telemetry.StateOnline)
	if f := nextOfSensor(t, viewer); f.Type != "state" || f.State != telemetry.StateOnline {
		t.Errorf("viewer got %s, want online before the reading", f.Raw)
	}
	nextOfSensor(t, viewer) // its reading
	if got := ann.state("SN1"); got != telemetry.StateOnline {
		t.Errorf("REST: got %s, want online", got)
	}
	wantStatus(t, own, "SN1", telemetry.StateSilent)
	if f := nextOfSensor(t, viewer); f.Type != "state" || f.State != telemetry.StateSilent || f.LastSeenAt == 0 {
		t.Errorf("viewer got %s, want silent", f.Raw)
	}
	if got := ann.state("SN1"); got != telemetry.StateSilent {
		t.Errorf("REST: got %s, want silent", got)
	}
	wantStatus(t, s.mosquittoSub(ann, "sensors/SN1/#"), "SN1", telemetry.StateSilent) // retained
	wantStatus(t, s.mosquittoSub(ann, "#"), "SN1", telemetry.StateSilent)

	if err := s.terminate(); err != nil {
		t.Fatal(err)
	}
	s = serve(t, dir)
	ann.s = s
	if got := ann.state("SN1"); got != telemetry.StateSilent {
		t.Errorf("REST after the restart: got %s, want silent", got)
	}
	own = s.mosquittoSub(ann, "sensors/SN1/status")
	wantStatus(t, own, "SN1", telemetry.StateSilent)
	ann.report("SN1", secret)
	wantStatus(t, own, "SN1", telemetry.StateOnline) // nothing came in between
	wantStatus(t, own, "SN1", telemetry.StateSilent)
	ann.call("DELETE", "/api/v1/sensors/SN1", nil, 204, nil)
	select {
	case line := <-own:
		if strings.TrimSpace(line) != "sensors/SN1/status" && line != "sensors/SN1/status (null)" {
			t.Errorf("after the deletion mosquitto_sub printed %q, want an empty message", line)
		}
	case <-time.After(10 * time.Second):
		t.Error("no empty message came within 10 s of the deletion")
	}
}

// TestSilence_KilledAtAnyMomentIsToldOnce kills the server around the moment at which sensors fall silent. Each ends silent with one
// incident that is open, and a subscriber hears of it at most once over all starts; never while it is retained already. Those that return
// have theirs resolved, and in the end there is one for each silence and no other.
func TestSilence_KilledAtAnyMomentIsToldOnce(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	const sensors = 5
	dir := t.TempDir()
	s := serve(t, dir)
	ann := s.register("ann")
	restarted := func() {
		s = serve(t, dir)
		ann.s = s
	}
	returned := map[string]bool{}
	var all []string
	for round := range rounds {
		told, secrets := map[string]int{}, map[string]string{}
		for i := range sensors {
			serial := fmt.Sprintf("SN%d-%d", round, i)
			secrets[serial] = ann.quick(serial)
			all = append(all, serial)
		}
		for serial, secret := range secrets {
			ann.report(serial, secret)
		}
		lines := s.mosquittoSub(ann, "sensors/+/status")
		time.Sleep(time.Second + rand.N(900*time.Millisecond)) // the random moment
		s.kill()
		silences(lines, told)
		restarted()
		before := map[string]bool{}
		for serial := range secrets {
			before[serial] = ann.state(serial) == telemetry.StateSilent
		}
		s.settled(`sensors{state="silent"}`, float64(len(all)-len(returned)))
		if err := s.terminate(); err != nil {
			t.Fatal(err)
		}
		restarted()
		for serial := range secrets {
			if got := ann.state(serial); got != telemetry.StateSilent {
				t.Errorf("round %d: %s ended %s, want silent", round, serial, got)
			}
			if told[serial] > 1 || told[serial] == 1 && !before[serial] {
				t.Errorf("round %d: %s was told silent %d times before the kill, and was silent after it: %v", round, serial, told[serial], before[serial])
			}
		}
		for i := range 2 {
			serial := fmt.Sprintf("SN%d-%d", round, i)
			ann.call("PATCH", "/api/v1/sensors/"+serial, map[string]any{"silence_after": nil}, 200, nil) // it stays online from now on
			ann.report(serial, secrets[serial])
			returned[serial] = true
		}
		time.Sleep(rand.N(time.Second)) // while incidents are resolved
		s.kill()
		restarted()
	}
	open := len(all) - len(returned)
	eventually(t, "incidents to be resolved", func() int { return len(ann.alerts("state=open")) - open })
	for _, serial := range all {
		found := ann.alerts("serial_no=" + serial)
		if len(found) != 1 || (found[0].State == "resolved") != returned[serial] {
			t.Errorf("%s has returned: %v, and has the incidents %+v, want one", serial, returned[serial], found)
		}
	}
}

// silences counts the steps to silent in what was printed.
func silences(lines <-chan string, told map[string]int) {
	for {
		select {
		case line, open := <-lines:
			if !open {
				return
			}
			if topic, text, _ := strings.Cut(line, " "); strings.Contains(text, `"silent"`) {
				told[strings.Split(topic, "/")[1]]++
			}
		case <-time.After(200 * time.Millisecond): // it tries to connect again
			return
		}
	}
}
