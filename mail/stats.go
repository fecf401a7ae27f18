package mail

import "errors"

// Stats counts since start, but for Waiting, which is of this moment.
type Stats struct {
	Sent    int64 // letters the server took
	Retried int64 // attempts that failed for a time
	Failed  int64 // letters given up: refused, or tried often enough
	Dropped int64 // errands not taken for want of room, or left at the stop
	Waiting int64
}

// Stats returns the counters. It never blocks for long.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	waiting := len(q.waiting)
	q.mu.Unlock()
	return Stats{Sent: q.sent.Load(), Retried: q.retried.Load(), Failed: q.failed.Load(), Dropped: q.dropped.Load(), Waiting: int64(waiting)}
}

func isTemporary(err error) bool {
	failure, ok := errors.AsType[*SendError](err)
	return ok && failure.Temporary
}
