package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/telemetry"
)

func TestRecent_RefusesRatherThanForgets(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	r := newRecent[int](time.Second, 3)
	for i := range 3 {
		if got := r.add(i, now.Add(time.Duration(i)*100*time.Millisecond)); got != added {
			t.Errorf("add(%d): got %d, want added", i, got)
		}
	}
	for _, step := range []struct {
		k     int
		after time.Duration
		want  verdict
	}{
		{0, 300 * time.Millisecond, present}, {3, 300 * time.Millisecond, full}, {3, 999 * time.Millisecond, full},
		{3, time.Second, added}, {4, time.Second, full}, {1, 1099 * time.Millisecond, present}, {0, 1100 * time.Millisecond, added},
	} {
		if got := r.add(step.k, now.Add(step.after)); got != step.want {
			t.Errorf("add(%d) at +%v: got %d, want %d", step.k, step.after, got, step.want)
		}
	}
	if r.add(9, now.Add(time.Hour)); r.len() != 1 || len(r.queue) != 1 {
		t.Errorf("after an hour: got %d members, %d queued, want 1, 1", r.len(), len(r.queue))
	}
}

func TestService_FullSetOfUsedTicketsRefuses(t *testing.T) {
	keys, err := LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := NewDirectory(keys)
	dir.Put(Device{SensorID: 1, Serial: "SN1"})
	c := newClock()
	s := &Service{
		dir: dir, clock: c, ticket: newSeal("ticket+jwt", "sensorcast/ws", keys.ticket, c), used: newRecent[string](time.Minute, 2),
		cfg: Config{TicketTTL: time.Minute},
	}
	p := Principal{Kind: Sensor, SensorID: 1, Serial: "SN1"}
	var last Ticket
	for i := range 3 {
		last, err = s.MintTicket(p, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.RedeemTicket(last.Token); i < 2 && err != nil {
			t.Fatalf("ticket %d: got %v, want nil", i, err)
		}
	}
	if !errors.Is(err, telemetry.ErrUnavailable) {
		t.Errorf("third ticket with room for two: got %v, want ErrUnavailable", err)
	}
	s.used.forgetLocked(c.now().Add(time.Hour))
	if _, err := s.RedeemTicket(last.Token); err != nil {
		t.Errorf("the refused one, once there is room: got %v, want nil: it was not burnt", err)
	}
}

func TestThrottle_CountsPerKeyAndRecovers(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	th := newThrottle(10, time.Minute)
	for i := range 10 {
		if wait := th.take("a", now); wait != 0 {
			t.Errorf("take %d: got wait %v, want 0", i, wait)
		}
	}
	if wait := th.take("a", now); wait != 6*time.Second {
		t.Errorf("11th: got wait %v, want 6 s", wait)
	}
	if wait := th.take("b", now); wait != 0 {
		t.Errorf("other key: got wait %v, want 0", wait)
	}
	if wait := th.wait("a", now.Add(6*time.Second)); wait != 0 {
		t.Errorf("6 s later: got wait %v, want 0", wait)
	}
	th.charge("a", now) // beyond the limit, as failures that were under way
	th.charge("a", now)
	if wait := th.wait("a", now); wait != 18*time.Second {
		t.Errorf("with two more charged: got wait %v, want 18 s", wait)
	}
	th.clear("a")
	if wait := th.wait("a", now); wait != 0 {
		t.Errorf("cleared: got wait %v, want 0", wait)
	}
	if wait := newThrottle(0, time.Minute).take("a", now); wait != 0 {
		t.Errorf("no limit: got wait %v, want 0", wait)
	}
}

func TestThrottle_ForgetsTheLongestUnchargedBeyondItsBound(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	th := newThrottle(1, time.Minute)
	for i := range maxThrottled + 10 {
		th.charge(fmt.Sprint(i), now)
	}
	if th.order.Len() != maxThrottled || len(th.debts) != maxThrottled {
		t.Errorf("keys: got %d, %d, want %d", th.order.Len(), len(th.debts), maxThrottled)
	}
	if th.wait("9", now) != 0 || th.wait("10", now) == 0 {
		t.Errorf("waits: got %v for the evicted, %v for the kept, want 0 and more", th.wait("9", now), th.wait("10", now))
	}
}

func TestAddressKey_TakesIPv6ByItsNetwork(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"2001:db8::1", "2001:db8::ffff:2", true}, {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"203.0.113.1", "203.0.113.2", false}, {"::ffff:203.0.113.1", "203.0.113.1", true}, {"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		if got := addressKey(netip.MustParseAddr(c.a)) == addressKey(netip.MustParseAddr(c.b)); got != c.same {
			t.Errorf("%s and %s: got same %v, want %v", c.a, c.b, got, c.same)
		}
	}
	if addressKey(netip.Addr{}) == "" {
		t.Error("unknown address: got no key, want one")
	}
}

func TestHasher_BoundsSlotsQueueAndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hasher{slots: make(chan struct{}, 2)}
		var running, most, busy atomic.Int64
		work := func() error { // stands in for argon2, which takes no time in a bubble
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(300 * time.Millisecond)
			running.Add(-1)
			return errors.New("seen enough")
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := h.verify(t.Context(), "", nobodysHash, work); errors.Is(err, telemetry.ErrUnavailable) {
					busy.Add(1)
				}
			})
		}
		synctest.Wait()
		if got := h.waiting.Load(); got != maxHashesWaiting || busy.Load() != 100-2-maxHashesWaiting {
			t.Errorf("at once: got %d waiting, %d refused, want %d, %d", got, busy.Load(), maxHashesWaiting, 100-2-maxHashesWaiting)
		}
		started := time.Now()
		wg.Wait()
		// Two slots take 300 ms each: 2 + 3 × 2 begin within the second that anybody waits.
		if most.Load() != 2 || busy.Load() != 100-8 || time.Since(started) > maxHashWait+300*time.Millisecond {
			t.Errorf("in the end: got at most %d at once, %d refused after %v, want 2, 92", most.Load(), busy.Load(), time.Since(started))
		}
		if h.waiting.Load() != 0 || len(h.slots) != 0 || h.refused.Load() != busy.Load() {
			t.Errorf("left: got %d waiting, %d slots, %d counted, want 0, 0, %d", h.waiting.Load(), len(h.slots), h.refused.Load(), busy.Load())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h.slots <- struct{}{}
		h.slots <- struct{}{}
		if _, err := h.hash(ctx, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("client gone: got %v, want context.Canceled", err)
		}
	})
}

func TestNobodysHash_CostsWhatAnAccountsDoes(t *testing.T) {
	phc, err := newHasher().hash(t.Context(), "whatever it is")
	if err != nil {
		t.Fatal(err)
	}
	// Same parameters, salt and key length: everything but the last two fields, and their lengths.
	if len(phc) != len(nobodysHash) || phc[:30] != nobodysHash[:30] {
		t.Errorf("got %q, want the shape of %q", nobodysHash, phc)
	}
	match, err := newHasher().verify(t.Context(), "", nobodysHash, func() error { return nil })
	if match || err != nil {
		t.Errorf("empty password: got %v, %v, want no match", match, err)
	}
}

func BenchmarkHasher_Verify(b *testing.B) {
	h := newHasher()
	for b.Loop() {
		h.verify(b.Context(), "password", nobodysHash, func() error { return nil })
	}
}
