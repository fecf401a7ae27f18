package ingest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/telemetry"
)

func TestEnter_TakesAllAtOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, watch := &ledger{}, &crowd{}
		p := New(Config{LastSeq: 7}, store, quiet, watch)
		b := NewBurst()
		for i := range fullBurst - 1 {
			if err := b.Add(shed(message(1, fmt.Sprint(i)))); err != nil || b.Full() {
				t.Fatalf("message %d: %v, full: %t", i, err, b.Full())
			}
		}
		if err := b.Add(shed(message(1, `{`))); !errors.Is(err, telemetry.ErrInvalid) {
			t.Errorf("got %v, want that it cannot be read", err)
		}
		if err := b.Add(shed(message(1, "63"))); err != nil || !b.Full() {
			t.Errorf("%v, full: %t after %d", err, b.Full(), len(b.Readings()))
		}
		if err := p.Enter(b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(watch.sizes, []int{fullBurst}) {
			t.Errorf("shown in groups of %d, want all at once", watch.sizes)
		}
		time.Sleep(linger)
		synctest.Wait()
		if got := store.data(); len(got) != fullBurst || got[0] != `{"value":0}` || got[fullBurst-1] != `{"value":63}` || store.readings[0].Seq != 8 || !rising(store.readings) {
			t.Errorf("stored %s", got)
		}
		mustClose(t, p)
		b = NewBurst()
		if err := b.Add(shed(message(1, "1"))); err != nil || len(b.Readings()) != 1 {
			t.Errorf("a used burst: %v, %d readings", err, len(b.Readings()))
		}
		if err := p.Enter(b); !errors.Is(err, telemetry.ErrUnavailable) {
			t.Errorf("got %v from a closed pipe, want that it is unavailable", err)
		}
	})
}

// What is sent again in one burst is shown once, and the rest of it all the same.
func TestEnter_ShowsWhatIsSentAgainOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watch := &witness{}
		p := New(Config{}, &ledger{}, quiet, watch)
		b := NewBurst()
		for _, id := range []string{"a", "a", "b", "a", "c"} {
			if err := b.Add(shed(message(1, fmt.Sprintf(`{"id":%q,"data":{"n":%q}}`, id, id)))); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Enter(b); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range watch.seen {
			got = append(got, fmt.Sprint(r.Seq, string(r.Data)))
		}
		if want := []string{`1{"n":"a"}`, `3{"n":"b"}`, `5{"n":"c"}`}; !slices.Equal(got, want) {
			t.Errorf("shown %s, want %s", got, want)
		}
		mustClose(t, p)
	})
}

// Readings of QoS 0 wait for company, but not for long, and not once somebody waits or there are enough.
func TestLinger_IsForReadingsNobodyAwaits(t *testing.T) {
	for name, tc := range map[string]struct {
		then func(t *testing.T, p *Pipe)
		wait time.Duration
		want int
	}{
		"too early":     {func(*testing.T, *Pipe) {}, linger - 1, 0},
		"in time":       {func(*testing.T, *Pipe) {}, linger, 1},
		"with others":   {func(t *testing.T, p *Pipe) { time.Sleep(linger - 1); mustAccept(t, p, shed(message(1, "2")), nil) }, 1, 2},
		"somebody asks": {func(t *testing.T, p *Pipe) { mustAccept(t, p, message(1, "2"), anybody) }, 0, 2},
		"enough": {func(t *testing.T, p *Pipe) {
			for range 4 {
				mustAccept(t, p, shed(message(1, "2")), nil)
			}
		}, 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &ledger{}
				p := New(Config{BatchReadings: 5}, store, quiet)
				for round := range 3 { // the timer serves again
					mustAccept(t, p, shed(message(1, "1")), nil)
					tc.then(t, p)
					time.Sleep(tc.wait)
					synctest.Wait()
					if got := int(p.Stats().Committed); got != round*max(tc.want, 1)+tc.want {
						t.Errorf("round %d: %d committed, want %d", round, got, round*max(tc.want, 1)+tc.want)
					}
					time.Sleep(2 * linger)
				}
				mustClose(t, p)
			})
		})
	}
}

// crowd is an Observer that remembers how many came together.
type crowd struct{ sizes []int }

func (c *crowd) Observe(rs []telemetry.Reading) { c.sizes = append(c.sizes, len(rs)) }
