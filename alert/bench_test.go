package alert

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

const million = 1_000_000

// fleet is a Keeper of n sensors that have all just been heard, and remembers nothing.
type fleet struct {
	Ledger
	n    int64
	seen telemetry.Millis
}

func (f fleet) Liveness(_ context.Context, after int64, limit int) (page []telemetry.Liveness, _ error) {
	page = make([]telemetry.Liveness, 0, limit)
	for id := after + 1; id <= f.n && len(page) < limit; id++ {
		page = append(page, telemetry.Liveness{SensorID: id, LastSeenAt: f.seen})
	}
	return page, nil
}

func (f fleet) Silence(_ context.Context, due []telemetry.Liveness, _ telemetry.Opening) ([]telemetry.Liveness, []telemetry.Alert, error) {
	for i := range due {
		due[i].SilentFrom = due[i].LastSeenAt
	}
	return due, nil, nil
}

func (fleet) Returned(_ context.Context, back []telemetry.Return, _ telemetry.Millis, _ telemetry.Etiquette) ([]bool, []telemetry.Alert, error) {
	return make([]bool, len(back)), nil, nil
}

func (fleet) OpenSilences(context.Context) ([]int64, error) { return nil, nil }

func (fleet) KeepCadences(context.Context, map[int64]telemetry.Cadence) error { return nil }

func (f fleet) Heartbeat(context.Context) (telemetry.Heartbeat, error) {
	return telemetry.Heartbeat{At: telemetry.Now()}, nil
}

func (fleet) Beat(context.Context, telemetry.Heartbeat) error { return nil }

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// load fills a Watch with a million sensors.
func load(tb testing.TB) *Watch {
	tb.Helper()
	keys, err := auth.LoadKeys(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	w := New(Config{}, fleet{n: million, seen: telemetry.Now()}, auth.NewDirectory(keys), slog.New(slog.DiscardHandler))
	if err := w.Load(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return w
}

// BenchmarkLoad_Million shows what a million sensors take, without the store; the store's part is in its own package.
func BenchmarkLoad_Million(b *testing.B) {
	for b.Loop() {
		before := heap()
		w := load(b)
		b.ReportMetric(float64(heap()-before)/million, "B/sensor")
		runtime.KeepAlive(w)
	}
}

// BenchmarkObserve_Million is what each reading costs, by sensors at random.
func BenchmarkObserve_Million(b *testing.B) {
	w := load(b)
	r := telemetry.Reading{ReceivedAt: telemetry.Now()}
	ids := make([]int64, 1<<16)
	for i := range ids {
		ids[i] = 1 + rand.Int64N(million)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r.SensorID = ids[i&(1<<16-1)]
		w.Observe([]telemetry.Reading{r})
		i++
	}
}

// BenchmarkObserve_Thousand is the same with sensors that fit into the processor's cache.
func BenchmarkObserve_Thousand(b *testing.B) {
	w := load(b)
	r := telemetry.Reading{ReceivedAt: telemetry.Now()}
	b.ReportAllocs()
	for b.Loop() {
		r.SensorID = r.SensorID%1000 + 1
		w.Observe([]telemetry.Reading{r})
	}
}

// BenchmarkIdle_Million is a second of a million sensors that report every ten minutes: 1,667 places in the heap to move on, two looks at
// the time. ns/op over a second is the share of a core.
func BenchmarkIdle_Million(b *testing.B) {
	w := load(b)
	var clock time.Duration
	wall := telemetry.Now()
	w.clock = Clock{Mono: func() time.Duration { return clock }, Wall: func() telemetry.Millis { return wall.Add(clock) }}
	w.mono, w.wall = clock, wall
	next := int64(0)
	for b.Loop() {
		for range time.Second / pulse {
			clock += pulse
			for range million * pulse / (10 * time.Minute) {
				w.Observe([]telemetry.Reading{{SensorID: next%million + 1, ReceivedAt: w.clock.Wall()}})
				next++
			}
			w.lookAtTime()
			for len(w.takeDue()) > 0 {
			}
		}
	}
}
