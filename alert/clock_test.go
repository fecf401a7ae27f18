package alert

import (
	"testing"
	"time"

	"sensorcast/telemetry"
)

// A sensor that reports every nine minutes never falls silent, whatever the wall clock does; one that stopped does, at most as late as
// the jump, and no later than the time it may be silent.
func TestClock_JumpsInventNothingAndMissNothing(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := settledHouse(t, &shelf{})
				defer h.stop()
				for range 5 {
					wait(8*time.Minute + 30*time.Second)
					h.jump(jump)
					wait(30 * time.Second)
					h.read(1)
				}
				h.want()
				wait(5 * time.Minute)
				h.jump(jump)
				late := time.Duration(0)
				if jump > 0 {
					late = 5 * time.Minute // the machine may have slept: a grace of ten minutes from now
				}
				wait(5*time.Minute + late + 2*time.Second)
				h.want("1 silent")
			})
		})
	}
}

func TestClock_SlewIsNoJump(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		for range 600 { // half a millisecond a second, a thousandfold
			wait(time.Second)
			h.jump(500 * time.Millisecond)
		}
		wait(2 * time.Second)
		h.want("1 silent")
		if s := h.Stats(); s.Graces != 0 {
			t.Errorf("got %d graces, want none", s.Graces)
		}
	})
}

func TestClock_SleepOfTheMachineExcusesEverybody(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		wait(9 * time.Minute)
		h.jump(15 * time.Minute) // while Mono stood still
		wait(9 * time.Minute)
		h.want()
		h.read(1) // it could not in between
		h.wantWithin(10*time.Minute, "1 silent")

		h.read(1)
		h.want("1 online")
		wait(9 * time.Minute)
		h.jump(15 * time.Minute)
		h.wantWithin(10*time.Minute, "1 silent")
	})
}

// A process that was stopped finds the readings of the pause in its sockets, and takes them in by the time of before.
func TestClock_PauseOfTheProcessExcusesEverybody(t *testing.T) {
	var tp timepiece
	tp.now = origin
	tp.advance(0, 0)
	if away := tp.advance(pulse, telemetry.Millis(pulse.Milliseconds())); away != 0 {
		t.Errorf("a pulse later: away %v, want not", away)
	}
	before := tp.now
	away := tp.advance(pulse+15*time.Minute, telemetry.Millis((pulse + 15*time.Minute).Milliseconds()))
	if away != 15*time.Minute || tp.now-before > tenths(pulse/tenth) {
		t.Errorf("after a pause of 15 min: away %v and %v by the watch's own clock, want 15m and %v at most", away, (tp.now - before).duration(), pulse)
	}
	tp.excuse(away, spanOf(time.Hour))
	for _, c := range []struct{ span, want time.Duration }{
		{time.Second, time.Second}, {10 * time.Minute, 10 * time.Minute}, {time.Hour, 15 * time.Minute},
	} {
		if got := (tp.deadline(0, spanOf(c.span)) - tp.now).duration(); got != c.want {
			t.Errorf("grace of a sensor of %v: got %v, want %v", c.span, got, c.want)
		}
	}
}

func TestTimepiece_GracesAddUpToTheLongest(t *testing.T) {
	tp := timepiece{now: origin}
	hour := spanOf(time.Hour)
	tp.excuse(30*time.Minute, hour)
	tp.now += spanOf(10 * time.Minute)
	tp.excuse(time.Minute, hour)
	if got := tp.graceLeft(); got != spanOf(20*time.Minute) {
		t.Errorf("got %v left of the first grace, want 20m", got.duration())
	}
	tp.excuse(maxSilence, hour)
	if got := tp.graceLeft(); got != hour {
		t.Errorf("got a grace of %v, want an hour: nobody needs more", got.duration())
	}
}
