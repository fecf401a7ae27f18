package drive

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sensorcast/bridge"
)

// take is what the application behind the client sees. The caller holds mu.
func (f *follower) take(m bridge.Frame) {
	switch m.Type {
	case "hello":
		f.greet(m)
	case "resume":
		f.token = m.Token
		secrets.add("resume token", m.Token)
	case "reading":
		switch {
		case m.Seq <= f.cursor:
			f.failed("reading %d of %s after %d", m.Seq, m.SerialNo, f.cursor)
		case !slices.Contains(f.serials, m.SerialNo):
			f.failed("reading of %s, which was not asked for", m.SerialNo)
		}
		f.cursor = m.Seq
		f.got[m.SerialNo] = append(f.got[m.SerialNo], m.Seq)
		f.latest[m.SerialNo] = m.Seq
		if f.hears != nil {
			f.hears(m.Data)
		}
	case "gap":
		if m.SerialNo == "" {
			f.pending = &m
		} else {
			f.gaps[m.SerialNo] = append(f.gaps[m.SerialNo], m)
			f.excuses[m.Reason]++
		}
	}
}

func (f *follower) greet(m bridge.Frame) {
	withReading := slices.ContainsFunc(m.Sensors, func(s bridge.SensorFrame) bool { return s.Reading != nil })
	switch {
	case m.Resumed && (m.Seq != f.cursor || m.Epoch != f.epoch || withReading):
		f.failed("resumed at %d of %s, readings: %v; want it at %d of %s, without", m.Seq, m.Epoch, withReading, f.cursor, f.epoch)
	case !m.Resumed && f.hellos > 0 && f.pending == nil:
		f.failed("a fresh hello at %d without a gap before it", m.Seq)
	case !m.Resumed && f.hellos > 0 && (f.pending.AfterSeq > f.cursor || f.pending.BeforeSeq != m.Seq+1):
		f.failed("gap (%d, %d) before a hello at %d, having read up to %d", f.pending.AfterSeq, f.pending.BeforeSeq, m.Seq, f.cursor)
	}
	if !m.Resumed {
		if f.pending != nil {
			f.lost = append(f.lost, f.pending.Reason)
		}
		// It begins anew: what was before has been checked, or cannot be.
		f.start, f.pending = m.Seq, nil
		clear(f.gaps)
		clear(f.got)
		clear(f.latest)
		for _, s := range m.Sensors {
			if s.Reading != nil {
				f.latest[s.SerialNo] = s.Reading.Seq
			}
		}
	}
	f.hellos++
	f.cursor, f.epoch = m.Seq, m.Epoch
}

// balance checks that of what is stored it was sent every reading up to where it has read, once, or told that it was not. exactly: gaps say
// how many they leave out, and nothing is sent that they do, as is so while a connection lasts.
func (f *follower) balance(log map[string][]kept, exactly bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault != nil {
		return f.fault
	}
	for _, serial := range f.serials {
		got, gaps := f.got[serial], f.gaps[serial]
		left := make([]int64, len(gaps)) // how many readings are in each gap
		for _, r := range log[serial] {
			if r.Seq <= f.start || r.Seq > f.cursor {
				continue
			}
			announced := 0
			for i, g := range gaps {
				if g.AfterSeq < r.Seq && r.Seq < g.BeforeSeq {
					left[i]++
					announced++
				}
			}
			_, sent := slices.BinarySearch(got, r.Seq)
			switch {
			case !sent && announced == 0:
				return fmt.Errorf("reading %d of %s was neither sent nor announced as left out; read from %d to %d", r.Seq, serial, f.start, f.cursor)
			case exactly && (announced > 1 || sent && announced > 0):
				return fmt.Errorf("reading %d of %s was sent (%v) and announced %d times", r.Seq, serial, sent, announced)
			}
		}
		for i, g := range gaps {
			if exactly && (left[i] != g.Dropped || g.Dropped == 0) {
				return fmt.Errorf("gap (%d, %d) of %s says %d left out, got %d", g.AfterSeq, g.BeforeSeq, serial, g.Dropped, left[i])
			}
		}
	}
	return nil
}

// caughtUp waits until all of them know of the newest reading of each of their sensors.
func caughtUp(t testing.TB, all []*follower, log map[string][]kept) {
	t.Helper()
	eventually(t, "all viewers to have the newest readings", func() (left int) {
		for _, f := range all {
			f.mu.Lock()
			for _, serial := range f.serials {
				if stored := log[serial]; len(stored) > 0 && f.latest[serial] < stored[len(stored)-1].Seq {
					left++
					break
				}
			}
			f.mu.Unlock()
		}
		return left
	})
}

// ends is how connections ended, and how many did so.
func ends(all []*follower) map[string]int {
	how := map[string]int{}
	for _, f := range all {
		f.mu.Lock()
		for _, err := range f.ends {
			if inner := errors.Unwrap(err); inner != nil {
				err = inner // without its port
			}
			how[err.Error()]++
		}
		f.mu.Unlock()
	}
	return how
}

// balanced checks all of them against what is stored.
func balanced(t testing.TB, all []*follower, log map[string][]kept, exactly bool) {
	t.Helper()
	wrong := 0
	for i, f := range all {
		if err := f.balance(log, exactly); err != nil {
			if wrong++; wrong <= 3 {
				t.Errorf("viewer %d: %v", i, err)
			}
		}
	}
	if wrong > 3 {
		t.Errorf("and %d more viewers like that", wrong-3)
	}
}

// shownIsKept checks that everything that viewers were shown is stored under its seq too: or somebody who asks for the history, or comes
// back, is told something else.
func shownIsKept(t testing.TB, all []*follower, log map[string][]kept) {
	t.Helper()
	for i, f := range all {
		f.mu.Lock()
		for serial, got := range f.got {
			for _, seq := range got {
				at, stored := slices.BinarySearchFunc(log[serial], seq, func(r kept, seq int64) int { return cmp.Compare(r.Seq, seq) })
				if !stored {
					t.Errorf("viewer %d was sent reading %d of %s, which is not stored; stored are %d before it and %d after it",
						i, seq, serial, at, len(log[serial])-at)
					break
				}
			}
		}
		f.mu.Unlock()
	}
}

// eventually waits until nothing is left.
func eventually(t testing.TB, what string, left func() int) {
	t.Helper()
	deadline := time.Now().Add(2 * patience)
	for {
		n := left()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %d are left", 2*patience, what, n)
		}
		time.Sleep(20 * time.Millisecond) // others do the work
	}
}
