package command

import "sync/atomic"

type counters struct {
	created, delivered, answered, failed, expired, refused, commits atomic.Int64
}

// count counts a step that was taken.
func (c *counters) count(s State) {
	switch s {
	case Queued:
		c.created.Add(1)
	case Delivered:
		c.delivered.Add(1)
	case Answered:
		c.answered.Add(1)
	case Failed:
		c.failed.Add(1)
	}
}

// Stats are counts since the start, except where they say "now".
type Stats struct {
	Created   int64 // commands taken
	Delivered int64 // commands acknowledged by their sensors before any reply
	Answered  int64 // replies with ok true
	Failed    int64 // replies with ok false
	Expired   int64 // commands whose time ran out
	Refused   int64 // replies that could not be read or belong to no command of their sensor
	Commits   int64 // transactions; of what is counted above per transaction is what grouping gains
	Waiting   int64 // commands waiting for their sensors now
	Sensors   int64 // sensors they wait for now
}

// Stats returns the present figures.
func (o *Outbox) Stats() Stats {
	c := &o.counters
	s := Stats{
		Created: c.created.Load(), Delivered: c.delivered.Load(), Answered: c.answered.Load(), Failed: c.failed.Load(),
		Expired: c.expired.Load(), Refused: c.refused.Load(), Commits: c.commits.Load(),
	}
	o.mu.Lock()
	s.Waiting, s.Sensors = int64(o.total), int64(len(o.waiting))
	o.mu.Unlock()
	return s
}
