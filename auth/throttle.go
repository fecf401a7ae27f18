package auth

import (
	"container/list"
	"sync"
	"time"
)

// throttle limits how often something may happen per key: limit times at once, and then limit per period evenly. It keeps, per key, the
// instant at which the key's debt is paid off (the generic cell rate algorithm): an absent key has no debt, so forgetting a key is safe
// once it is past and merely generous before. Unlike x/time/rate it can be looked at without paying and paid beyond the limit, which is
// how only failures count. A nil throttle has no limit. Safe for concurrent use.
type throttle struct {
	cost  time.Duration // of one event
	grace time.Duration // debt that is let pass

	mu      sync.Mutex
	debts   map[string]*list.Element // guarded by mu
	order   list.List                // guarded by mu; *debt, most recently charged first
	changed map[string]struct{}      // guarded by mu; since changes returned them, at most maxThrottled; nil: nobody keeps the debts
}

type debt struct {
	key  string
	paid time.Time
}

// maxThrottled bounds the memory strangers can claim (about 10 MB); beyond it the key not charged for longest is forgotten.
const maxThrottled = 1 << 16

// newThrottle returns nil for limit ≤ 0.
func newThrottle(limit int, period time.Duration) *throttle {
	if limit <= 0 {
		return nil
	}
	cost := period / time.Duration(limit)
	return &throttle{cost: cost, grace: period - cost, debts: make(map[string]*list.Element)}
}

// wait returns how long key must wait before the next event; 0: it may go ahead.
func (t *throttle) wait(key string, now time.Time) time.Duration {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waitLocked(key, now)
}

func (t *throttle) waitLocked(key string, now time.Time) time.Duration {
	e, ok := t.debts[key]
	if !ok {
		return 0
	}
	return max(0, e.Value.(*debt).paid.Sub(now)-t.grace)
}

// charge books one event for key, whether it could wait or not.
func (t *throttle) charge(key string, now time.Time) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.chargeLocked(key, now)
}

func (t *throttle) chargeLocked(key string, now time.Time) {
	e, ok := t.debts[key]
	if !ok {
		if t.order.Len() >= maxThrottled {
			delete(t.debts, t.order.Remove(t.order.Back()).(*debt).key)
		}
		e = t.order.PushFront(&debt{key: key, paid: now})
		t.debts[key] = e
	}
	d := e.Value.(*debt)
	if d.paid.Before(now) {
		d.paid = now
	}
	d.paid = d.paid.Add(t.cost)
	t.order.MoveToFront(e)
	t.noteLocked(key)
}

// take books one event for key if it may go ahead, and otherwise says how long to wait.
func (t *throttle) take(key string, now time.Time) time.Duration {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := t.waitLocked(key, now)
	if wait == 0 {
		t.chargeLocked(key, now)
	}
	return wait
}

// clear forgives key its debt.
func (t *throttle) clear(key string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.debts[key]; ok {
		t.order.Remove(e)
		delete(t.debts, key)
		t.noteLocked(key)
	}
}
