package inbox

import "sync/atomic"

type counters struct{ knocks, evicted atomic.Int64 }

// Stats are counts since the start, except where they say "now".
type Stats struct {
	Knocks    int64 // refused logins under serials nobody has
	Evicted   int64 // strangers forgotten for newer ones
	Strangers int   // remembered, now
}

// Stats returns the present figures.
func (b *Inbox) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{Knocks: b.counters.knocks.Load(), Evicted: b.counters.evicted.Load(), Strangers: len(b.entries)}
}
