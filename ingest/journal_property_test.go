package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sensorcast/session"
)

// call is what a caller of the mixed property does next.
type call struct {
	size    int // readings of a message, or changes
	journal bool
	silent  bool // without a receipt
	pause   time.Duration
}

// clerk is a Recorder that takes its time, fails as it is told, and remembers what came in which batch and what it stored.
type clerk struct {
	pauses []time.Duration
	fails  []bool
	calls  int
	batch  map[string]int // by the name of the call
	stored map[string]int // readings and changes of the call
	wrong  string
}

func (c *clerk) Record(b Batch) error {
	n := c.calls
	c.calls++
	time.Sleep(c.pauses[n%len(c.pauses)])
	if len(b.Readings) == 0 && len(b.Changes) == 0 {
		c.wrong = "an empty batch was recorded"
	}
	for _, r := range b.Readings {
		c.file(r.Serial, n)
	}
	for i, ch := range b.Changes {
		s := ch.(session.Settle)
		c.file(s.ID, n)
		if s.PacketID > 0 && b.Changes[i-1] != (session.Settle{ID: s.ID, PacketID: s.PacketID - 1}) {
			c.wrong = fmt.Sprintf("%v is not behind its predecessor", s)
		}
	}
	if c.fails[n%len(c.fails)] {
		return errDisk
	}
	return nil
}

func (c *clerk) file(name string, batch int) {
	if before, ok := c.batch[name]; ok && before != batch {
		c.wrong = fmt.Sprintf("call %s was cut in two", name)
	}
	c.batch[name] = batch
	if !c.fails[batch%len(c.fails)] {
		c.stored[name]++
	}
}

type mix struct {
	cfg     Config
	store   *clerk
	scripts [][]call
}

func drawMix(t *rapid.T) mix {
	millis := func(most int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(0, most), func(n int) time.Duration { return time.Duration(n) * time.Millisecond })
	}
	calls := rapid.Custom(func(t *rapid.T) call {
		c := call{rapid.IntRange(0, 4).Draw(t, "size"), rapid.Bool().Draw(t, "journal"), rapid.Bool().Draw(t, "silent"), millis(3).Draw(t, "pause")}
		if !c.journal {
			c.size = max(c.size, 1)
			c.silent = false // a message nobody asks about may be cut in two
		}
		return c
	})
	return mix{
		cfg: Config{
			QueueReadings: rapid.IntRange(1, 30).Draw(t, "queue"),
			BatchReadings: rapid.IntRange(1, 8).Draw(t, "batch"),
		},
		store: &clerk{
			pauses: rapid.SliceOfN(millis(50), 1, 10).Draw(t, "commits take"),
			fails:  append(rapid.SliceOfN(rapid.Bool(), 0, 5).Draw(t, "commits fail"), false),
			batch:  map[string]int{},
			stored: map[string]int{},
		},
		scripts: rapid.SliceOfN(rapid.SliceOfN(calls, 1, 30), 1, 4).Draw(t, "callers"),
	}
}

// Readings and changes of one caller are stored in the order it made them, call by call, and its receipts say exactly what is stored.
func TestJournal_SharesOrderAndFateWithReadings(t *testing.T) {
	check(t, drawMix, func(m mix) (wrong []string) {
		var mu sync.Mutex
		fault := func(format string, args ...any) {
			mu.Lock()
			wrong = append(wrong, fmt.Sprintf(format, args...))
			mu.Unlock()
		}
		p := New(m.cfg, m.store, quiet)
		var wg sync.WaitGroup
		heard := make([][]int, len(m.scripts))
		for c, script := range m.scripts {
			wg.Go(func() {
				for i, st := range script {
					time.Sleep(st.pause)
					name := fmt.Sprintf("%d/%03d", c, i)
					var r Receipt
					if !st.silent {
						r = receiptFunc(func(err error) {
							heard[c] = append(heard[c], i)
							want := st.size
							if err != nil {
								want = 0
							}
							if got := m.store.stored[name]; got != want && st.size > 0 {
								fault("call %s of %d was told %v, and %d are stored", name, st.size, err, got)
							}
						})
					}
					if err := m.make(p, st, name, r); err != nil {
						fault("call %s: %v", name, err)
					}
				}
			})
		}
		wg.Wait()
		if err := p.Close(context.Background()); err != nil {
			fault("Close = %v", err)
		}
		if m.store.wrong != "" {
			fault("%s", m.store.wrong)
		}
		for c, script := range m.scripts {
			owed, batch := 0, 0
			for i, st := range script {
				if !st.silent {
					owed++
				}
				if st.size > 0 {
					b := m.store.batch[fmt.Sprintf("%d/%03d", c, i)]
					if b < batch {
						fault("call %d/%03d came in batch %d, its predecessor in %d", c, i, b, batch)
					}
					batch = b
				}
			}
			if len(heard[c]) != owed || !slices.IsSorted(heard[c]) {
				fault("caller %d was told of its calls %v, want %d in order", c, heard[c], owed)
			}
		}
		stored := 0
		for _, n := range m.store.stored {
			stored += n
		}
		if s := p.Stats(); s.Queued != 0 || s.QueuedChanges != 0 || s.QueuedBytes != 0 || s.Committed+s.Journaled != int64(stored) {
			fault("%+v; want nothing queued and %d stored", s, stored)
		}
		return wrong
	})
}

func (m *mix) make(p *Pipe, st call, name string, r Receipt) error {
	if st.journal {
		changes := make([]session.Change, st.size)
		for i := range changes {
			changes[i] = session.Settle{ID: name, PacketID: uint16(i)}
		}
		return p.Journal(changes, r)
	}
	msg := message(1, "["+strings.TrimSuffix(strings.Repeat(`{"data":{}},`, st.size), ",")+"]")
	msg.Serial = name
	return p.Accept(msg, r)
}
