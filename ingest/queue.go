package ingest

import (
	"cmp"
	"math"
	"slices"

	"sensorcast/session"
	"sensorcast/telemetry"
)

// queue holds what waits for the committer. It is guarded by Pipe.mu and bounded by Config through full, which may be exceeded by what
// comes in one call.
type queue struct {
	readings fifo[telemetry.Reading]
	changes  fifo[session.Change]
	entries  fifo[entry] // how changes came
	bytes    int         // of readings and changes
	receipts fifo[receipt]

	// newest holds, under overload, the newest QoS 0 reading of each sensor: bounded by their number and by Config.QueueBytes.
	newest      map[int64]telemetry.Reading
	newestBytes int
}

// receipt is owed once the readings from first to last, which are those of one message, are durable.
type receipt struct {
	first, last int64
	r           Receipt
}

// entry is the changes of one call. Its place is behind the reading of Seq after and before the next one.
type entry struct {
	after   int64
	changes int
	bytes   int
	r       Receipt // nil: nobody asks
}

// held counts what waits; a call without changes counts too.
func (q *queue) held() int { return q.readings.len() + max(q.changes.len(), q.entries.len()) }

func (q *queue) full(c Config) bool {
	return q.held() >= c.QueueReadings || q.bytes >= c.QueueBytes
}

// crowded reports whether QoS 0 should make way, so that what was promised an acknowledgement still finds room.
func (q *queue) crowded(c Config) bool {
	return q.held() >= c.QueueReadings*4/5 || q.bytes >= c.QueueBytes/5*4
}

func (q *queue) push(r *telemetry.Reading) {
	q.readings.push(*r)
	q.bytes += len(r.Data)
}

// conflate keeps r in place of an older one of its sensor and returns how many readings that cost: the older one, and r itself when
// there is no room even for one reading of each sensor.
func (q *queue) conflate(r *telemetry.Reading, c Config) (lost int) {
	if q.newest == nil {
		q.newest = map[int64]telemetry.Reading{}
	}
	if old, ok := q.newest[r.SensorID]; ok {
		q.drop(&old)
		lost++
	}
	if q.newestBytes+len(r.Data) > c.QueueBytes {
		return lost + 1
	}
	q.newest[r.SensorID] = *r
	q.newestBytes += len(r.Data)
	return lost
}

func (q *queue) drop(r *telemetry.Reading) {
	delete(q.newest, r.SensorID)
	q.newestBytes -= len(r.Data)
}

func (q *queue) empty() bool {
	return q.readings.len() == 0 && len(q.newest) == 0 && q.entries.len() == 0
}

// awaited reports whether somebody asks about what waits, or it is changes: those are few, and tell what became of promises.
func (q *queue) awaited() bool { return q.receipts.len() > 0 || q.entries.len() > 0 }

// batch is what the committer takes at once. Its memory is used again.
type batch struct {
	readings []telemetry.Reading
	changes  []session.Change
	problems []Problem
	receipts []receipt // all that are owed, in the order they were promised
}

// reset lets go of everything: a quiet server must not keep the last burst's payloads alive.
func (b *batch) reset() {
	clear(b.readings)
	clear(b.changes)
	clear(b.problems)
	clear(b.receipts)
	b.readings, b.changes, b.problems, b.receipts = b.readings[:0], b.changes[:0], b.problems[:0], b.receipts[:0]
}

// take moves about n readings and changes, and the receipts they satisfy, out of the queue into b, readings in rising Seq.
func (q *queue) take(n int, b *batch) {
	c := q.cut(n)
	b.readings = append(b.readings, q.readings.all()[:c.readings]...)
	for i := range b.readings {
		q.bytes -= len(b.readings[i].Data)
	}
	b.receipts = q.promised(c, b.receipts)
	changes := 0
	for _, e := range q.entries.all()[:c.entries] {
		changes += e.changes
		q.bytes -= e.bytes
	}
	b.changes = append(b.changes, q.changes.all()[:changes]...)
	q.readings.drop(c.readings)
	q.receipts.drop(c.receipts)
	q.entries.drop(c.entries)
	q.changes.drop(changes)

	// A conflated reading belongs to the batch that covers its Seq: a later one would break the order of commits.
	if len(q.newest) > 0 {
		for _, r := range q.newest {
			if r.Seq <= c.through {
				b.readings = append(b.readings, r)
				q.drop(&r)
			}
		}
		slices.SortFunc(b.readings, func(a, b telemetry.Reading) int { return cmp.Compare(a.Seq, b.Seq) })
	}
}

// promised appends the receipts of what c takes: those of messages and those of changes, each list in order, merged into one.
func (q *queue) promised(c cut, into []receipt) []receipt {
	messages := q.receipts.all()[:c.receipts]
	for _, e := range q.entries.all()[:c.entries] {
		if e.r == nil {
			continue
		}
		n := 0
		for n < len(messages) && messages[n].last <= e.after {
			n++
		}
		into = append(append(into, messages[:n]...), receipt{r: e.r})
		messages = messages[n:]
	}
	return append(into, messages...)
}

// cut is where a batch ends: how much of each list it takes, and the Seq it reaches.
type cut struct {
	readings, entries, receipts int
	through                     int64
}

// cut decides what the next batch takes: about n readings and changes, in the order they came. It never cuts a message in two that is
// owed a receipt, nor the changes of one call: the first half might fail and the second succeed.
func (q *queue) cut(n int) (c cut) {
	readings := q.readings.all()
	if n >= len(readings)+q.changes.len() {
		return cut{len(readings), q.entries.len(), q.receipts.len(), math.MaxInt64}
	}
	c = q.walk(n)
	for _, r := range q.receipts.all() {
		if r.first > c.through {
			break
		}
		c.through = max(c.through, r.last)
		c.receipts++
	}
	for c.readings < len(readings) && readings[c.readings].Seq <= c.through {
		c.readings++
	}
	return c
}

// walk takes about n readings and changes as they come. No changes can lie among the readings of one message, so completing one
// afterwards passes none over.
func (q *queue) walk(n int) (c cut) {
	waiting, entries := q.readings.all(), q.entries.all()
	for n > 0 {
		readings := len(waiting)
		if c.entries < len(entries) {
			e := &entries[c.entries]
			if c.readings == readings || waiting[c.readings].Seq > e.after {
				c.entries++
				c.through = e.after
				n -= e.changes
				continue
			}
			readings, _ = slices.BinarySearchFunc(waiting, e.after+1, func(r telemetry.Reading, seq int64) int { return cmp.Compare(r.Seq, seq) })
		}
		some := min(n, readings-c.readings)
		c.readings += some
		c.through = waiting[c.readings-1].Seq
		n -= some
	}
	return c
}
