package simulator

import (
	"math"
	"testing"
	"time"
)

func TestFaults_StrikeTheirShareAndAlwaysTheSame(t *testing.T) {
	f := Faults{Duplicate: 0.1, Garbage: 0.05, Late: 0.02}
	counts := map[fault]int{}
	const n = 100_000
	for i := range uint64(n) {
		strike := f.strike(9, i)
		if strike != f.strike(9, i) {
			t.Fatalf("message %d is struck differently the second time", i)
		}
		counts[strike]++
	}
	for fault, want := range map[fault]float64{faultDuplicate: 0.1, faultGarbage: 0.05, faultLate: 0.02, faultNone: 0.83} {
		if got := float64(counts[fault]) / n; math.Abs(got-want) > 0.005 {
			t.Errorf("fault %d: got share %.4f want %.4f", fault, got, want)
		}
	}
}

func TestFaults_SilenceComesAndGoesOnSchedule(t *testing.T) {
	f := Faults{Silence: 0.5}.withDefaults()
	affected := 0
	for seed := range uint64(200) {
		begins, was := 0, false
		for at := afternoon; at.Before(afternoon.Add(10 * f.SilenceEvery)); at = at.Add(5 * time.Second) {
			until, _, silent := f.silence(seed, at)
			if silent && !was {
				begins++
			}
			if silent {
				if _, _, still := f.silence(seed, until); still || until.Sub(at) > f.SilenceFor {
					t.Fatalf("seed %d at %v: said to end at %v", seed, at, until)
				}
			}
			was = silent
		}
		if begins > 0 {
			affected++
			if begins < 9 || begins > 11 {
				t.Errorf("seed %d: %d silences in 10 periods", seed, begins)
			}
		}
	}
	if affected < 70 || affected > 130 {
		t.Errorf("%d of 200 sensors fall silent, want about 100", affected)
	}
}

func TestAfter_KeepsThePhase(t *testing.T) {
	due := afternoon
	for _, c := range []struct{ at, want time.Duration }{
		{-time.Hour, time.Minute}, {0, time.Minute}, {59 * time.Second, time.Minute},
		{time.Minute, 2 * time.Minute}, {10*time.Minute + time.Second, 11 * time.Minute},
	} {
		if got := after(due, time.Minute, due.Add(c.at)).Sub(due); got != c.want {
			t.Errorf("after due%+v: got due+%v want due+%v", c.at, got, c.want)
		}
	}
}

func TestBackoff_DoublesUpToTheCapWithJitter(t *testing.T) {
	b := backoff{min: 100 * time.Millisecond, max: time.Second, seed: 4}
	for i, full := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		full *= time.Millisecond
		if got := b.next(); got < full/2 || got > full {
			t.Errorf("delay %d: got %v want between %v and %v", i, got, full/2, full)
		}
	}
	b.reset()
	if got := b.next(); got > 100*time.Millisecond {
		t.Errorf("after reset: got %v want at most 100ms", got)
	}
	other := backoff{min: time.Second, max: time.Second, seed: 5}
	this := backoff{min: time.Second, max: time.Second, seed: 6}
	if other.next() == this.next() {
		t.Error("two sensors wait for exactly the same time")
	}
}
