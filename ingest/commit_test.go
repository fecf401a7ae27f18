package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/telemetry"
)

func TestReceipt_IsToldAfterTheStoreAnsweredAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &ledger{}
		store.before = func(b Batch) error { // the third batch is refused
			g.wait(b)
			if slices.ContainsFunc(b.Readings, func(r telemetry.Reading) bool { return string(r.Data) == `{"n":3}` }) {
				return errDisk
			}
			return nil
		}
		p := New(Config{BatchReadings: 1}, store, quiet)
		var receipts notes
		for i := range 5 {
			mustAccept(t, p, message(1, fmt.Sprintf(`{"n":%d}`, i+1)), receipts.note(fmt.Sprint(i+1)))
		}
		want := []string{"1", "2", "3 failed", "4", "5"}
		for i := range want {
			synctest.Wait()
			if got := receipts.list(); !slices.Equal(got, want[:i]) {
				t.Fatalf("before the store has answered %d times, %q were told; want %q", i+1, got, want[:i])
			}
			g.pass()
		}
		mustClose(t, p)
		if got := receipts.list(); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		if s := p.Stats(); s.Committed != 4 || s.Failed != 1 {
			t.Errorf("committed %d, failed %d; want 4, 1", s.Committed, s.Failed)
		}
	})
}

func TestReceipt_ErrorIsOfKindUnavailable(t *testing.T) {
	p := New(Config{}, &ledger{before: func(Batch) error { return errDisk }}, quiet)
	got := make(chan error, 1)
	mustAccept(t, p, message(1, `1`), receiptFunc(func(err error) { got <- err }))
	if err := <-got; !errors.Is(err, telemetry.ErrUnavailable) || !errors.Is(err, errDisk) {
		t.Errorf("Committed(%v), want an ErrUnavailable that wraps the store's", err)
	}
	mustClose(t, p)
}

// A message larger than a batch must not be acknowledged for its second half.

func TestReceipt_CoversAllOfAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		failed := map[int64]bool{}
		store := &ledger{}
		store.before = func(b Batch) error {
			g.wait(b)
			if b.Readings[0].Seq == 2 { // the batch in which the large message begins
				for _, r := range b.Readings {
					failed[r.Seq] = true
				}
				return errDisk
			}
			return nil
		}
		p := New(Config{BatchReadings: 3}, store, quiet)
		mustAccept(t, p, message(1, `{}`), anybody)
		synctest.Wait() // seq 1 is with the store; what follows waits
		var receipts notes
		mustAccept(t, p, message(1, `[{"data":{}},{"data":{}},{"data":{}},{"data":{}},{"data":{}}]`), receipts.note("large")) // 2 to 6
		mustAccept(t, p, message(1, `{}`), receipts.note("small"))                                                            // 7
		g.open()
		mustClose(t, p)
		if got, want := receipts.list(), []string{"large failed", "small"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		for seq := int64(2); seq <= 6; seq++ {
			if store.has(seq) || !failed[seq] {
				t.Errorf("seq %d of the message was stored apart from the rest", seq)
			}
		}
	})
}

func TestClose_CommitsWhatWaitsAndReleasesCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &ledger{before: g.wait}
		p := New(Config{QueueReadings: 5, BatchReadings: 2}, store, quiet)
		var receipts notes
		for i := range 5 {
			mustAccept(t, p, message(1, `{}`), receipts.note(fmt.Sprint(i)))
			synctest.Wait()
		}
		mustAccept(t, p, shed(message(2, `{"shed":1}`)), nil)
		p.Refused(3, "x")
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				err := p.Accept(message(int64(i), `{}`), receipts.note("held back"))
				if err != nil && !errors.Is(err, telemetry.ErrUnavailable) {
					t.Errorf("Accept of one held back = %v, want ErrUnavailable", err)
				}
			})
		}
		synctest.Wait()
		inTime := p.Stats().Accepted[0]

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close with a store that hangs = %v, want the deadline", err)
		}
		wg.Wait() // nobody waits for a pipe that is closed
		if err := p.Accept(message(1, `{}`), receipts.note("too late")); !errors.Is(err, telemetry.ErrUnavailable) {
			t.Errorf("Accept after Close = %v, want ErrUnavailable", err)
		}
		if err := p.Accept(shed(message(1, `{}`)), nil); !errors.Is(err, telemetry.ErrUnavailable) {
			t.Errorf("Accept of QoS 0 after Close = %v, want ErrUnavailable", err)
		}
		g.open()
		mustClose(t, p)
		mustClose(t, p)
		if got := int64(len(store.readings)); got != inTime || got != p.Stats().Accepted[0] {
			t.Errorf("%d stored of %d accepted before Close", got, inTime)
		}
		if got := receipts.list(); int64(len(got)) != inTime-1 || slices.Contains(got, "too late") {
			t.Errorf("receipts %q, want one for each accepted", got)
		}
		if len(store.problems) != 1 {
			t.Errorf("%d problems stored, want 1", len(store.problems))
		}
	})
}

func TestClose_EndsThoughTheStoreKeepsFailing(t *testing.T) {
	p := New(Config{}, &ledger{before: func(Batch) error { return errDisk }}, quiet)
	p.Refused(1, "x")
	mustAccept(t, p, message(1, `{}`), nil)
	mustClose(t, p)
}

func TestPipe_LogsAFailingStoreOnceAndItsRecovery(t *testing.T) {
	var log strings.Builder
	failures := 3
	store := &ledger{before: func(Batch) error {
		if failures--; failures >= 0 {
			return errDisk
		}
		return nil
	}}
	p := New(Config{BatchReadings: 1}, store, slog.New(slog.NewTextHandler(&log, nil)))
	for range 5 {
		mustAccept(t, p, message(1, `{"secret":"hunter2"}`), nil)
	}
	mustClose(t, p)
	got := log.String()
	if strings.Count(got, "not stored") != 1 || strings.Count(got, "stored again") != 1 || strings.Contains(got, "hunter2") {
		t.Errorf("log:\n%s\nwant one line for the failure and one for the recovery, and no payload", got)
	}
}
