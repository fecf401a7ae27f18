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

	"sensorcast/session"
	"sensorcast/telemetry"
)

// settle makes the n-th change of a caller: any kind will do, the pipe only carries it.
func settle(caller string, n int) session.Change {
	return session.Settle{ID: caller, PacketID: uint16(n)}
}

func mustJournal(t testing.TB, p *Pipe, r Receipt, changes ...session.Change) {
	t.Helper()
	if err := p.Journal(changes, r); err != nil {
		t.Fatalf("Journal(%v) = %v", changes, err)
	}
}

func TestJournal_IdlePipeCommitsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &ledger{}
		p := New(Config{}, store, quiet)
		var receipts notes
		start := time.Now()
		mustJournal(t, p, receipts.note("told"), settle("a", 1), settle("a", 2))
		mustJournal(t, p, nil, settle("a", 3))
		synctest.Wait()
		if want := []session.Change{settle("a", 1), settle("a", 2), settle("a", 3)}; !slices.Equal(store.changes, want) {
			t.Errorf("stored %v, want %v", store.changes, want)
		}
		if got := receipts.list(); !slices.Equal(got, []string{"told"}) || time.Since(start) != 0 {
			t.Errorf("told %q after %v, want one at once", got, time.Since(start))
		}
		if s := p.Stats(); s.Journaled != 3 || s.QueuedChanges != 0 || s.QueuedBytes != 0 || s.LastSeq != 0 {
			t.Errorf("%+v; want 3 journaled, nothing queued and no seq used", s)
		}
		mustClose(t, p)
	})
}

// A caller without changes learns when what it handed over before is durable.
func TestJournal_NothingIsToldInItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := New(Config{QueueReadings: 3, BatchReadings: 1}, &ledger{before: g.wait}, quiet)
		var receipts notes
		mustAccept(t, p, message(1, `{}`), receipts.note("reading"))
		synctest.Wait()
		mustJournal(t, p, receipts.note("nothing"))
		mustJournal(t, p, receipts.note("change"), settle("a", 1))
		mustJournal(t, p, nil)
		held := make(chan error)
		go func() { held <- p.Journal(nil, nil) }() // calls without changes fill the queue too
		synctest.Wait()
		select {
		case <-held:
			t.Error("a full queue took another call")
		default:
		}
		g.open()
		if err := <-held; err != nil {
			t.Errorf("Journal = %v", err)
		}
		mustClose(t, p)
		if got, want := receipts.list(), []string{"reading", "nothing", "change"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestJournal_FailedBatchTellsItsReceiptsAndLosesItsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := true
		store := &ledger{}
		store.before = func(Batch) error {
			if fail {
				return errDisk
			}
			return nil
		}
		p := New(Config{}, store, quiet)
		got := make(chan error, 1)
		mustJournal(t, p, receiptFunc(func(err error) { got <- err }), settle("a", 1))
		if err := <-got; !errors.Is(err, telemetry.ErrUnavailable) || !errors.Is(err, errDisk) {
			t.Errorf("Committed(%v), want an ErrUnavailable that wraps the store's", err)
		}
		synctest.Wait()
		fail = false
		mustJournal(t, p, nil, settle("a", 2))
		mustClose(t, p)
		if want := []session.Change{settle("a", 2)}; !slices.Equal(store.changes, want) {
			t.Errorf("stored %v, want %v: a change that failed must not come back behind its successors", store.changes, want)
		}
		if s := p.Stats(); s.Journaled != 1 || s.Unjournaled != 1 {
			t.Errorf("%d journaled, %d not; want 1, 1", s.Journaled, s.Unjournaled)
		}
	})
}

func TestJournal_ClosedPipeRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &ledger{before: g.wait}
		p := New(Config{QueueReadings: 2}, store, quiet)
		var receipts notes
		mustJournal(t, p, receipts.note("1"), settle("a", 1))
		synctest.Wait()
		mustJournal(t, p, receipts.note("2"), settle("a", 2), settle("a", 3))
		held := make(chan error)
		go func() { held <- p.Journal([]session.Change{settle("a", 4)}, receipts.note("held back")) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Close(ctx); err == nil {
			t.Error("Close with a store that hangs = nil")
		}
		if err := <-held; !errors.Is(err, telemetry.ErrUnavailable) {
			t.Errorf("Journal of one held back = %v, want ErrUnavailable", err)
		}
		if err := p.Journal(nil, receipts.note("too late")); !errors.Is(err, telemetry.ErrUnavailable) {
			t.Errorf("Journal after Close = %v, want ErrUnavailable", err)
		}
		g.open()
		mustClose(t, p)
		if got := receipts.list(); !slices.Equal(got, []string{"1", "2"}) || len(store.changes) != 3 {
			t.Errorf("told %q, %d changes stored; want what came before Close", got, len(store.changes))
		}
	})
}

