package alert

import (
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// reopen stops the server, lets time pass, and starts it on the same shelf.
func (h *house) reopen(away time.Duration) *house {
	h.stop()
	wait(away)
	return openAt(h.t, h.shelf, int64(len(h.shelf.rows)), time.Duration(h.offset.Load()))
}

func TestRestart_AroundTheDeadline(t *testing.T) {
	for _, c := range []struct {
		age  time.Duration // of the last reading at the restart
		want time.Duration // after the restart
	}{
		{9*time.Minute + 59*time.Second, time.Minute}, // it may be on its way to us
		{10 * time.Minute, time.Minute},
		{5 * time.Minute, 5 * time.Minute},
	} {
		t.Run(c.age.String(), func(t *testing.T) {
			in(t, func(t *testing.T) {
				h := settledHouse(t, &shelf{})
				wait(c.age - time.Second)
				h.want()
				h = h.reopen(time.Second)
				h.wantWithin(c.want, "1 silent")
				h.stop()
			})
		})
	}
}

func TestRestart_AfterTheStepDoesNotTakeItAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		wait(10*time.Minute + 2*time.Second)
		h.want("1 silent")
		for range 3 {
			h.crash()
			wait(time.Minute)
			h = open(t, h.shelf, 1)
			wait(time.Hour)
			h.want()
			if state, _ := h.StateOf(1); state != telemetry.StateSilent {
				t.Errorf("after a restart: got %s, want silent", state)
			}
		}
		h.read(1)
		h.want("1 online")
		h.stop()
	})
}

// Nobody is silent because we were down: whoever reports in time after the start has missed nothing, and who is dead is told.
func TestRestart_OutageInventsNothingAndMissesNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		s := &shelf{}
		h := settledHouse(t, s)
		s.rows[2] = &telemetry.Liveness{SensorID: 2, Serial: "S2", LastSeenAt: s.rows[1].LastSeenAt}
		h = h.reopen(30 * time.Minute)
		wait(9*time.Minute + 50*time.Second)
		h.want()
		h.read(1)
		wait(12 * time.Second)
		h.want("2 silent")
		h.stop()
	})
}

func TestRestart_FallingAgainDuringTheGraceGivesTheRest(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		h = h.reopen(30 * time.Minute)
		wait(20 * time.Second) // two beats
		h.crash()
		wait(5 * time.Second)
		h = open(t, h.shelf, 1)
		h.wantWithin(9*time.Minute+35*time.Second, "1 silent")
		h.stop()
	})
}

func TestRestart_ClockBeforeTheHeartbeatGivesAllTheTime(t *testing.T) {
	in(t, func(t *testing.T) {
		s := &shelf{rows: map[int64]*telemetry.Liveness{1: {SensorID: 1, Serial: "S1", SilenceAfter: 2 * time.Hour}}}
		h := open(t, s, 1)
		h.read(1)
		h.want("1 online")
		wait(90 * time.Minute)
		h.stop()
		h = openAt(t, h.shelf, 1, -10*time.Minute) // which is not all it may have been set back by
		h.wantWithin(2*time.Hour, "1 silent")
		h.stop()
	})
}

func TestRestart_FirstStartGivesAllTheTime(t *testing.T) {
	in(t, func(t *testing.T) {
		s := &shelf{rows: map[int64]*telemetry.Liveness{1: {SensorID: 1, Serial: "S1", LastSeenAt: 1}}}
		h := open(t, s, 1)
		h.wantWithin(10*time.Minute, "1 silent")
		h.stop()
	})
}

// Times from before a step of the wall clock do not tell ages after it.
func TestRestart_AfterAJumpOfTheClock(t *testing.T) {
	in(t, func(t *testing.T) {
		s := &shelf{rows: map[int64]*telemetry.Liveness{1: {SensorID: 1, Serial: "S1", SilenceAfter: 2 * time.Hour}}}
		h := open(t, s, 1)
		wait(3 * time.Hour) // past the grace of the first start
		h.read(1)
		h.want("1 online")
		wait(30 * time.Minute)
		h.jump(time.Hour)
		wait(70 * time.Minute)
		h = h.reopen(0)
		wait(19 * time.Minute) // 1 h 59 min of true silence
		h.want()
		wait(101*time.Minute + 2*time.Second)
		h.want("1 silent")
		h.stop()
	})
}

func TestAudit_FindsWhatDiffersAndOnlyThat(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		for range 5 {
			wait(2 * time.Minute)
			h.read(1)
		}
		if s := h.Stats(); s.Audits == 0 || s.Mismatches != 0 {
			t.Fatalf("got %+v, want audits without mismatch", s)
		}
		h.shelf.mu.Lock()
		h.shelf.rows[2] = &telemetry.Liveness{SensorID: 2, Serial: "S2", LastSeenAt: 1} // nobody announced it
		h.shelf.mu.Unlock()
		for range 5 {
			wait(2 * time.Minute)
			h.read(1)
		}
		if s := h.Stats(); s.Mismatches != 1 {
			t.Errorf("got %d mismatches, want 1", s.Mismatches)
		}
		h.dir.Put(auth.Device{SensorID: 3, Serial: "S3"})
		h.AuthorityChanged(auth.Change{Kind: auth.SensorAdded, SensorID: 3, Serial: "S3"})
		h.shelf.mu.Lock()
		h.shelf.rows[3] = &telemetry.Liveness{SensorID: 3, Serial: "S3", SilenceAfter: time.Hour} // a setting nobody announced
		h.shelf.mu.Unlock()
		for range 5 {
			wait(2 * time.Minute)
			h.read(1)
		}
		if s := h.Stats(); s.Mismatches != 2 {
			t.Errorf("got %d mismatches, want 2", s.Mismatches)
		}
	})
}
