package api

import "sync/atomic"

// Stats counts what was answered since start.
type Stats struct {
	OK          int64 // 2xx
	Redirected  int64 // 3xx
	ClientError int64 // 4xx
	ServerError int64 // 5xx
}

type counts struct{ class [6]atomic.Int64 }

func (c *counts) add(status int) {
	if class := status / 100; class >= 0 && class < len(c.class) {
		c.class[class].Add(1)
	}
}

// Stats returns the counters. It never blocks.
func (a *API) Stats() Stats {
	return Stats{
		OK:          a.counts.class[2].Load(),
		Redirected:  a.counts.class[3].Load(),
		ClientError: a.counts.class[4].Load(),
		ServerError: a.counts.class[5].Load(),
	}
}
