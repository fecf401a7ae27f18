package drive

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"
)

// atMost is how many a test has, or few of them where time is short.
func atMost(n, short int) int {
	if testing.Short() {
		return short
	}
	return n
}

// many is atMost for sockets, of which the race detector makes each so much dearer that it gets a quarter.
func many(n, short int) int {
	if testing.Short() && raceEnabled() {
		return short / 4
	}
	return atMost(n, short)
}

// samePorts are the arguments for listeners on ports that a server can have again. They are below those that the system gives to clients:
// one that tries to connect to a server that is down must not be given its port.
func samePorts(t testing.TB) (args []string) {
	t.Helper()
	for _, name := range []string{"http", "mqtt", "admin"} {
		args = append(args, "--"+name+"-listen", freePort(t, 10_000+rand.IntN(20_000)))
	}
	return args
}

func freePort(t testing.TB, from int) (addr string) {
	t.Helper()
	for port := from; port < from+1000; port++ {
		addr = "127.0.0.1:" + strconv.Itoa(port)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatalf("no port from %d on is free", from)
	return ""
}

// TestRelay_RestartIsNoTicketStorm has thousands of viewers come back at once after a stop and after a kill: each by the token it has,
// once, and each to where it left off.
func TestRelay_RestartIsNoTicketStorm(t *testing.T) {
	t.Parallel()
	viewers, sensors := many(5_000, 1_000), 100
	needFiles(t, uint64(viewers+2*sensors))
	dir, ann := founded(t, sensors)
	args := append(samePorts(t), "--log-level", "debug")
	s := serve(t, dir, append(args, "--tickets-per-minute", "0", "--ticket-ttl", "30s")...)
	ann.s = s
	var all []*follower
	for i := range viewers {
		f := ann.follower(serialOf(i%sensors), serialOf((i*7+1)%sensors))
		f.quiet, f.jitter = i%2 == 0, time.Second+rand.N(time.Second)
		all = append(all, f)
	}
	stop := follow(t, all)
	start := time.Now()
	arrived := func(times int) {
		t.Helper()
		eventually(t, fmt.Sprintf("viewers to be in %d times", times), func() int {
			return viewers - count(all, func(f *follower) bool { return f.hellos >= times && f.token != "" })
		})
		t.Logf("%d viewers in %d times after %v", viewers, times, time.Since(start).Round(time.Millisecond))
	}
	arrived(1)
	if got := s.metrics()["tickets_minted_total"]; got != float64(viewers) {
		t.Errorf("tickets before the restart: got %v, want %d", got, viewers)
	}
	feed := s.feed(sensors, time.Duration(atMost(700, 500))*time.Millisecond, 20)
	feed.reach(t, 1)
	s.inspect()

	start = time.Now()
	if err := s.terminate(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped after %v", time.Since(start).Round(time.Millisecond))
	s = serve(t, dir, args...)
	ann.s = s
	arrived(2)
	s.onlyResumed(viewers)
	feed.reach(t, 2)
	if n := count(all, func(f *follower) bool { return len(f.lost) > 0 || len(f.gaps) > 0 }); n > 0 {
		t.Errorf("after SIGTERM: %d viewers were told of gaps, want none", n)
	}
	if n := count(all, func(f *follower) bool { return !slices.Equal(f.codes, []int{1012}) }); n > 0 {
		t.Errorf("after SIGTERM: %d viewers were not closed with 1012", n)
	}
	balanced(t, all, ann.log(sensors), true)
	used := s.useless(all)
	s.inspect()

	start = time.Now()
	s.kill()
	s = serve(t, dir, args...)
	ann.s = s
	arrived(3)
	s.onlyResumed(viewers)
	if n := count(all, func(f *follower) bool { return !slices.Equal(f.lost, []string{"epoch"}) }); n > 0 {
		t.Errorf("after kill -9: %d viewers were not told of one gap for the epoch", n)
	}
	for _, token := range used {
		s.refuses(token, "used before the kill")
	}
	s.useless(all)
	feed.reach(t, 1)
	total := feed.end()
	log := ann.log(sensors)
	feed.holds(t, log)
	caughtUp(t, all, log)
	balanced(t, all, log, true)
	if n := count(all, func(f *follower) bool { return f.tickets != 1 || f.refused > 0 }); n > 0 {
		t.Errorf("%d viewers asked for a second ticket, or had a token refused", n)
	}
	s.inspect()
	stop()
	t.Logf("%d readings acknowledged, %d sent again", total, feed.again.Load())
}

// count is how many viewers something holds for; it is asked with their locks held.
func count(all []*follower, holds func(f *follower) bool) (n int) {
	for _, f := range all {
		f.mu.Lock()
		if holds(f) {
			n++
		}
		f.mu.Unlock()
	}
	return n
}

// onlyResumed checks that all viewers have come with tokens, and none with a ticket.
func (s *instance) onlyResumed(viewers int) {
	s.t.Helper()
	m := s.metrics()
	if m["tickets_minted_total"] != 0 || m["resumes_redeemed_total"] != float64(viewers) || m["resumes_refused_total"] != 0 {
		s.t.Errorf("after the restart: got %v tickets made, %v tokens redeemed, %v refused, want 0, %d, 0",
			m["tickets_minted_total"], m["resumes_redeemed_total"], m["resumes_refused_total"], viewers)
	}
}

// useless checks that some of the viewers' tokens, which they came with, are of no use any more, and returns them.
func (s *instance) useless(all []*follower) (used []string) {
	s.t.Helper()
	for _, i := range rand.Perm(len(all))[:20] {
		f := all[i]
		f.mu.Lock()
		used = append(used, f.spent)
		f.mu.Unlock()
		s.refuses(used[len(used)-1], "used")
	}
	return used
}

func (s *instance) refuses(token, what string) {
	s.t.Helper()
	for _, quiet := range []bool{false, true} {
		ws, status, err := s.viewer(s.t.Context(), "resume", token, url.Values{}, quiet, 0)
		if err == nil {
			ws.Close()
		}
		if status != 401 {
			s.t.Errorf("a token %s: got %d, %v, want 401", what, status, err)
		}
	}
}

// reach waits until each sensor has so many more readings acknowledged.
func (f *feed) reach(t testing.TB, more int64) {
	t.Helper()
	var want []int64
	for i := range f.acknowledged {
		want = append(want, f.acknowledged[i].Load()+more)
	}
	eventually(t, "sensors to publish", func() (left int) {
		for i := range f.acknowledged {
			if f.acknowledged[i].Load() < want[i] {
				left++
			}
		}
		return left
	})
}
