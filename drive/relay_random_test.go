package drive

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestRelay_RandomViewersOverRestarts has viewers stall, break off, ask for less and come back at random, while sensors publish and the
// server is stopped or killed three times. What package bridge shows for single sessions holds for the program as a whole.
func TestRelay_RandomViewersOverRestarts(t *testing.T) {
	t.Parallel() // mostly it waits
	const sensors, viewers, restarts = 6, 24, 3
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, viewers))
	dir, ann := founded(t, sensors)
	args := append(samePorts(t), "--tickets-per-minute", "0", "--log-level", "debug")
	s := serve(t, dir, args...)
	ann.s = s
	feed := s.feed(sensors, 20*time.Millisecond, 1_000)
	var all []*follower
	for i := range viewers {
		f := ann.follower(serialOf(i%sensors), serialOf((i+1)%sensors), serialOf((i+3)%sensors))
		f.jitter, f.quiet, f.window = 200*time.Millisecond, i%2 == 0, 8<<10
		all = append(all, f)
	}
	stop := follow(t, all)
	calm := make(chan struct{})
	var storms sync.WaitGroup
	for i, f := range all {
		storms.Go(func() { f.misbehave(rand.New(rand.NewPCG(seed, uint64(i))), calm) }) // ends when calm closes
	}
	end := sync.OnceFunc(func() { close(calm); storms.Wait() })
	t.Cleanup(end)

	for range restarts {
		time.Sleep(time.Duration(atMost(1_000, 300)+dice.IntN(700)) * time.Millisecond) // the random moment
		balanced(t, all, ann.log(sensors), false)
		s.inspect()
		start, how := time.Now(), "stopped"
		if dice.IntN(2) == 0 {
			if err := s.terminate(); err != nil {
				t.Fatal(err)
			}
		} else {
			how = "killed"
			s.kill()
		}
		t.Logf("%s after %v", how, time.Since(start).Round(time.Millisecond))
		s = serve(t, dir, args...)
		ann.s = s
	}
	feed.reach(t, 10)
	end()
	total := feed.end()
	log := ann.log(sensors)
	feed.holds(t, log)
	caughtUp(t, all, log)
	balanced(t, all, log, false)
	stop()
	hellos, tickets, refused, gaps := 0, 0, 0, map[string]int{}
	for _, f := range all {
		hellos, tickets, refused = hellos+f.hellos, tickets+f.tickets, refused+f.refused
		for _, reason := range f.lost {
			gaps[reason]++
		}
		for reason, n := range f.excuses {
			gaps[reason] += n
		}
	}
	t.Logf("%d readings; %d connections, %d tickets, %d tokens refused; gaps: %v", total, hellos, tickets, refused, gaps)
}

// misbehave does what viewers do.
func (f *follower) misbehave(dice *rand.Rand, calm chan struct{}) {
	wait := func(most time.Duration) bool {
		select {
		case <-calm:
			return false
		case <-time.After(time.Duration(dice.Int64N(int64(most)))):
			return true
		}
	}
	for wait(400 * time.Millisecond) {
		f.mu.Lock()
		ws := f.ws
		f.mu.Unlock()
		switch act := dice.IntN(6); {
		case act < 2:
			f.reading.Lock()
			wait(2 * time.Second)
			f.reading.Unlock()
		case ws == nil:
		case act == 2:
			reset(ws.NetConn())
		case act == 3:
			ws.NetConn().Close()
		case act == 4:
			_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"rate","max_per_second":4}`)) // who is gone asks for nothing
		}
	}
}
