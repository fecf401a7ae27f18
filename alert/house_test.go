package alert

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a Keeper in memory, which outlives the houses that stand on it.
type shelf struct {
	Ledger  // none: what incidents become is tested on the real store
	mu      sync.Mutex
	rows    map[int64]*telemetry.Liveness
	beat    telemetry.Heartbeat
	err     error
	before  func() // called by Silence, once, before it looks
	after   func() // called by Silence, once, when it has marked
	marked  int
	refused int
}

func (s *shelf) Liveness(_ context.Context, after int64, limit int) (page []telemetry.Liveness, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.rows {
		if id > after {
			page = append(page, *s.rows[id])
		}
	}
	slices.SortFunc(page, func(a, b telemetry.Liveness) int { return int(a.SensorID - b.SensorID) })
	return page[:min(len(page), limit)], s.err
}

func (s *shelf) Silence(_ context.Context, due []telemetry.Liveness, o telemetry.Opening) ([]telemetry.Liveness, []telemetry.Alert, error) {
	s.call(&s.before)
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return nil, nil, s.err
	}
	facts := make([]telemetry.Liveness, len(due))
	for i, l := range due {
		row := s.rows[l.SensorID]
		if row == nil {
			continue
		}
		if row.LastSeenAt == l.LastSeenAt && row.LastSeenAt != 0 {
			row.SilentFrom = row.LastSeenAt
			s.marked++
		} else {
			s.refused++
		}
		facts[i] = *row
		o.Explain(&facts[i])
	}
	s.mu.Unlock()
	s.call(&s.after)
	return facts, nil, nil
}

func (s *shelf) Returned(_ context.Context, back []telemetry.Return, _ telemetry.Millis, _ telemetry.Etiquette) ([]bool, []telemetry.Alert, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	settled := make([]bool, len(back))
	for i, r := range back {
		row := s.rows[r.SensorID]
		settled[i] = row == nil || row.State() != telemetry.StateSilent
	}
	return settled, nil, s.err
}

func (s *shelf) OpenSilences(context.Context) ([]int64, error) { return nil, nil }

func (s *shelf) KeepCadences(_ context.Context, all map[int64]telemetry.Cadence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, c := range all {
		s.rows[id].Cadence = c
	}
	return s.err
}

func (s *shelf) Announce(context.Context, telemetry.Millis, telemetry.Etiquette) ([]telemetry.Alert, bool, error) {
	return nil, false, nil
}

func (s *shelf) call(hook *func()) {
	s.mu.Lock()
	f := *hook
	*hook = nil
	s.mu.Unlock()
	if f != nil {
		f()
	}
}

func (s *shelf) set(hook *func(), f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*hook = f
}

func (s *shelf) Heartbeat(context.Context) (telemetry.Heartbeat, error) { return s.beat, nil }

func (s *shelf) Beat(_ context.Context, h telemetry.Heartbeat) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beat = h
	return nil
}

// house is a running Watch, by clocks the test can set, and what it told.
type house struct {
	*Watch
	t      *testing.T
	shelf  *shelf
	dir    *auth.Directory
	offset atomic.Int64 // of the wall clock, nanoseconds
	stop   func()
	during func() // called by StateChanged of a silence

	mu   sync.Mutex
	told []string
	at   []time.Time
}

// StateChanged implements Watcher.
func (h *house) StateChanged(c telemetry.StateChange) {
	if h.during != nil && c.State == telemetry.StateSilent {
		h.during()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, fmt.Sprintf("%d %s", c.SensorID, c.State))
	h.at = append(h.at, time.Now())
}

// places is how many there are in the heap.
func (h *house) places() int {
	h.Watch.mu.Lock()
	defer h.Watch.mu.Unlock()
	return len(h.deadlines)
}

func serialOf(id int64) string { return fmt.Sprintf("S%d", id) }

// open starts a house with sensors 1 to n on the shelf, or on an empty one.
func open(t *testing.T, s *shelf, n int64) *house {
	return openAt(t, s, n, 0)
}

func openAt(t *testing.T, s *shelf, n int64, offset time.Duration) *house {
	t.Helper()
	keys, err := auth.LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, shelf: s, dir: auth.NewDirectory(keys)}
	h.jump(offset)
	if s.rows == nil {
		s.rows = map[int64]*telemetry.Liveness{}
	}
	for id := int64(1); id <= n; id++ {
		if s.rows[id] == nil {
			s.rows[id] = &telemetry.Liveness{SensorID: id, Serial: serialOf(id)}
		}
		h.dir.Put(auth.Device{SensorID: id, Serial: serialOf(id)})
	}
	start := time.Now()
	h.Watch = New(Config{Clock: Clock{
		Wall: func() telemetry.Millis { return telemetry.Now().Add(time.Duration(h.offset.Load())) },
		Mono: func() time.Duration { return time.Since(start) },
	}}, s, h.dir, slog.New(slog.DiscardHandler))
	if err := h.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Tell(h)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		h.Run(ctx)
	}()
	h.stop = func() { cancel(); <-done }
	return h
}

// jump sets the wall clock.
func (h *house) jump(by time.Duration) { h.offset.Add(int64(by)) }

// crash ends the house without its last beat.
func (h *house) crash() {
	h.shelf.mu.Lock()
	beat := h.shelf.beat
	h.shelf.mu.Unlock()
	h.stop()
	h.shelf.beat = beat
}

// observe shows a reading.
func (h *house) observe(id int64) telemetry.Millis {
	at := h.clock.Wall()
	h.Observe([]telemetry.Reading{{SensorID: id, Serial: serialOf(id), ReceivedAt: at}})
	return at
}

// read shows a reading and commits it.
func (h *house) read(id int64) {
	at := h.observe(id)
	h.shelf.commit(id, at)
}

func (s *shelf) commit(id int64, at telemetry.Millis) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[id].LastSeenAt = at
}

// wait lets time pass and what it causes happen.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// want checks all that was told since the last time.
func (h *house) want(what ...string) {
	h.t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.told, what) {
		h.t.Errorf("after %v: got told %q, want %q", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), h.told, what)
	}
	h.told, h.at = nil, nil
}

// wantWithin waits for a step and checks that it comes no earlier than after, and no later than two seconds after that.
func (h *house) wantWithin(after time.Duration, what string) {
	h.t.Helper()
	start := time.Now()
	wait(after - time.Millisecond)
	h.want()
	wait(2*time.Second + time.Millisecond)
	h.mu.Lock()
	took := time.Duration(-1)
	if len(h.at) > 0 {
		took = h.at[0].Sub(start)
	}
	h.mu.Unlock()
	h.want(what)
	if took < after {
		h.t.Errorf("%s came after %v, want %v at least", what, took, after)
	}
}
