package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sensorcast/telemetry"
)

// step is what a caller does next.
type step struct {
	sensor int64
	size   int // readings in the message
	qos0   bool
	pause  time.Duration
}

// auditor is a Recorder that takes its time, fails as it is told, and checks the order of what it is given.
type auditor struct {
	pauses []time.Duration
	fails  []bool
	calls  int
	last   int64
	stored map[int64]bool
	wrong  string
}

func (a *auditor) Record(b Batch) error {
	n := a.calls
	a.calls++
	time.Sleep(a.pauses[n%len(a.pauses)])
	for _, r := range b.Readings {
		if r.Seq <= a.last {
			a.wrong = fmt.Sprintf("seq %d was handed to the store after %d", r.Seq, a.last)
		}
		a.last = r.Seq
	}
	if a.fails[n%len(a.fails)] {
		return errDisk
	}
	for _, r := range b.Readings {
		a.stored[r.Seq] = true
	}
	return nil
}

// check runs fn for many drawn cases, each in virtual time of its own. fn returns what was wrong.
func check[T any](t *testing.T, draw func(*rapid.T) T, fn func(T) []string) {
	rapid.Check(t, func(rt *rapid.T) {
		drawn := draw(rt)
		var wrong []string
		synctest.Test(t, func(*testing.T) { wrong = fn(drawn) })
		if len(wrong) > 0 {
			rt.Fatal(strings.Join(wrong, "\n"))
		}
	})
}

type scenario struct {
	cfg     Config
	store   *auditor
	scripts [][]step
}

func drawScenario(t *rapid.T) scenario {
	millis := func(most int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(0, most), func(n int) time.Duration { return time.Duration(n) * time.Millisecond })
	}
	steps := rapid.Custom(func(t *rapid.T) step {
		return step{rapid.Int64Range(1, 4).Draw(t, "sensor"), rapid.IntRange(1, 4).Draw(t, "size"), rapid.Bool().Draw(t, "qos 0"), millis(5).Draw(t, "pause")}
	})
	s := scenario{
		cfg: Config{
			QueueReadings: rapid.IntRange(1, 20).Draw(t, "queue"),
			BatchReadings: rapid.IntRange(1, 8).Draw(t, "batch"),
			LastSeq:       rapid.Int64Range(0, 5).Draw(t, "last seq"),
		},
		store: &auditor{
			pauses: rapid.SliceOfN(millis(50), 1, 10).Draw(t, "commits take"),
			fails:  append(rapid.SliceOfN(rapid.Bool(), 0, 5).Draw(t, "commits fail"), false),
			stored: map[int64]bool{},
		},
		scripts: rapid.SliceOfN(rapid.SliceOfN(steps, 1, 30), 1, 6).Draw(t, "callers"),
	}
	if rapid.Bool().Draw(t, "tight in bytes") {
		s.cfg.QueueBytes = rapid.IntRange(1, 200).Draw(t, "queue bytes")
	}
	return s
}

// Whatever comes, in whatever order, against a store however slow and faulty: every figure and promise holds.
func TestPipe_KeepsItsPromises(t *testing.T) {
	check(t, drawScenario, func(s scenario) (wrong []string) {
		var mu sync.Mutex
		fault := func(format string, args ...any) {
			mu.Lock()
			wrong = append(wrong, fmt.Sprintf(format, args...))
			mu.Unlock()
		}
		watch := &witness{}
		p := New(s.cfg, s.store, quiet, watch)
		var wg sync.WaitGroup
		accepted := 0
		owed, heard := make([]int, len(s.scripts)), make([]int, len(s.scripts))
		for c, script := range s.scripts {
			for _, st := range script {
				accepted += st.size
			}
			wg.Go(func() {
				for _, st := range script {
					time.Sleep(st.pause)
					m := message(st.sensor, "["+strings.TrimSuffix(strings.Repeat(`{"data":{"a":1}},`, st.size), ",")+"]")
					var r Receipt
					if m.Shed = st.qos0; !st.qos0 {
						owed[c]++
						mine := owed[c]
						// The committer tells one receipt at a time, so that heard needs no lock.
						r = receiptFunc(func(err error) {
							if heard[c]++; heard[c] != mine {
								fault("caller %d: receipt %d came as number %d", c, mine, heard[c])
							}
							if err != nil && !errors.Is(err, telemetry.ErrUnavailable) {
								fault("receipt: %v", err)
							}
						})
					}
					if err := p.Accept(m, r); err != nil {
						fault("Accept = %v", err)
					}
					if got := p.Stats().Queued; got > s.cfg.QueueReadings+4+4 {
						fault("%d readings queued: bound %d, a message of 4, and one for each of 4 sensors", got, s.cfg.QueueReadings)
					}
				}
			})
		}
		wg.Wait()
		if err := p.Close(context.Background()); err != nil {
			fault("Close = %v", err)
		}
		if !slices.Equal(heard, owed) {
			fault("receipts told %v, owed %v", heard, owed)
		}
		if s.store.wrong != "" {
			fault("%s", s.store.wrong)
		}
		if len(watch.seen) != accepted || !rising(watch.seen) || watch.seen[0].Seq != s.cfg.LastSeq+1 {
			fault("observers saw %d of %d readings, rising: %t", len(watch.seen), accepted, rising(watch.seen))
		}
		st := p.Stats()
		if st.Accepted[0] != int64(accepted) || st.Committed+st.Failed+st.Shed != int64(accepted) || int64(len(s.store.stored)) != st.Committed {
			fault("accepted %d, want %d = committed %d + failed %d + shed %d", st.Accepted[0], accepted, st.Committed, st.Failed, st.Shed)
		}
		if st.Queued != 0 || st.QueuedBytes != 0 {
			fault("%d readings, %d bytes are queued in an empty pipe", st.Queued, st.QueuedBytes)
		}
		return wrong
	})
}

// A receipt without an error vouches for every reading of its message.
func TestReceipt_VouchesForEveryReading(t *testing.T) {
	type batches struct {
		batch int
		sizes []int
		fails []bool
	}
	draw := func(t *rapid.T) batches {
		return batches{
			rapid.IntRange(1, 5).Draw(t, "batch"),
			rapid.SliceOfN(rapid.IntRange(1, 9), 1, 30).Draw(t, "message sizes"),
			append(rapid.SliceOfN(rapid.Bool(), 1, 9).Draw(t, "commits fail"), false),
		}
	}
	check(t, draw, func(b batches) (wrong []string) {
		store := &auditor{pauses: []time.Duration{time.Millisecond}, fails: b.fails, stored: map[int64]bool{}}
		p := New(Config{BatchReadings: b.batch}, store, quiet)
		next := int64(1)
		for _, size := range b.sizes {
			first := next
			next += int64(size)
			end := next
			m := message(1, "["+strings.TrimSuffix(strings.Repeat(`{"data":{}},`, size), ",")+"]")
			p.Accept(m, receiptFunc(func(err error) {
				for seq := first; seq < end; seq++ {
					if got := store.stored[seq]; got != (err == nil) {
						wrong = append(wrong, fmt.Sprintf("message %d to %d was told %v, but seq %d is stored: %t", first, end-1, err, seq, got))
					}
				}
			}))
		}
		p.Close(context.Background())
		return wrong
	})
}
