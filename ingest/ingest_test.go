package ingest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/telemetry"
)

func TestAccept_KeepsEachCallersOrder(t *testing.T) {
	store, watch := &ledger{}, &witness{}
	p := New(Config{LastSeq: 41, QueueReadings: 64, BatchReadings: 16}, store, quiet, watch)
	const callers, each = 16, 400
	var wg sync.WaitGroup
	receipts := make([]notes, callers)
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				mustAccept(t, p, message(int64(c), fmt.Sprintf(`{"n":%d}`, i)), receipts[c].note(fmt.Sprint(i)))
			}
		})
	}
	wg.Wait()
	mustClose(t, p)

	for name, all := range map[string][]telemetry.Reading{"store": store.readings, "observer": watch.seen} {
		if len(all) != callers*each || all[0].Seq != 42 || !rising(all) {
			t.Errorf("%s: %d readings from seq %d, rising: %t; want %d from 42, rising", name, len(all), all[0].Seq, rising(all), callers*each)
		}
		next := map[int64]int{}
		for _, r := range all {
			if want := fmt.Sprintf(`{"n":%d}`, next[r.SensorID]); string(r.Data) != want {
				t.Fatalf("%s: sensor %d has %s where %s belongs", name, r.SensorID, r.Data, want)
			}
			next[r.SensorID]++
		}
	}
	for c := range receipts {
		for i, got := range receipts[c].all {
			if got != fmt.Sprint(i) {
				t.Fatalf("caller %d: receipt %d was told as %q", c, i, got)
			}
		}
		if got := len(receipts[c].all); got != each {
			t.Errorf("caller %d: %d receipts were told, want %d", c, got, each)
		}
	}
}

func TestAccept_FillsTheReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &ledger{}
		p := New(Config{}, store, quiet)
		time.Sleep(24 * 365 * 24 * time.Hour) // virtual time begins with the year 2000
		now := telemetry.Now()
		given := now.Add(-time.Hour)
		for name, tc := range map[string]struct {
			payload string
			time    telemetry.Millis
			suspect bool
			keyed   bool
		}{
			"plain":            {`{"a":1}`, now, false, false},
			"own time":         {fmt.Sprintf(`{"time":%d,"data":{}}`, given), given, false, true},
			"own id":           {`{"id":"x","data":{}}`, now, false, true},
			"two minutes on":   {fmt.Sprintf(`{"time":%d,"data":{}}`, now.Add(maxAhead)), now.Add(maxAhead), false, true},
			"too far ahead":    {fmt.Sprintf(`{"time":%d,"data":{}}`, now.Add(maxAhead)+1), now, true, true},
			"first believable": {fmt.Sprintf(`{"time":%d,"data":{}}`, earliest), earliest, false, true},
			"clock never set":  {`{"time":17,"data":{}}`, now, true, true},
			"before the epoch": {`{"time":"1969-01-01T00:00:00Z","data":{}}`, now, true, true},
			"time zero":        {`{"time":0,"data":{}}`, now, false, false},
		} {
			m := message(7, tc.payload)
			m.Via = telemetry.ViaHTTP
			mustAccept(t, p, m, anybody)
			synctest.Wait()
			got := store.readings[len(store.readings)-1]
			if got.Time != tc.time || got.ReceivedAt != now || got.Suspect != tc.suspect || got.Key.IsZero() == tc.keyed ||
				got.SensorID != 7 || got.Serial != "SN7" || got.Via != telemetry.ViaHTTP || got.Seq != int64(len(store.readings)) {
				t.Errorf("%s: %s became %+v; want time %v, suspect %t, keyed %t", name, tc.payload, got, tc.time, tc.suspect, tc.keyed)
			}
		}
		mustClose(t, p)
	})
}

func TestAccept_FullQueueHoldsBackAndLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, cfg := range map[string]Config{
			"readings": {QueueReadings: 10, BatchReadings: 3},
			"bytes":    {QueueBytes: 10 * len(`{"n":00}`), BatchReadings: 3},
		} {
			g := newGate()
			store := &ledger{before: g.wait}
			p := New(cfg, store, quiet)
			mustAccept(t, p, message(0, `{"n":99}`), nil)
			synctest.Wait() // the committer has it and waits for the store

			const callers = 50
			var wg sync.WaitGroup
			var receipts notes
			for i := range callers {
				wg.Go(func() {
					mustAccept(t, p, message(int64(i), fmt.Sprintf(`[{"data":{"n":%02d}},{"data":{}}]`, 10+i)), receipts.note("ok"))
				})
			}
			synctest.Wait()
			s := p.Stats()
			if s.Queued < 10 || s.Queued > 11+10 || s.Waits == 0 {
				t.Errorf("%s: %d readings queued, %d callers held back; want the bound and at most one message more", name, s.Queued, s.Waits)
			}
			if cfg.QueueReadings > 0 && s.Queued > 11 {
				t.Errorf("%s: %d readings queued, want at most 10 + one message", name, s.Queued)
			}
			if cfg.QueueBytes > 0 && s.QueuedBytes > cfg.QueueBytes+10 {
				t.Errorf("%s: %d bytes queued, want at most %d + one message", name, s.QueuedBytes, cfg.QueueBytes)
			}
			before := s.Accepted[telemetry.ViaMQTT]
			g.pass()
			synctest.Wait()
			if got := p.Stats().Accepted[telemetry.ViaMQTT] - before; got < 2*2 {
				t.Errorf("%s: a commit of two messages let %d readings in, want two messages of two", name, got)
			}
			g.open()
			wg.Wait()
			mustClose(t, p)
			if entered := len(receipts.list()); entered != callers || len(store.readings) != 1+2*callers || p.Stats().Queued != 0 || p.Stats().QueuedBytes != 0 {
				t.Errorf("%s: %d receipts, %d readings stored, %+v; want %d, %d, nothing queued", name, entered, len(store.readings), p.Stats(), callers, 1+2*callers)
			}
		}
	})
}

func TestAccept_OverloadConflatesQoS0AndCountsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store, watch := &ledger{before: g.wait}, &witness{}
		p := New(Config{QueueReadings: 10}, store, quiet, watch)
		mustAccept(t, p, message(0, `{"first":0}`), anybody)
		synctest.Wait()
		for i := range 8 { // up to four fifths QoS 0 is kept like any other
			mustAccept(t, p, shed(message(1, fmt.Sprintf(`{"kept":%d}`, i))), nil)
		}
		for i := range 100 { // from there only the newest of each sensor
			mustAccept(t, p, shed(message(int64(1+i%4), fmt.Sprintf(`{"n":%d}`, i))), nil)
		}
		var receipts notes
		mustAccept(t, p, shed(message(9, `{"promised":1}`)), receipts.note("1")) // a receipt is owed: not shed
		mustAccept(t, p, shed(message(9, `{"promised":2}`)), receipts.note("2"))
		if s := p.Stats(); s.Shed != 96 || s.Queued != 8+4+2 {
			t.Errorf("shed %d, queued %d; want 96, 14", s.Shed, s.Queued)
		}
		if len(watch.seen) != 111 {
			t.Errorf("%d readings were shown, want all 111: live does not wait for the disk", len(watch.seen))
		}
		mustAccept(t, p, shed(message(1, `{"last":1}`)), nil) // the queue is full: still no waiting
		g.open()
		mustClose(t, p)

		got := strings.Join(store.data()[9:], " ")
		if want := `{"n":97} {"n":98} {"n":99} {"promised":1} {"promised":2} {"last":1}`; got != want {
			t.Errorf("stored after the first nine: %s, want %s", got, want)
		}
		s := p.Stats()
		if s.Accepted[0] != 112 || s.Committed+s.Shed != 112 || s.Shed != 97 || s.Queued != 0 || s.QueuedBytes != 0 || !rising(store.readings) {
			t.Errorf("%+v, rising %t; want accepted 112 = committed 15 + shed 97", s, rising(store.readings))
		}
		if got := receipts.list(); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("receipts %q, want 1 and 2", got)
		}
	})
}

// A reading for each of many sensors is little, unless each is as large as a payload may be.

func TestAccept_OverloadIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		store := &ledger{before: g.wait}
		p := New(Config{QueueReadings: 10, QueueBytes: 100_000}, store, quiet)
		mustAccept(t, p, message(0, `{}`), nil)
		synctest.Wait()
		large := `{"x":"` + strings.Repeat("x", 10_000) + `"}`
		const n = 500
		for i := range n {
			mustAccept(t, p, shed(message(int64(i), large)), nil)
		}
		if s := p.Stats(); s.QueuedBytes > 2*100_000+len(large) {
			t.Errorf("%d bytes queued, want at most twice 100,000 and a message", s.QueuedBytes)
		}
		g.open()
		mustClose(t, p)
		if s := p.Stats(); s.Committed+s.Shed != n+1 || s.QueuedBytes != 0 {
			t.Errorf("%+v; want committed + shed = %d", s, n+1)
		}
	})
}

