package bridge

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// ledger holds what one session received against what was measured: each reading is delivered or announced as left out, exactly once.
type ledger struct {
	all     past
	reason  string // of the gaps; slow when empty
	seen    map[string][]int64
	gaps    map[string][]Frame
	highest int64
	state   map[string]telemetry.State
}

func (l *ledger) take(t testing.TB, f Frame) {
	t.Helper()
	if l.seen == nil {
		l.seen, l.gaps, l.state = map[string][]int64{}, map[string][]Frame{}, map[string]telemetry.State{}
	}
	switch f.Type {
	case "reading":
		if f.Seq <= l.highest {
			t.Fatalf("seq %d after %d", f.Seq, l.highest)
		}
		l.highest = f.Seq
		l.seen[f.SerialNo] = append(l.seen[f.SerialNo], f.Seq)
	case "gap":
		if want := cmp.Or(l.reason, "slow"); f.Reason != want {
			t.Errorf("gap: got reason %q, want %s", f.Reason, want)
		}
		l.gaps[f.SerialNo] = append(l.gaps[f.SerialNo], f)
	case "state":
		l.state[f.SerialNo] = f.State
	}
}

// balance checks one sensor after everything was taken.
func (l *ledger) balance(t testing.TB, serial string, since int64) {
	t.Helper()
	accounted := slices.Clone(l.seen[serial])
	for _, gap := range l.gaps[serial] {
		n := int64(0)
		for _, r := range l.all {
			if r.Serial == serial && r.Seq > gap.AfterSeq && r.Seq < gap.BeforeSeq {
				accounted = append(accounted, r.Seq)
				n++
			}
		}
		if n != gap.Dropped || n == 0 {
			t.Errorf("%s: gap (%d, %d) says %d dropped, got %d readings there", serial, gap.AfterSeq, gap.BeforeSeq, gap.Dropped, n)
		}
	}
	slices.Sort(accounted)
	if want := l.all.after([]string{serial}, since); !slices.Equal(accounted, want) {
		t.Errorf("%s: %d readings delivered or announced, want each of %d once", serial, len(accounted), len(want))
	}
	if want := l.all.newest(serial, 1<<60).Seq; want > since && !slices.Contains(l.seen[serial], want) {
		t.Errorf("%s: the newest reading, %d, never came", serial, want)
	}
}

// settled reports whether everything for everybody has been taken by the sockets.
func (w *world) settled() bool {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	for _, s := range w.hub.sessionsLocked() {
		s.box.mu.Lock()
		empty := s.box.stream.empty() && s.box.hello.empty() && s.box.replies.empty()
		s.box.mu.Unlock()
		if !empty {
			return false
		}
	}
	return true
}

// held returns the most a session holds of the stream: bytes of frames, and lanes.
func (w *world) held() (bytes, lanes int) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	for _, s := range w.hub.sessionsLocked() {
		s.box.mu.Lock()
		bytes = max(bytes, s.box.stream.bytes)
		if s.box.stream.slow != nil {
			lanes = max(lanes, len(s.box.stream.slow.lanes))
		}
		s.box.mu.Unlock()
	}
	return bytes, lanes
}

