package command

// Waiting reports whether the sensor has commands that it has not acknowledged; now and then also for a moment before the first is there or
// after the last is gone. It does no I/O.
func (o *Outbox) Waiting(sensorID int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.waiting[sensorID] > 0
}

// reserve counts a command before it is stored, so that Waiting never denies one that is and nobody exceeds MaxWaiting by coming together.
func (o *Outbox) reserve(sensorID int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting[sensorID] >= MaxWaiting {
		return false
	}
	o.waiting[sensorID]++
	o.total++
	return true
}

// release uncounts n commands that wait no longer. Those of a sensor that was deleted meanwhile are uncounted already.
func (o *Outbox) release(sensorID int64, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n = min(n, o.waiting[sensorID])
	o.total -= n
	if o.waiting[sensorID] -= n; o.waiting[sensorID] == 0 {
		delete(o.waiting, sensorID)
	}
}

// forget uncounts all of a deleted sensor; the store has deleted them with it. None is counted afterwards: what was stored was counted
// before, and what comes too late is refused by the store and uncounted.
func (o *Outbox) forget(sensorID int64) { o.release(sensorID, MaxWaiting) }
