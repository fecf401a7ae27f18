package ingest

import (
	"cmp"
	"math"
	"slices"

	"sensorcast/telemetry"
)

// queue holds what waits for the committer. It is guarded by Pipe.mu and bounded by Config through full, which may be exceeded by the
// readings of one message.
type queue struct {
	readings []telemetry.Reading
	bytes    int
	receipts []receipt

	// newest holds, under overload, the newest QoS 0 reading of each sensor: bounded by their number and by Config.QueueBytes.
	newest      map[int64]telemetry.Reading
	newestBytes int
}

// receipt is owed once the readings from first to last, which are those of one message, are durable.
type receipt struct {
	first, last int64
	r           Receipt
}

func (q *queue) full(c Config) bool {
	return len(q.readings) >= c.QueueReadings || q.bytes >= c.QueueBytes
}

// crowded reports whether QoS 0 should make way, so that what was promised an acknowledgement still finds room.
func (q *queue) crowded(c Config) bool {
	return len(q.readings) >= c.QueueReadings*4/5 || q.bytes >= c.QueueBytes/5*4
}

func (q *queue) push(r *telemetry.Reading) {
	q.readings = append(q.readings, *r)
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
	return len(q.readings) == 0 && len(q.newest) == 0 && len(q.receipts) == 0
}

// take moves about n readings, and the receipts they satisfy, out of the queue into the given slices, in rising Seq.
func (q *queue) take(n int, readings []telemetry.Reading, receipts []receipt) ([]telemetry.Reading, []receipt) {
	n, m, through := q.cut(n)
	readings = append(readings, q.readings[:n]...)
	for i := range readings {
		q.bytes -= len(readings[i].Data)
	}
	receipts = append(receipts, q.receipts[:m]...)
	q.readings = slices.Delete(q.readings, 0, n) // clears what it leaves behind
	q.receipts = slices.Delete(q.receipts, 0, m)

	// A conflated reading belongs to the batch that covers its Seq: a later one would break the order of commits.
	if len(q.newest) > 0 {
		for _, r := range q.newest {
			if r.Seq <= through {
				readings = append(readings, r)
				q.drop(&r)
			}
		}
		slices.SortFunc(readings, func(a, b telemetry.Reading) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	return readings, receipts
}

// cut decides how many readings and receipts the next batch takes, and up to which Seq. It never cuts a message in two that is owed a
// receipt: its first half might fail and its second succeed.
func (q *queue) cut(n int) (readings, receipts int, through int64) {
	if n >= len(q.readings) {
		return len(q.readings), len(q.receipts), math.MaxInt64
	}
	through = q.readings[n-1].Seq
	for _, r := range q.receipts {
		if r.first > through {
			break
		}
		through = max(through, r.last)
		receipts++
	}
	for n < len(q.readings) && q.readings[n].Seq <= through {
		n++
	}
	return n, receipts, through
}
