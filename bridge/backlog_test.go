package bridge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// words returns a stream's next bytes as "gap A 0 5 4" (after, before, dropped) and "A 5".
func words(t testing.TB, s *stream) (said []string) {
	t.Helper()
	buf, _, _ := s.take(nil, 0, new(counters))
	for _, m := range wholeMessages(buf) {
		var f Frame
		if err := json.Unmarshal(m, &f); err != nil {
			t.Fatal(err)
		}
		switch f.Type {
		case "gap":
			said = append(said, fmt.Sprintf("gap %s %d %d %d", f.SerialNo, f.AfterSeq, f.BeforeSeq, f.Dropped))
		case "reading":
			said = append(said, fmt.Sprintf("%s %d", f.SerialNo, f.Seq))
		default:
			said = append(said, f.Type)
		}
	}
	return said
}

func framed(rm *room, seq int64, late bool) *frame {
	wire, _ := readingFrame(&telemetry.Reading{Serial: rm.serial, Seq: seq, Data: []byte("{}")})
	f := &frame{room: rm, seq: seq, late: late, wire: wire}
	if !late {
		rm.newest.Store(f)
	}
	return f
}

func TestBacklog_AllGapsComeBeforeAnyReading(t *testing.T) {
	a, b := &room{id: 1, serial: "A"}, &room{id: 2, serial: "B"}
	s := &stream{slow: newBacklog()}
	for _, f := range []*frame{framed(a, 1, false), framed(b, 2, false), framed(a, 3, false), framed(a, 4, true), framed(b, 6, false), framed(a, 5, false)} {
		s.slow.add(f)
	}
	// Who has read A 5 and lost the connection then resumes after 5: B's 2 must have been announced by then.
	if got, want := strings.Join(words(t, s), ", "), "gap A 0 5 3, gap B 1 6 1, A 5, B 6"; got != want {
		t.Errorf("a round: got %s, want %s", got, want)
	}
	if s.slow != nil {
		t.Errorf("after the round: got a backlog, want none")
	}
}

func TestBacklog_LateDataAloneIsAnnouncedNotShown(t *testing.T) {
	a := &room{id: 1, serial: "A"}
	s := &stream{slow: newBacklog()}
	framed(a, 10, false)
	s.slow.add(framed(a, 11, true))
	s.slow.add(framed(a, 13, true))
	if got, want := strings.Join(words(t, s), ", "), "gap A 10 14 2"; got != want {
		t.Errorf("late data: got %s, want %s", got, want)
	}
}

// What a round cannot hold it finds in the room; a newer one there is of the next round, and the missed one is announced. Whoever missed its
// turn is held first the next time.
func TestBacklog_HoldsNoMoreThanItsBound(t *testing.T) {
	s := &stream{slow: newBacklog()}
	rooms := make([]*room, 5)
	large := func(rm *room, seq int64) *frame {
		wire, _ := readingFrame(&telemetry.Reading{Serial: rm.serial, Seq: seq, Data: fmt.Appendf(nil, `{"p":"%s"}`, bytes.Repeat([]byte("x"), 40<<10))})
		f := &frame{room: rm, seq: seq, wire: wire}
		rm.newest.Store(f)
		return f
	}
	for i := range rooms {
		rooms[i] = &room{id: int64(i), serial: string(rune('A' + i))}
		s.slow.add(large(rooms[i], int64(i+1)))
	}
	s.slow.cut()
	held := 0
	for _, turn := range s.slow.turns {
		if turn.frame != nil {
			held += len(turn.frame.wire)
		}
	}
	if held == 0 || held > holdBytes {
		t.Errorf("held for a round of 200 KB: got %d bytes, want some and at most %d", held, holdBytes)
	}
	s.slow.add(large(rooms[3], 6)) // D's reading 4 is not held and not the newest any more; E's 5 is
	var said []string
	for range 5 {
		said = append(said, words(t, s)...)
	}
	if got, want := strings.Join(said, ", "), "A 1, B 2, C 3, gap D 3 5 1, E 5, D 6"; got != want {
		t.Errorf("two rounds: got %s, want %s", got, want)
	}
}

