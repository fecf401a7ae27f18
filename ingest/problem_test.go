package ingest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/telemetry"
)

func TestAccept_MalformedIsCountedAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, watch := &ledger{}, &witness{}
		p := New(Config{}, store, quiet, watch)
		var receipts notes
		start := telemetry.Now()
		for range 3 {
			if err := p.Accept(message(1, `{"a":`), receipts.note("malformed")); !errors.Is(err, telemetry.ErrInvalid) {
				t.Errorf("Accept = %v, want ErrInvalid", err)
			}
		}
		time.Sleep(100 * time.Millisecond)
		p.Refused(1, "sensors/other/telemetry is not its topic")
		p.Refused(2, strings.Repeat("é", 50_000))
		p.Malformed(3, strings.Repeat("é", 50_000))
		time.Sleep(time.Second)
		synctest.Wait()
		if len(watch.seen) != 0 || len(store.readings) != 0 || len(receipts.list()) != 0 {
			t.Error("a malformed payload went further than the count")
		}
		slices.SortFunc(store.problems, func(a, b Problem) int { return int(a.SensorID - b.SensorID) })
		if len(store.problems) != 3 || store.batches != 1 {
			t.Fatalf("%d problems in %d commits, want one for each sensor in one", len(store.problems), store.batches)
		}
		want := Problem{SensorID: 1, Malformed: 3, Refused: 1, Reason: "sensors/other/telemetry is not its topic", At: start + 100}
		if got := store.problems[0]; got != want {
			t.Errorf("problem %+v, want %+v", got, want)
		}
		for _, long := range store.problems[1:] {
			if got := long.Reason; len(got) > maxReasonBytes+3 || !strings.HasPrefix(got, "éé") || !strings.HasSuffix(got, "é…") {
				t.Errorf("reason of %d bytes %.20q…, want it cut at a character", len(got), got)
			}
		}
		if got := store.problems[2]; got.Malformed != 1 || got.Refused != 0 {
			t.Errorf("problem %d malformed, %d refused, want 1 malformed", got.Malformed, got.Refused)
		}
		if s := p.Stats(); s.Malformed != 4 || s.Refused != 2 {
			t.Errorf("%+v; want 4 malformed, 2 refused", s)
		}
		mustClose(t, p)
	})
}

func TestProblems_AreKeptWhenTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := true
		store := &ledger{}
		tries := 0
		store.before = func(Batch) error {
			tries++
			if fail {
				return errDisk
			}
			return nil
		}
		p := New(Config{}, store, quiet)
		p.Refused(1, "first")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if tries < 10 || tries > 21 {
			t.Errorf("%d tries in 10 s, want one about every half second", tries)
		}
		fail = false
		p.Refused(1, "second")
		time.Sleep(time.Second)
		synctest.Wait()
		if len(store.problems) != 1 || store.problems[0].Refused != 2 || store.problems[0].Reason != "second" {
			t.Errorf("problems %+v, want one with both", store.problems)
		}
		mustClose(t, p)
	})
}

func TestProblems_FloodCostsTwoCommitsASecond(t *testing.T) {
	for name, readings := range map[string]bool{"rubbish only": false, "among readings": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &ledger{}
				p := New(Config{}, store, quiet)
				const seconds, perSecond = 10, 1000
				valid := 0
				for i := range seconds * perSecond {
					p.Accept(message(int64(i%maxProblems), `rubbish`), nil)
					if readings && i%7 == 0 {
						mustAccept(t, p, message(1, `{}`), nil)
						valid++
					}
					time.Sleep(time.Second / perSecond)
				}
				mustClose(t, p)
				if got := store.batches - valid; got > 2*seconds+1 {
					t.Errorf("%d commits beside the %d of the readings in %d s, want at most two a second", got, valid, seconds)
				}
				total := int64(0)
				for _, pr := range store.problems {
					total += pr.Malformed
				}
				if total != seconds*perSecond {
					t.Errorf("%d malformed messages were counted for owners, want %d", total, seconds*perSecond)
				}
			})
		})
	}
}

func TestProblems_AreBounded(t *testing.T) {
	g := newGate()
	p := New(Config{}, &ledger{before: g.wait}, quiet)
	for i := range int64(maxProblems + 500) {
		p.Refused(i, "x")
	}
	p.mu.Lock()
	got := len(p.problems)
	p.mu.Unlock()
	if got > maxProblems || p.Stats().Refused != maxProblems+500 {
		t.Errorf("%d problems wait, %d counted; want at most %d, and all counted", got, p.Stats().Refused, maxProblems)
	}
	g.open()
	mustClose(t, p)
}
