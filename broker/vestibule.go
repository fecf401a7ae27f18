package broker

import (
	"runtime"
	"sync"
	"time"
)

// vestibule lets connections that want to log in take their steps a few at a time. A connection holds a place from its first step, and again
// from the arrival of CONNECT, until what comes next is not for a processor alone: it waits for its peer, for a password, for the former
// holder of its session, for the journal, or it is in. A fleet that returns at one moment would else be ten thousand goroutines that can all
// run, and every message of those who are here would queue up behind them, at each of its steps. With places for half the processors the
// other half is theirs. Who waits for its first place costs no goroutine; pending bounds how many they are.
//
// While others queue for it, a place is worked in shifts with a rest between: Go's scheduler looks at the sockets when a processor runs
// out of work and else every 10 ms only, which is how long those who are here would wait for a processor that always has one more login.
type vestibule struct {
	places int

	mu      sync.Mutex
	taken   int       // guarded by mu: never above places
	waiting []func()  // guarded by mu: starts of those that have no place yet, in order; empty unless all places are taken
	rested  time.Time // guarded by mu: when the last rest was over
}

// Of a processor a storm so takes a fifth: ten thousand logins, half a millisecond or less each, are worked off in two seconds or so.
const (
	shift = 500 * time.Microsecond
	rest  = 2 * time.Millisecond
)

func newVestibule() *vestibule { return &vestibule{places: max(1, runtime.GOMAXPROCS(0)/2)} }

// enter calls start once there is a place: at once, or from somebody's leave. It does not block, and start must not.
func (v *vestibule) enter(start func()) {
	v.mu.Lock()
	if v.taken == v.places {
		v.waiting = append(v.waiting, start)
		v.mu.Unlock()
		return
	}
	v.taken++
	v.mu.Unlock()
	start()
}

// leave hands a place on, after a rest if one is due, or back.
func (v *vestibule) leave() {
	v.mu.Lock()
	if len(v.waiting) > 0 && time.Since(v.rested) >= shift {
		v.mu.Unlock()
		time.AfterFunc(rest, v.resume)
		return
	}
	v.handOnLocked()
}

func (v *vestibule) resume() {
	v.mu.Lock()
	v.rested = time.Now()
	v.handOnLocked()
}

// handOnLocked unlocks mu.
func (v *vestibule) handOnLocked() {
	if len(v.waiting) == 0 {
		v.waiting = nil // a quiet server must not hold the memory of its last storm
		v.taken--
		v.mu.Unlock()
		return
	}
	start := v.waiting[0]
	v.waiting[0] = nil
	v.waiting = v.waiting[1:]
	v.mu.Unlock()
	start()
}

// stepIn waits for a place, unless the connection has one. Nobody who has one waits for anybody, so it is not for long.
func (c *conn) stepIn() {
	if c.inside {
		return
	}
	begin := make(chan struct{})
	c.broker.entrance.enter(func() { close(begin) })
	<-begin
	c.inside = true
}

// stepOut gives the place back, if the connection has one. Whoever may wait for anything but a processor calls it first.
func (c *conn) stepOut() {
	if c.inside {
		c.inside = false
		c.broker.entrance.leave()
	}
}
