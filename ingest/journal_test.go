package ingest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
	if q.changes.items[:2][0] != nil || q.entries.items[:1][0].r != nil || b.changes[:2][1] != nil || b.receipts[:1][0].r != nil {
		t.Error("an emptied queue or batch still holds a change or its receipt")
	}
	if !q.empty() || q.bytes != 0 {
		t.Errorf("queue after all was taken: %d bytes", q.bytes)
	}
}
