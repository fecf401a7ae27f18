package auth

import (
	"sync"
	"time"
)

// recent is a set whose members are forgotten after a fixed time. With a cap it refuses what is new when full: forgetting early would make
// a used ticket good again. Safe for concurrent use.
type recent[K comparable] struct {
	keep time.Duration
	max  int // 0: no cap

	mu      sync.RWMutex
	members map[K]struct{} // guarded by mu
	queue   []departure[K] // guarded by mu; oldest first, since all stay equally long
}

type departure[K comparable] struct {
	member K
	at     time.Time
}

// verdict is what became of an add.
type verdict uint8

const (
	added verdict = iota
	present
	full
)

func newRecent[K comparable](keep time.Duration, max int) *recent[K] {
	return &recent[K]{keep: keep, max: max, members: make(map[K]struct{})}
}

// add makes k a member for keep from now on, unless it is one already. Of concurrent adds of one k exactly one is told added.
func (r *recent[K]) add(k K, now time.Time) verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetLocked(now)
	if _, ok := r.members[k]; ok {
		return present
	}
	if r.max > 0 && len(r.members) >= r.max {
		return full
	}
	r.members[k] = struct{}{}
	r.queue = append(r.queue, departure[K]{k, now.Add(r.keep)})
	return added
}

// has reports whether k is a member; it may stay one longer than keep.
func (r *recent[K]) has(k K) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.members[k]
	return ok
}

func (r *recent[K]) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.members)
}

func (r *recent[K]) forgetLocked(now time.Time) {
	due := 0
	for due < len(r.queue) && !now.Before(r.queue[due].at) {
		delete(r.members, r.queue[due].member)
		due++
	}
	r.queue = r.queue[due:] // append moves to a new array when this one's tail is used up, which frees the head
}
