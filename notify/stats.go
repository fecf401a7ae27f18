package notify

import (
	"sync/atomic"
	"time"
)

type counters struct {
	fanned, sent, refused, retried, withdrawn, tests, waiting atomic.Int64
}

// count counts an attempt.
func (c *counters) count(o outcome, test bool) {
	switch {
	case test:
		c.tests.Add(1)
	case o.ok():
		c.sent.Add(1)
	case o.final:
		c.refused.Add(1)
	default:
		c.retried.Add(1)
	}
}

// Stats are counts since the start, except where they say "now".
type Stats struct {
	Notices      int64 // notices given to their owners' channels, or to none where there are none
	Sent         int64 // messages that arrived
	Refused      int64 // messages given up after an attempt: trying again would not help
	Retried      int64 // attempts that failed and are made again
	Withdrawn    int64 // deliveries not made because their sensor was not the owner's any more
	Tests        int64 // test messages
	Waiting      int64 // deliveries waiting, as of the last minute
	Sending      int64 // attempts under way now
	OpenCircuits int64 // hosts left alone now because they do not work
}

// Stats returns the present figures.
func (d *Desk) Stats() Stats {
	c := &d.counters
	s := Stats{
		Notices: c.fanned.Load(), Sent: c.sent.Load(), Refused: c.refused.Load(), Retried: c.retried.Load(),
		Withdrawn: c.withdrawn.Load(), Tests: c.tests.Load(), Waiting: c.waiting.Load(),
	}
	d.mu.Lock()
	s.Sending, s.OpenCircuits = int64(len(d.busy)), int64(d.lanes.open(time.Now()))
	d.mu.Unlock()
	return s
}
