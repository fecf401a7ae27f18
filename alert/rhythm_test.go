package alert

import (
	"testing"
	"time"

	"sensorcast/auth"
)

// learn has sensors report every minute until their rhythm is known.
func (w *ward) learn(sensors ...int) {
	w.t.Helper()
	w.readEvery(time.Minute, 50*time.Minute, sensors...)
	for _, n := range sensors {
		if c, known := w.Cadence(int64(n)); !known || c.Typical.Round(time.Second) != time.Minute {
			w.t.Fatalf("S%d: got %+v, %v; want a minute", n, c, known)
		}
	}
	w.forget()
}

func TestRhythm_SaysWhenASensorIsSilent(t *testing.T) {
	inWard(t, 2, func(w *ward) {
		w.learn(1, 2)
		wait(3*time.Minute - time.Second)
		w.want()
		wait(10 * time.Second)
		if w.told == nil || w.alerts[0].Message != "no reading for 3 minutes, usually there is one every 60 seconds" {
			t.Errorf("got %+v, want why in words", w.alerts)
		}
		w.want("S1 silent", "S1 open") // S2 goes by the setting
		wait(7 * time.Minute)
		w.want("S2 silent", "S2 open")
	}, 1)
}

func TestRhythm_SettingCountsUntilItIsKnown(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.readEvery(time.Minute, 10*time.Minute, 1)
		wait(9 * time.Minute)
		w.want()
		wait(2 * time.Minute)
		w.want("S1 silent", "S1 open")
	}, 1)
}

// A deadline that lies in the heap by the setting does not keep one by the rhythm waiting.
func TestRhythm_CountsFromTheMomentItIsKnown(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		for {
			if _, known := w.Cadence(1); known {
				break
			}
			w.readEvery(32*time.Second, 32*time.Second, 1)
		}
		w.want()
		wait(4 * time.Minute)
		w.want("S1 silent", "S1 open")
	}, 1)
}

// A sensor that reports once in a while is not silent in between, once that is known; until then each time.
func TestRhythm_OfASlowSensorIsLearnedThroughItsSilences(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.readEvery(12*time.Minute, 6*time.Hour, 1)
		w.forget()
		w.readEvery(12*time.Minute, 2*time.Hour, 1)
		w.want()
		wait(35 * time.Minute)
		w.want()
		wait(5 * time.Minute)
		w.want("S1 silent", "S1 open")
	}, 1)
}

func TestRhythm_SwitchedOnCountsAtOnce(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.learn(1)
		w.AuthorityChanged(auth.Change{Kind: auth.SensorChanged, SensorID: 1, Serial: "S1", SilenceLearned: true})
		wait(3*time.Minute + 10*time.Second)
		w.want("S1 silent", "S1 open")
		w.AuthorityChanged(auth.Change{Kind: auth.SensorChanged, SensorID: 1, Serial: "S1"})
		w.read(1)
		wait(time.Second)
		w.forget()
		wait(9 * time.Minute)
		w.want()
	})
}

func TestRhythm_OutlivesARestartAndOurOutageIsNoGap(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.learn(1)
		wait(beatEvery) // it is written down with the next beat
		w.restart(5 * time.Hour)
		w.read(1)
		if c, known := w.Cadence(1); !known || c.Long > 70*time.Second {
			t.Errorf("after the restart: got %+v, %v; want it as it was", c, known)
		}
		w.readEvery(time.Minute, 10*time.Minute, 1)
		w.forget()
		wait(2*time.Minute + 55*time.Second)
		w.want()
		wait(15 * time.Second)
		w.want("S1 silent", "S1 open")
	}, 1)
}

func TestRhythm_JumpOfTheClockIsNoGap(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.learn(1)
		for _, jump := range []time.Duration{time.Hour, -time.Hour, 30 * time.Second, -30 * time.Second} {
			w.offset.Add(int64(jump))
			w.readEvery(time.Minute, 2*time.Minute, 1)
		}
		if c, _ := w.Cadence(1); c.Long > 61*time.Second || c.Typical < 59500*time.Millisecond {
			t.Errorf("got %+v, want a minute", c)
		}
	})
}

// Several readings in one message, or sent again after an outage, are one sign of life.
func TestRhythm_BurstIsOneReading(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		for range 25 {
			wait(time.Minute)
			for range 5 {
				w.read(1)
			}
		}
		if c, known := w.Cadence(1); !known || c.Typical.Round(time.Second) != time.Minute {
			t.Errorf("got %+v, %v; want a minute", c, known)
		}
	})
}
