package drive

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// audience is viewers of which a fifth can be made to stop reading. Those watch every sensor, through sockets that take in little; the
// others watch one or two each, through normal ones.
type audience struct {
	ann              *person
	s                *instance
	healthy, stalled []*follower
}

const audienceSensors = 50

// newAudience has viewers follow; those that can be stalled only if they are wanted.
func newAudience(t testing.TB, viewers int, stalled bool) *audience {
	t.Helper()
	needFiles(t, uint64(viewers+audienceSensors))
	dir, ann := founded(t, audienceSensors)
	a := &audience{ann: ann, s: serve(t, dir, "--tickets-per-minute", "0", "--ticket-ttl", "30s", "--log-level", "debug")}
	ann.s = a.s
	var serials []string
	for i := range audienceSensors {
		serials = append(serials, serialOf(i))
	}
	for i := range viewers {
		if i%5 == 0 {
			if !stalled {
				continue
			}
			f := ann.follower(serials...)
			f.window = 64 << 10
			a.stalled = append(a.stalled, f)
			continue
		}
		f := ann.follower(serials[i%audienceSensors])
		if i%4 == 0 {
			f.serials = append(f.serials, serials[(i+1)%audienceSensors])
		}
		a.healthy = append(a.healthy, f)
	}
	follow(t, a.all())
	eventually(t, "viewers to be in", func() int {
		return len(a.all()) - count(a.all(), func(f *follower) bool { return f.hellos == 1 })
	})
	return a
}

func (a *audience) all() []*follower { return slices.Concat(a.healthy, a.stalled) }

// stall has the viewers read nothing until release is called, or the test ends.
func stall(t testing.TB, all []*follower) (release func()) {
	for _, f := range all {
		f.reading.Lock()
	}
	release = sync.OnceFunc(func() {
		for _, f := range all {
			f.reading.Unlock()
		}
	})
	t.Cleanup(release)
	return release
}

// stallLimit is how long viewers read nothing: after a minute without an answer to its pings the server may close.
const stallLimit = 40 * time.Second

// TestRelay_StalledViewersLoseNothingUnannounced has a fifth of the viewers stop reading while many readings pass. The others get
// everything; those get the newest of each sensor when they read again, and are told to a reading what they missed.
func TestRelay_StalledViewersLoseNothingUnannounced(t *testing.T) {
	const perRound = 20
	viewers, rounds, bytes := atMost(1_000, 100), atMost(50_000, 5_000)/audienceSensors/perRound, atMost(150, 1_000)
	a := newAudience(t, viewers, true)
	fleet, refused := crowd(audienceSensors, func(i int) (*client, error) { return a.s.client("tcp", sensorLogin(i, 4+byte(i&1))) })
	if len(refused) > 0 {
		t.Fatalf("sensors refused: %v", refused)
	}
	defer vanish(fleet)
	pad, sent := padding(bytes), 0
	round := func(n int) {
		t.Helper()
		publishAll(t, fleet, sent, n, pad)
		sent += n
		eventually(t, "healthy viewers to keep up", func() int {
			return count(a.healthy, func(f *follower) bool {
				return slices.ContainsFunc(f.serials, func(serial string) bool { return len(f.got[serial])+len(f.gaps[serial])+2*n < sent })
			})
		})
	}
	round(perRound)
	caughtUp(t, a.all(), a.ann.log(audienceSensors))
	before := a.s.heap()
	release, since := stall(t, a.stalled), time.Now()
	for n := range rounds - 1 {
		if time.Since(since) > stallLimit {
			t.Logf("the machine is starved: only %d readings pass", audienceSensors*perRound*(n+1))
			break
		}
		round(perRound)
	}
	each := (a.s.heap() - before) / float64(len(a.stalled)) / 1024
	m := a.s.metrics()
	t.Logf("%d readings, %d of %d viewers stalled: %.1f KiB of heap each, %v conflated", audienceSensors*sent, len(a.stalled), viewers, each, m["websocket_conflations_total"])
	if !testing.Short() && each > 256 {
		t.Errorf("a stalled viewer costs %.1f KiB, want at most 256", each)
	}
	a.s.inspect()
	release()
	round(1)

	log := a.ann.log(audienceSensors)
	caughtUp(t, a.all(), log)
	balanced(t, a.all(), log, true)
	shownIsKept(t, a.all(), log)
	for serial, stored := range log {
		if len(stored) != sent {
			t.Errorf("%s: %d readings are stored, want %d", serial, len(stored), sent)
		}
	}
	if n := count(a.all(), func(f *follower) bool { return len(f.ends) > 0 }); n > 0 {
		t.Errorf("%d viewers lost their connection: %v", n, ends(a.all()))
	}
	if n := count(a.healthy, func(f *follower) bool { return len(f.gaps) > 0 }); n > 0 {
		t.Errorf("%d viewers that read missed something", n)
	}
	if n := count(a.stalled, func(f *follower) bool { return len(f.gaps) == 0 }); n > 0 {
		t.Errorf("%d stalled viewers missed nothing, so nothing was tested", n)
	}
}