func TestJournal_FullQueueHoldsBackAndLetsGo(t *testing.T) {
	large := session.Queue{ID: "a", Delivery: session.Delivery{Message: session.Message{
		Topic: "t", Payload: make([]byte, 50), Properties: make([]byte, 48),
	}}}
	for name, tc := range map[string]struct {
		cfg    Config
		change session.Change
	}{
		"changes": {Config{QueueReadings: 10, BatchReadings: 3}, settle("a", 1)},
		"bytes":   {Config{QueueBytes: 1000, BatchReadings: 3}, large},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				store := &ledger{before: g.wait}
				p := New(tc.cfg, store, quiet)
				mustJournal(t, p, nil, tc.change)
				synctest.Wait() // the committer has it and waits for the store
				var wg sync.WaitGroup
				const callers = 40
				for i := range callers {
					wg.Go(func() {
						var r Receipt
						if i%2 == 0 {
							r = ignore{}
						}
						if err := p.Journal([]session.Change{tc.change}, r); err != nil {
							t.Errorf("Journal = %v", err)
						}
					})
				}
				synctest.Wait()
				if s := p.Stats(); s.QueuedChanges != 10 || s.Waits == 0 || s.QueuedBytes != 10*bytesOf(tc.change) {
					t.Errorf("%d changes of %d bytes are queued, %d callers held back; want the bound, 10", s.QueuedChanges, s.QueuedBytes, s.Waits)
				}
				// Readings and changes share the bound.
				accepted := make(chan struct{})
				go func() { mustAccept(t, p, message(1, `{}`), nil); close(accepted) }()
				synctest.Wait()
				select {
				case <-accepted:
					t.Error("a queue full of changes took a reading")
				default:
				}
				mustAccept(t, p, shed(message(2, `{}`)), nil) // QoS 0 makes way
				if s := p.Stats(); s.Queued != 1 {
					t.Errorf("%d readings queued, want the one that waits beside the queue", s.Queued)
				}
				g.open()
				wg.Wait()
				<-accepted
				mustClose(t, p)
				if s := p.Stats(); len(store.changes) != callers+1 || len(store.readings) != 2 || s.QueuedChanges != 0 || s.QueuedBytes != 0 {
					t.Errorf("%d changes and %d readings stored, %+v; want %d, 2, nothing queued", len(store.changes), len(store.readings), s, callers+1)
				}
			})
		})
	}
}

// A client chooses how long its id is; waiting changes must not hide that from the bound.
func TestJournal_EveryKindOfChangeIsWeighed(t *testing.T) {
	id := strings.Repeat("i", 100)
	m := session.Message{Topic: id[:40], Payload: []byte(id[:50]), Properties: []byte(id[:10])}
	for _, c := range []session.Change{
		session.Keep{Session: session.Session{ID: id}}, session.Drop{ID: id},
		session.Subscribe{Subscription: session.Subscription{Filter: id}}, session.Unsubscribe{ID: id[:50], Filter: id[:50]},
		session.Queue{Delivery: session.Delivery{Message: m}}, session.Release{ID: id}, session.Settle{ID: id},
		session.Receive{ID: id}, session.Complete{ID: id},
		session.Leave{Will: session.Will{Message: m}}, session.Withdraw{ID: id},
		session.Retain{Retained: session.Retained{Message: m}},
	} {
		if got := bytesOf(c); got != 100 {
			t.Errorf("%T weighs %d bytes, want 100", c, got)
		}
	}
}

func TestJournal_LetsGoOfWhatWasCommitted(t *testing.T) {
	var q queue
	q.note(entry{changes: 2, bytes: 2, r: ignore{}}, []session.Change{settle("a", 1), settle("a", 2)})
	var b batch
	q.take(10, &b)
	b.reset()
	if q.changes[:2][0] != nil || q.entries[:1][0].r != nil || b.changes[:2][1] != nil || b.receipts[:1][0].r != nil {
		t.Error("an emptied queue or batch still holds a change or its receipt")
	}
	if !q.empty() || q.bytes != 0 {
		t.Errorf("queue after all was taken: %d bytes", q.bytes)
	}
}

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

func BenchmarkJournal(b *testing.B) {
	p := New(Config{}, void{}, quiet)
	changes := []session.Change{
		session.Queue{ID: "s1/client", Delivery: session.Delivery{PacketID: 1, Message: session.Message{Topic: "sensors/SN1/telemetry", Payload: []byte(usual)}}},
		session.Settle{ID: "s1/client", PacketID: 1},
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Journal(changes, ignore{})
	}
	mustClose(b, p)
}
