package drive

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// measures sends a reading over HTTP, which returns once it is committed; false when the server is gone.
func (p *person) measures(serial, secret string, t float64) bool {
	p.s.t.Helper()
	status, _, err := p.try("POST", "/api/v1/sensors/"+serial+"/telemetry", secret, map[string]any{"t": t})
	return err == nil && status == 202
}

func TestEndToEnd_RuleIsToldEverywhere(t *testing.T) {
	s := serve(t, t.TempDir())
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	viewer := ann.watch("SN1")
	lines := s.mosquittoSub(ann, "alerts/+")
	ann.call("POST", "/api/v1/rules", map[string]any{"name": "Too hot", "serial_no": "SN1", "metric": "t", "op": ">", "value": 30, "clear_value": 28}, 201, nil)
	for _, v := range []float64{20, 31, 29, 28} {
		if !ann.measures("SN1", secret, v) {
			t.Fatal("not stored")
		}
	}
	opened := nextAlert(t, viewer)
	if opened.State != "open" || opened.Cause != "threshold" || opened.Text != "Too hot: t is 31, above 30" {
		t.Errorf("frame: got %+v", opened)
	}
	if got := alertLine(t, lines); got != opened {
		t.Errorf("MQTT: got %+v, want %+v", got, opened)
	}
	resolved := nextAlert(t, viewer)
	if got := ann.alerts("state=resolved"); len(got) != 1 || got[0] != resolved {
		t.Errorf("REST: got %+v, want %+v", got, resolved)
	}
}

// TestRules_KilledAtAnyMomentOpenOneEach kills the server around the moment at which measurements break a rule or are well again. In the end each
// time that a committed reading broke it is one incident, and there is no other.
func TestRules_KilledAtAnyMomentOpenOneEach(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	const sensors = 5
	dir := t.TempDir()
	s := serve(t, dir)
	ann := s.register("ann")
	want, firing, secrets := map[string]int{}, map[string]bool{}, map[string]string{}
	rule := map[string]any{"name": "Too hot", "tag": "attic", "metric": "t", "op": ">", "value": 30}
	ann.call("POST", "/api/v1/rules", rule, 201, nil)
	tidy := func(round int) {
		for i := range sensors {
			serial := fmt.Sprintf("SN%d-%d", round, i)
			secrets[serial] = ann.sensor(serial)
			ann.call("PATCH", "/api/v1/sensors/"+serial, map[string]any{"tags": []string{"attic"}}, 200, nil)
		}
		s.settled("rule_sensors", float64(len(secrets)))
	}
	for round := range rounds {
		tidy(round)
		for i := range sensors {
			serial := fmt.Sprintf("SN%d-%d", round, i)
			for range 1 + rand.IntN(3) {
				v := 20 + 20*float64(rand.IntN(2))
				if !ann.measures(serial, secrets[serial], v) {
					t.Fatal("not stored")
				}
				if v > 30 && !firing[serial] {
					want[serial]++
				}
				firing[serial] = v > 30
			}
		}
		time.Sleep(rand.N(1200 * time.Millisecond)) // the random moment
		s.kill()
		s = serve(t, dir)
		ann.s = s
	}
	open := 0
	for serial := range secrets {
		if firing[serial] {
			open++
		}
	}
	eventually(t, "incidents of rules", func() int { return len(ann.alerts("state=open")) - open })
	for serial := range secrets {
		found := ann.alerts("serial_no=" + serial)
		still := 0
		for _, a := range found {
			if a.State == "open" {
				still++
			}
			if !strings.HasPrefix(a.Text, "Too hot: t is 40") {
				t.Errorf("%s: got %+v", serial, a)
			}
		}
		if len(found) != want[serial] || (still == 1) != firing[serial] {
			t.Errorf("%s broke the rule %d times, the last still: %v, and has the incidents %+v", serial, want[serial], firing[serial], found)
		}
	}
}
