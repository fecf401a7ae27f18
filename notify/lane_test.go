package notify

import (
	"testing"
	"time"

	"sensorcast/telemetry"
)

func TestLanes_AHostHasTwoPlacesAndACircuit(t *testing.T) {
	l, now := lanes{}, time.Now()
	for i, want := range []bool{true, true, false} {
		if got := l.enter("a", now); got != want {
			t.Errorf("place %d: got %v, want %v", i+1, got, want)
		}
	}
	if got := l.closed(now); !l.enter("b", now) || len(got) != 1 || got[0] != "a" {
		t.Errorf("another host has no place, or %v are closed, want a", got)
	}
	l.leave("a", worked, now)
	l.leave("a", worked, now)
	for i := range circuitAfter {
		if !l.enter("a", now) {
			t.Fatalf("after %d failures: no place", i)
		}
		if opened := l.leave("a", blamed, now); opened != (i == circuitAfter-1) {
			t.Errorf("failure %d: opened is %v", i+1, opened)
		}
	}
	if l.enter("a", now) || l.open(now) != 1 || !l.enter("b", now) {
		t.Error("an open circuit has a place, or closes another host's")
	}
	now = now.Add(circuitFor)
	for i, want := range []bool{true, false} { // one attempt decides
		if got := l.enter("a", now); got != want {
			t.Errorf("after its time, place %d: got %v, want %v", i+1, got, want)
		}
	}
	l.leave("a", blamed, now)
	if l.enter("a", now.Add(circuitFor-1)) {
		t.Error("it failed again: want it to be left alone as long again")
	}
	now = now.Add(circuitFor)
	l.enter("a", now)
	l.leave("a", worked, now)
	for i := range hostPlaces {
		if !l.enter("a", now) {
			t.Errorf("it works again, and has no place %d", i+1)
		}
	}
	l.leave("a", noBlame, now)
	l.leave("a", noBlame, now)
	l.leave("b", noBlame, now)
	l.leave("b", noBlame, now)
	if l.forget(now.Add(forgetLane + 1)); len(l) != 0 {
		t.Errorf("%d lanes are left, want none", len(l))
	}
}

// 1 min, doubled up to 6 h; what has waited a day is given up with the first failure after.
func TestSettlement_KeepsTheSchedule(t *testing.T) {
	start := telemetry.Now()
	now, c := start, Channel{ID: 7}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360, 360}
	for i, minutes := range want {
		s := settlement(c, []Delivery{{ID: 1, Attempts: i}}, outcome{words: "answered with 500"}, now)
		if got, middle := s.RetryAt.Sub(now), minutes*time.Minute; got < middle*8/10 || got > middle*12/10 {
			t.Errorf("after failure %d: got %s, want %s, a fifth more or less", i+1, got, middle)
		}
		if s.Failures != i+1 || s.Deliveries[0].Attempts != i+1 || s.Deliveries[0].State != Waiting || s.Deliveries[0].Error == "" {
			t.Errorf("failure %d: got %+v", i+1, s)
		}
		if gives := s.GiveUp > 0; gives != (i+1 >= patientFor) || gives && s.GiveUp != now.Add(-patience) {
			t.Errorf("failure %d: gives up what is older than %v", i+1, s.GiveUp)
		}
		c.Failures, now = s.Failures, now.Add(minutes*time.Minute)
	}
	if total := now.Sub(start); total < patience || total > 36*time.Hour {
		t.Errorf("the schedule covers %s", total)
	}
	if s := settlement(c, []Delivery{{}}, outcome{}, now); s.Failures != 0 || s.RetryAt != 0 || s.Deliveries[0].State != Sent || s.Deliveries[0].Error != "" {
		t.Errorf("success: got %+v", s)
	}
	if s := settlement(c, []Delivery{{}}, outcome{words: "x", final: true}, now); s.Failures != 0 || s.Deliveries[0].State != Failed {
		t.Errorf("refusal: got %+v", s)
	}
	if s := settlement(Channel{}, []Delivery{{}}, outcome{words: "answered with 429", after: time.Hour}, now); s.RetryAt != now.Add(time.Hour) {
		t.Errorf("Retry-After of an hour: got %s", s.RetryAt.Sub(now))
	}
}