func TestViewer_RateBoundsEachSensorAndAnnouncesTheRest(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	a, b := w.sensor(ann, 1), w.sensor(ann, 2)
	w.reading(a, 0)
	w.reading(b, 0)
	c, hello := w.dial(ann)
	c.Send(json.RawMessage(`{"type":"rate","id":1,"max_per_second":20}`))
	w.expect(c, "ack")
	l := ledger{reason: "rate"}
	began := time.Now()
	for i := range 100 {
		l.all = append(l.all, w.reading(a, i), w.reading(b, i))
		time.Sleep(2 * time.Millisecond) // the sensors' own rhythm
	}
	took := time.Since(began)
	for last := l.all[len(l.all)-1].Seq; l.highest < last; {
		l.take(t, w.next(c))
	}
	for _, dev := range []auth.Device{a, b} {
		l.balance(t, dev.Serial, hello.Seq)
		if got, most := len(l.seen[dev.Serial]), int(took/(50*time.Millisecond))+2; got > most {
			t.Errorf("%s in %v at 20 a second: got %d readings, want at most %d", dev.Serial, took, got, most)
		}
	}
	c.Send(json.RawMessage(`{"type":"rate","id":2,"max_per_second":0}`))
	w.expect(c, "ack")
	for i := range 10 {
		w.reading(a, i)
	}
	for range 10 {
		w.expect(c, "reading") // without a gap
	}
}

func TestOutbox_RoundsFollowTheirPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &room{id: 1, serial: "A"}
		var o outbox
		var woken atomic.Int64
		o.init(new(counters), func() { woken.Add(1) })
		o.open = false
		o.setPace(time.Second)
		taken := func() int { return len(wholeMessages(o.Take(nil))) }
		o.push(framed(a, 1, false))
		if got := taken(); got != 1 {
			t.Fatalf("first reading: got %d frames, want it at once", got)
		}
		o.push(framed(a, 2, false))
		o.push(framed(a, 3, false))
		if got := taken(); got != 0 {
			t.Errorf("before the next round: got %d frames, want none", got)
		}
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		if woken.Load() != 0 {
			t.Errorf("woken %d times before the round is due", woken.Load())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := taken(); woken.Load() != 1 || got != 2 {
			t.Errorf("when the round is due: woken %d times for %d frames, want once for a gap and a reading", woken.Load(), got)
		}
		o.push(framed(a, 4, false))
		taken()
		o.setPace(100 * time.Millisecond) // a faster pace does not wait for the slower one's alarm
		if got := taken(); got != 1 {
			t.Errorf("after the pace was changed: got %d frames, want the reading", got)
		}
	})
}

// Many who are too slow at the same reading would hold up everybody, were all that waits for each of them moved at once.
func TestStream_IsConflatedByAndBy(t *testing.T) {
	a, b := &room{id: 1, serial: "A"}, &room{id: 2, serial: "B"}
	s, c, seq := &stream{}, new(counters), int64(0)
	push := func(rm *room, pad int) {
		seq++
		f := framed(rm, seq, false)
		f.wire = append(f.wire, make([]byte, pad)...)
		s.push(f, c)
	}
	for s.slow == nil {
		push(a, 0)
	}
	before := len(s.frames) - s.head
	for step := 1; before > 0; step++ {
		if want := before - conflateStep + 1; len(s.frames) > 0 && step%2 == 0 {
			push(b, 0)
			if left := len(s.frames) - s.head; left != max(want, 0) {
				t.Fatalf("step %d: %d of %d frames are left with one more, want %d", step, left, before, want)
			}
		} else {
			push(a, 20<<10) // large ones among small ones do not make it grow
		}
		if before = len(s.frames) - s.head; s.bytes > maxPending {
			t.Fatalf("step %d: %d bytes wait, want at most %d", step, s.bytes, maxPending)
		}
	}
	if s.bytes != 0 || s.frames != nil || c.conflated.Load() != 1 {
		t.Errorf("in the end %d bytes wait in %d places, conflated %d times", s.bytes, cap(s.frames), c.conflated.Load())
	}
	if a, b := s.slow.lanes[a], s.slow.lanes[b]; a.count+b.count != seq || a.first != 1 || max(a.last, b.last) != seq {
		t.Errorf("%d and %d of %d are counted, from %d to %d and %d", a.count, b.count, seq, a.first, a.last, b.last)
	}
}

// A round cut while frames are still on their way takes them along.
func TestStream_TakenWhileItIsConflated(t *testing.T) {
	a := &room{id: 1, serial: "A"}
	s, c, seq := &stream{}, new(counters), int64(0)
	for s.slow == nil {
		seq++
		s.push(framed(a, seq, false), c)
	}
	if got, want := strings.Join(words(t, s), ", "), fmt.Sprintf("gap A 0 %d %d, A %d", seq, seq-1, seq); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