func TestHub_SlowSessionIsConflatedAndOthersAreNot(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	devices := []auth.Device{w.sensor(ann, 1), w.sensor(ann, 2), w.sensor(ann, 3)}
	slow := w.dialRaw(w.address(ann)) // reads nothing for now
	healthy, hello := w.dial(ann)

	const readings = 20_000
	full := make(chan past, 1)
	done := make(chan ledger)
	go func() { // ends when the healthy viewer has seen everything
		var l ledger
		for len(l.seen["SN-ann-1"])+len(l.seen["SN-ann-2"])+len(l.seen["SN-ann-3"]) < readings {
			l.take(t, w.next(healthy))
		}
		l.all = <-full
		done <- l
	}()
	healthyBox := func() int { // bytes waiting for whom is not slow
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		n := 0
		for _, s := range w.hub.sessionsLocked() {
			s.box.mu.Lock()
			if s.box.stream.slow == nil && s.conn.RemoteAddr().String() == healthy.ws.LocalAddr().String() {
				n = s.box.stream.bytes
			}
			s.box.mu.Unlock()
		}
		return n
	}
	var all past
	pad := bytes.Repeat([]byte("x"), 500)
	rng := rand.New(rand.NewPCG(3, 4))
	now := telemetry.Now()
	mostBytes, mostLanes := 0, 0
	for i := range readings {
		dev := devices[rng.IntN(2)]
		if i%5000 == 1 {
			dev = devices[2] // seldom
		}
		at := now + telemetry.Millis(i)
		if i%7 == 0 {
			at -= 10_000 // late
		}
		w.seq++
		r := telemetry.Reading{
			SensorID: dev.SensorID, Serial: dev.Serial, Seq: w.seq, Time: at, ReceivedAt: telemetry.Now(),
			Data: fmt.Appendf(nil, `{"v":%d,"pad":"%s"}`, i, pad),
		}
		all = append(all, r)
		w.hub.Observe([]telemetry.Reading{r})
		if i%50 == 0 {
			b, lanes := w.held()
			mostBytes, mostLanes = max(mostBytes, b), max(mostLanes, lanes)
			eventually(t, "the healthy viewer to keep up", func() bool { return healthyBox() < maxPending/2 })
		}
	}
	if mostBytes > maxPending {
		t.Errorf("bytes held for one session: got %d, want at most %d", mostBytes, maxPending)
	}
	if mostLanes == 0 || mostLanes > len(devices) {
		t.Errorf("lanes held for the slow session: got %d, want 1 to %d", mostLanes, len(devices))
	}
	full <- all
	fast := <-done
	for _, dev := range devices {
		fast.balance(t, dev.Serial, hello.Seq)
		if n := len(fast.gaps[dev.Serial]); n > 0 {
			t.Errorf("healthy viewer: got %d gaps of %s, want none", n, dev.Serial)
		}
	}

	// The slow one wakes up: it gets what the sockets held, then gaps and the newest.
	first, ok := slow.message(nil)
	if !ok || first.Type != "hello" {
		t.Fatalf("slow viewer: got %+v, want a hello", first)
	}
	l := ledger{all: all}
	last := all.newest(devices[0].Serial, 1<<60).Seq
	for _, dev := range devices[1:] {
		last = max(last, all.newest(dev.Serial, 1<<60).Seq)
	}
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		eventually(t, "the slow socket to take all", w.settled)
	}()
	for l.highest < last {
		m, ok := slow.message(nil)
		if !ok {
			t.Fatal("slow viewer: connection ended")
		}
		l.take(t, m)
	}
	<-taken
	marker := w.reading(devices[2], -1) // everything before it has been sent
	l.all = append(l.all, marker)
	for l.highest < marker.Seq {
		m, _ := slow.message(nil)
		l.take(t, m)
	}
	for _, dev := range devices {
		l.balance(t, dev.Serial, first.Seq)
		if dev.SensorID != devices[2].SensorID && len(l.gaps[dev.Serial]) == 0 {
			t.Errorf("slow viewer: no gap of %s announced", dev.Serial)
		}
	}
	stats := w.hub.Stats()
	if stats.Conflated != 1 || stats.Dropped == 0 || stats.Closed[CloseNotReading] != 0 {
		t.Errorf("stats: got %d conflated, %d dropped, closed %v", stats.Conflated, stats.Dropped, stats.Closed)
	}
}

func TestHub_ViewerThatReadsNothingIsClosed(t *testing.T) {
	w := newWorldWith(t, Config{}, auth.Config{}, nil, 100*time.Millisecond)
	dev := w.sensor(ann, 1)
	w.dialRaw(w.address(ann, dev.Serial))
	healthy, _ := w.dial(ann, dev.Serial)
	go func() { // ends with the connection
		for {
			if _, err := healthy.Next(t.Context()); err != nil {
				return
			}
		}
	}()
	pad := bytes.Repeat([]byte("x"), 32<<10)
	eventually(t, "the viewer that reads nothing to be closed", func() bool {
		w.seq++
		r := telemetry.Reading{SensorID: dev.SensorID, Serial: dev.Serial, Seq: w.seq, Time: telemetry.Now(), Data: fmt.Appendf(nil, `{"p":"%s"}`, pad)}
		w.hub.Observe([]telemetry.Reading{r})
		return w.hub.Stats().Closed[CloseNotReading] == 1
	})
	eventually(t, "its session to end", func() bool { return w.hub.Stats().Sessions == 1 })
}