// publishAll has each sensor of the fleet publish its next n readings in one message, and waits for the acknowledgements.
func publishAll(t testing.TB, fleet []*client, sent, n int, pad string) {
	t.Helper()
	errs := make([]error, len(fleet))
	var all sync.WaitGroup
	for i, d := range fleet {
		all.Go(func() {
			var batch []string
			for number := sent + 1; number <= sent+n; number++ {
				batch = append(batch, numbered(i, number, pad))
			}
			d.SetDeadline(time.Now().Add(patience))
			errs[i] = d.publish(topicOf(i), "["+strings.Join(batch, ",")+"]")
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("%s: %v", serialOf(i), err)
		}
	}
}

// heap is what the server's heap and stacks take after a collection, in bytes.
func (s *instance) heap() float64 {
	s.t.Helper()
	s.collect()
	s.collect() // what was only cached is gone after two
	m := s.metrics()
	return m["go_memstats_heap_inuse_bytes"] + m["go_memstats_stack_inuse_bytes"]
}

// BenchmarkRelay_StalledViewers is how long readings take to healthy viewers, from the sensor's clock to the viewer's, with a
// fifth of all viewers reading nothing and without these. Server, sensors and viewers share the machine: only the ratio tells.
func BenchmarkRelay_StalledViewers(b *testing.B) {
	viewers, readings := atMost(1_000, 100), atMost(50_000, 5_000)
	var with, without []time.Duration
	for b.Loop() {
		without = append(without, latencies(b, viewers, readings, false)...)
		with = append(with, latencies(b, viewers, readings, true)...)
	}
	slices.Sort(with)
	slices.Sort(without)
	p99 := func(all []time.Duration) float64 { return float64(all[len(all)*99/100].Microseconds()) / 1000 }
	b.ReportMetric(p99(without), "p99-ms/reading")
	b.ReportMetric(p99(with), "p99-ms/stalled")
	b.ReportMetric(p99(with)/p99(without), "stalled/healthy")
	b.ReportMetric(0, "ns/op") // is how long the sensors were told to take
}

// latencies runs sensors at a steady pace and returns what healthy viewers measured.
func latencies(b *testing.B, viewers, readings int, stalling bool) (all []time.Duration) {
	a := newAudience(b, viewers, stalling)
	var mu sync.Mutex
	for _, f := range a.healthy {
		f.mu.Lock()
		f.hears = func(data json.RawMessage) {
			if m, err := measure(data); err == nil {
				took := time.Since(time.UnixMicro(m.At))
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
			}
		}
		f.mu.Unlock()
	}
	if stalling {
		defer stall(b, a.stalled)()
	}
	fleet, refused := crowd(audienceSensors, func(i int) (*client, error) { return a.s.client("tcp", sensorLogin(i, 4)) })
	if len(refused) > 0 {
		b.Fatalf("sensors refused: %v", refused)
	}
	defer vanish(fleet)
	var over sync.WaitGroup
	pad := padding(400)
	for i, d := range fleet {
		over.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for range readings / audienceSensors {
				<-tick.C
				d.SetDeadline(time.Now().Add(patience))
				if err := d.publish(topicOf(i), fmt.Sprintf(`{"at":%d,"pad":"%s"}`, time.Now().UnixMicro(), pad)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	over.Wait()
	log := a.ann.log(audienceSensors)
	caughtUp(b, a.healthy, log)
	balanced(b, a.healthy, log, true)
	mu.Lock()
	defer mu.Unlock()
	return all
}
