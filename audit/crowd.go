package audit

import (
	"fmt"
	"sync"
	"time"
)

const (
	minute = int64(time.Minute / time.Millisecond)

	// maxBuckets is how many entries a minute what is refused may make: some 140,000 a day, 40 MB, whoever tries.
	maxBuckets = 100
)

// crowd keeps what is refused, or fails, from filling the trail: what is the same within a minute shares an entry, and beyond
// maxBuckets of them all the rest share one more. The zero crowd is ready.
type crowd struct {
	mu      sync.Mutex
	minute  int64               // guarded by mu: which one buckets are of
	buckets map[string]struct{} // guarded by mu
}

// bucket names the entry that e may share; empty: it has one of its own. Where there are too many, e loses what tells it from others.
func (c *crowd) bucket(e *Entry) string {
	if e.Outcome == Done {
		return ""
	}
	now := int64(e.At) / minute
	key := fmt.Sprintf("%d %s %s %d %d %d %s", now, e.Outcome, e.Action, e.Actor.ID, e.Account.ID, e.Sensor.ID, e.Address)
	if c.admit(key, now) {
		return key
	}
	*e = Entry{At: e.At, Action: e.Action, Outcome: e.Outcome, Count: e.Count, Detail: map[string]any{"of": "many"}}
	return fmt.Sprintf("%d %s %s many", now, e.Outcome, e.Action)
}

func (c *crowd) admit(key string, now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.minute != now || c.buckets == nil {
		c.minute, c.buckets = now, make(map[string]struct{})
	}
	if _, known := c.buckets[key]; !known && len(c.buckets) >= maxBuckets {
		return false
	}
	c.buckets[key] = struct{}{}
	return true
}
