package ingest

import (
	"sync/atomic"
	"time"
)

// commitBounds are the upper bounds of Stats.CommitBuckets.
var commitBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second,
}

type counters struct {
	accepted                                  [3]atomic.Int64 // by telemetry.Via
	committed, failed                         atomic.Int64
	journaled, unjournaled                    atomic.Int64
	malformed, refused, repeated, shed, waits atomic.Int64
	commits, commitNanos                      atomic.Int64
	commitBuckets                             [len(commitBounds)]atomic.Int64
}

func (c *counters) observeCommit(d time.Duration) {
	c.commits.Add(1)
	c.commitNanos.Add(int64(d))
	for i, bound := range commitBounds {
		if d <= bound {
			c.commitBuckets[i].Add(1)
			return
		}
	}
}

// Stats are counts since the start, except where they say "now".
type Stats struct {
	Accepted  [3]int64 // readings taken, by telemetry.Via
	Committed int64    // readings handed to the store with success; resent ones included
	Failed    int64    // readings the store refused; their senders got no acknowledgement
	Malformed int64    // messages that could not be decoded
	Refused   int64    // publishes and subscriptions outside a sensor's own topics
	Repeated  int64    // readings sent again and not shown twice
	Shed      int64    // QoS 0 readings given up under overload, nearly always for a newer one of their sensor
	Waits     int64    // times a door was held back by a full queue

	Journaled   int64 // changes of MQTT sessions handed to the store with success
	Unjournaled int64 // changes the store refused

	Commits       int64              // transactions
	CommitSeconds float64            // and the time they took
	CommitBuckets map[float64]uint64 // how many took at most so many seconds, cumulative

	Queued        int   // readings waiting now
	QueuedChanges int   // changes of MQTT sessions waiting now
	QueuedBytes   int   // and the bytes of both
	LastSeq       int64 // last Seq given
}

// Stats returns the present figures.
func (p *Pipe) Stats() Stats {
	c := &p.counters
	s := Stats{
		Committed: c.committed.Load(), Failed: c.failed.Load(), Malformed: c.malformed.Load(), Refused: c.refused.Load(),
		Repeated: c.repeated.Load(), Shed: c.shed.Load(), Waits: c.waits.Load(), Commits: c.commits.Load(),
		Journaled: c.journaled.Load(), Unjournaled: c.unjournaled.Load(),
		CommitSeconds: time.Duration(c.commitNanos.Load()).Seconds(),
		CommitBuckets: make(map[float64]uint64, len(commitBounds)),
	}
	for i := range c.accepted {
		s.Accepted[i] = c.accepted[i].Load()
	}
	var sum uint64
	for i, bound := range commitBounds {
		sum += uint64(c.commitBuckets[i].Load())
		s.CommitBuckets[bound.Seconds()] = sum
	}
	p.mu.Lock()
	s.Queued, s.QueuedChanges = p.queue.readings.len()+len(p.queue.newest), p.queue.changes.len()
	s.QueuedBytes, s.LastSeq = p.queue.bytes+p.queue.newestBytes, p.seq
	p.mu.Unlock()
	return s
}
