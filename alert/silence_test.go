package alert

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// in runs a test by a clock that runs as fast as it can.
func in(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// settledHouse has one sensor that was just heard, and no grace left.
func settledHouse(t *testing.T, s *shelf) *house {
	h := open(t, s, 1)
	h.read(1)
	for range 3 {
		wait(5 * time.Minute)
		h.read(1)
	}
	h.want("1 online")
	return h
}

func TestSilence_IsToldOnTimeAndOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		for range 3 {
			h.wantWithin(10*time.Minute, "1 silent")
			wait(24*time.Hour + 133*time.Millisecond) // somewhere between two looks at the time
			h.want()
			h.read(1)
			h.want("1 online")
		}
	})
}

func TestSilence_ComesAfterTheLastReadingWheneverThatWas(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		for i := range 40 { // deadlines are looked at again again and again
			wait(time.Duration(i) * 15 * time.Second)
			h.read(1)
		}
		h.wantWithin(10*time.Minute, "1 silent")
		if n := h.places(); n != 0 {
			t.Errorf("got %d deadlines of a silent sensor, want none", n)
		}
	})
}

func TestSilence_NeverSeenIsNotSilent(t *testing.T) {
	in(t, func(t *testing.T) {
		h := open(t, &shelf{}, 3)
		defer h.stop()
		wait(48 * time.Hour)
		h.want()
		if s := h.Stats(); s.NeverSeenNow != 3 {
			t.Errorf("got %+v, want 3 sensors never seen", s)
		}
	})
}

func TestSilence_FollowsTheSensorsOwnSetting(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		change := func(d time.Duration) {
			h.AuthorityChanged(auth.Change{Kind: auth.SensorChanged, SensorID: 1, Serial: "S1", SilenceAfter: d})
		}
		change(time.Minute)
		h.wantWithin(time.Minute, "1 silent")
		change(time.Hour) // a silence ends with a reading, not with a setting
		wait(time.Minute)
		h.want()
		h.read(1)
		h.want("1 online")
		h.wantWithin(time.Hour, "1 silent")
		h.read(1)
		h.want("1 online")
		wait(30 * time.Minute)
		change(10 * time.Minute) // over already
		h.wantWithin(time.Millisecond, "1 silent")
	})
}

func TestSilence_ManyChangesLeaveOneDeadline(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		for range 1000 {
			for _, d := range []time.Duration{time.Hour, 5 * time.Minute} {
				h.AuthorityChanged(auth.Change{Kind: auth.SensorChanged, SensorID: 1, Serial: "S1", SilenceAfter: d})
			}
		}
		if n := h.places(); n > 2 {
			t.Errorf("got %d deadlines of one sensor, want 2 at most", n)
		}
		h.wantWithin(5*time.Minute, "1 silent")
	})
}

func TestSilence_SensorsComeAndGo(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		h.dir.Put(auth.Device{SensorID: 2, Serial: "S2"})
		h.shelf.rows[2] = &telemetry.Liveness{SensorID: 2, Serial: "S2"}
		h.read(2) // before its announcement
		h.want("2 online")
		h.AuthorityChanged(auth.Change{Kind: auth.SensorAdded, SensorID: 2, Serial: "S2", SilenceAfter: time.Minute})
		h.wantWithin(time.Minute, "2 silent")

		h.dir.Remove("S1")
		h.AuthorityChanged(auth.Change{Kind: auth.SensorRemoved, SensorID: 1, Serial: "S1"})
		h.observe(1) // was still on its way
		wait(time.Hour)
		h.want()
		h.AuthorityChanged(auth.Change{Kind: auth.SensorAdded, SensorID: 1, Serial: "S1"}) // it lost a race
		if s := h.Stats(); s.OnlineNow+s.NeverSeenNow != 0 || s.SilentNow != 1 {
			t.Errorf("got %+v, want one sensor, silent", s)
		}
	})
}

func TestRace_ReadingCommittedBeforeTheMarkWins(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		h.shelf.set(&h.shelf.before, func() { h.read(1) })
		wait(10*time.Minute + 2*time.Second)
		h.want()
		h.wantWithin(10*time.Minute-2*time.Second, "1 silent")
	})
}

func TestRace_ReadingDuringTheMarkEndsASilenceThatWasDurable(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		h.shelf.set(&h.shelf.after, func() { h.read(1) })
		wait(10*time.Minute + 2*time.Second)
		h.want("1 silent", "1 online")
		if state, _ := h.StateOf(1); state != telemetry.StateOnline {
			t.Errorf("got %s, want online", state)
		}
		h.wantWithin(10*time.Minute-2*time.Second, "1 silent")
	})
}

// What was shown and never stored was no sign of life once the store has answered; what only waits for its commit is.
func TestRace_ObservedReadingThatIsNotStored(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		wait(time.Second)
		h.observe(1)
		wait(10*time.Minute + 2*time.Second)
		h.want()
		wait(31 * time.Second)
		h.want("1 silent")

		h.read(1)
		h.want("1 online")
		wait(time.Second)
		at := h.observe(1)
		wait(10*time.Minute + 10*time.Second)
		h.shelf.commit(1, at) // ten minutes late
		wait(25 * time.Second)
		h.want()
		wait(60 * time.Second)
		h.want("1 silent")
	})
}

func TestRace_FirstReadingThatIsNotStoredWasNone(t *testing.T) {
	in(t, func(t *testing.T) {
		h := open(t, &shelf{}, 1)
		defer h.stop()
		h.observe(1)
		h.want("1 online")
		wait(12 * time.Minute)
		h.want("1 never_seen")
		wait(12 * time.Minute)
		h.want()
	})
}

func TestStore_FailureDelaysAndLosesNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		h := settledHouse(t, &shelf{})
		defer h.stop()
		h.shelf.mu.Lock()
		h.shelf.err = errors.New("disk full")
		h.shelf.mu.Unlock()
		wait(20 * time.Minute)
		h.want()
		h.shelf.mu.Lock()
		h.shelf.err = nil
		h.shelf.mu.Unlock()
		wait(7 * time.Second)
		h.want("1 silent")
	})
}

// A reading that comes while watchers are being told of the silence is told of after that.
func TestRace_WatchersHearStepsInOrder(t *testing.T) {
	h := open(t, &shelf{}, 1) // by the real clock: what waits for a lock keeps a bubble's from moving
	h.stop()
	h.observe(1)
	var reading sync.WaitGroup
	h.during = func() {
		h.during = nil
		reading.Go(func() { h.observe(1) })
		time.Sleep(20 * time.Millisecond) // for as long as it could overtake
	}
	h.settle(suspect{1, h.now, h.roll.find(1).seen}, &telemetry.Liveness{SensorID: 1, Serial: "S1", LastSeenAt: 1, SilentFrom: 1})
	reading.Wait()
	if want := []string{"1 online", "1 silent", "1 online"}; !slices.Equal(h.told, want) {
		t.Errorf("got told %q, want %q", h.told, want)
	}
}