func TestAccept_ResentReadingIsShownOnceAndOfferedToTheStoreAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := true
		store, watch := &ledger{}, &witness{}
		store.before = func(Batch) error {
			if fail {
				return errDisk
			}
			return nil
		}
		p := New(Config{}, store, quiet, watch)
		at := telemetry.Now().Add(-time.Minute)
		resent := []string{`{"id":"a","data":{"x":1}}`, fmt.Sprintf(`{"time":%d,"data":{"x":2}}`, at)}
		var receipts notes
		for _, payload := range resent {
			mustAccept(t, p, message(1, payload), receipts.note(payload))
		}
		synctest.Wait()
		fail = false
		for _, payload := range resent {
			mustAccept(t, p, message(1, payload), receipts.note(payload))
		}
		synctest.Wait()
		if got := receipts.list(); !slices.Equal(got, []string{resent[0] + " failed", resent[1] + " failed", resent[0], resent[1]}) {
			t.Errorf("receipts %q, want two failures and then success", got)
		}
		if got := store.data(); !slices.Equal(got, []string{`{"x":1}`, `{"x":2}`}) {
			t.Errorf("stored %q: the second attempt was swallowed", got)
		}
		if len(watch.seen) != 2 || p.Stats().Repeated != 2 {
			t.Errorf("%d shown, %d repeated; want 2, 2", len(watch.seen), p.Stats().Repeated)
		}
		// What only looks alike is shown.
		mustAccept(t, p, message(2, resent[0]), nil)                                       // another sensor
		mustAccept(t, p, message(1, `{"id":"b","data":{"x":1}}`), nil)                     // another id
		mustAccept(t, p, message(1, fmt.Sprintf(`{"time":%d,"data":{"x":2}}`, at+1)), nil) // another time
		mustAccept(t, p, message(1, fmt.Sprintf(`{"time":%d,"data":{"x":22}}`, at)), nil)  // other data
		mustAccept(t, p, message(1, `{"x":1}`), nil)                                       // nothing to tell it by
		mustAccept(t, p, message(1, `{"x":1}`), nil)                                       // twice
		if len(watch.seen) != 8 {
			t.Errorf("%d shown, want 8", len(watch.seen))
		}
		mustClose(t, p)
	})
}

func TestAccept_LetsGoOfPayloads(t *testing.T) {
	b := new(Burst)
	m := message(1, `[`+strings.Repeat(`{"data":{}},`, 10)+`{"data":{}}]`)
	if err := b.Add(m); err != nil {
		t.Fatal(err)
	}
	next := message(1, `{"data":{}}`)
	if err := b.Add(next); err != nil { // leaves most points of the message before as they were
		t.Fatal(err)
	}
	b.release()
	for i, p := range b.points[:cap(b.points)] {
		if p.Data != nil {
			t.Fatalf("point %d of an emptied burst still holds its data", i)
		}
	}
	for i, r := range b.readings[:cap(b.readings)] {
		if r.Data != nil {
			t.Fatalf("reading %d of an emptied burst still holds its data", i)
		}
	}
	m = message(1, `[`+strings.Repeat(`{"data":{}},`, 999)+`{"data":{}}]`)
	if err := b.Add(m); err != nil {
		t.Fatal(err)
	}
	if b.release(); cap(b.readings) != 0 || cap(b.points) != 0 {
		t.Errorf("a burst keeps room for %d readings after a huge batch, want none", cap(b.readings))
	}
}

func TestRecentKeys_RememberTheNewestAndNoMore(t *testing.T) {
	s := newRecentKeys()
	key := func(i int) telemetry.Key { return telemetry.Key{byte(i), byte(i >> 8), byte(i >> 16), 1} }
	const n = 5 * keepRecent
	for i := range n {
		if s.seen(key(i)) {
			t.Fatalf("key %d was seen before it came", i)
		}
		if got := len(s.young) + len(s.old); got > 2*keepRecent {
			t.Fatalf("%d keys are remembered, want at most %d", got, 2*keepRecent)
		}
	}
	for i := n - keepRecent; i < n; i++ {
		if !s.seen(key(i)) {
			t.Fatalf("key %d of the last %d is forgotten", n-i, keepRecent)
		}
	}
}

func TestWatch_AddsObserversAfterTheOthers(t *testing.T) {
	var order []string
	observer := func(name string) Observer {
		return observerFunc(func(r *telemetry.Reading) { order = append(order, name) })
	}
	p := New(Config{}, &ledger{}, quiet, observer("first"))
	p.Watch(observer("second"), observer("third"))
	mustAccept(t, p, message(1, `{}`), nil)
	mustClose(t, p)
	if want := []string{"first", "second", "third"}; !slices.Equal(order, want) {
		t.Errorf("observers were called in the order %q, want %q", order, want)
	}
}

type observerFunc func(*telemetry.Reading)

func (f observerFunc) Observe(rs []telemetry.Reading) {
	for i := range rs {
		f(&rs[i])
	}
}
