package store

import (
	"cmp"
	"database/sql"
	"slices"
	"sync"

	"sensorcast/telemetry"
)

// tail is the end of the log, above the index's watermark: who sent what when, without the data. Readers look here for what the
// index and the rows of sensor_status lack, and both are brought up to date from here, so none has to scan the log.
//
// It has two generations: the young one grows with each Record; while the old one is being indexed it does not change, and is
// dropped whole once the watermark has passed it. It is bounded by lendAt, from where on Record itself indexes.
type tail struct {
	mu         sync.Mutex
	from       int64 // guarded by mu: everything stored with a higher seq is in young or old
	young, old generation
}

type generation struct {
	bySensor map[int64]*strand
	rows     int
	last     int64 // highest seq
}

// strand is one sensor's part of a generation.
type strand struct {
	places []place // in rising seq
	standing
}

// place is where a reading belongs in its sensor's history.
type place struct {
	time telemetry.Millis
	seq  int64
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.seq, b.seq))
}

func (g *generation) add(sensor int64, p place, receivedAt telemetry.Millis) {
	if g.bySensor == nil {
		g.bySensor = map[int64]*strand{}
	}
	s := g.bySensor[sensor]
	if s == nil {
		s = new(strand)
		g.bySensor[sensor] = s
	}
	s.places = append(s.places, p)
	s.standing = s.then(standing{seenAt: receivedAt, latest: p})
	g.rows++
	g.last = p.seq
}

// add appends what has been committed.
func (t *tail) add(readings []telemetry.Reading, fresh func(seq int64) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range readings {
		if r := &readings[i]; fresh(r.Seq) {
			t.young.add(r.SensorID, place{r.Time, r.Seq}, r.ReceivedAt)
		}
	}
}

// load reads what the index lacks, at open.
func (t *tail) load(tx *sql.Tx, from int64) error {
	rows, err := tx.Query("SELECT sensor_id, time, seq, received_at FROM readings WHERE seq > ? ORDER BY seq", from)
	if err != nil {
		return err
	}
	defer rows.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.from = from
	for rows.Next() {
		var sensor int64
		var p place
		var receivedAt telemetry.Millis
		if err := rows.Scan(&sensor, (*int64)(&p.time), &p.seq, (*int64)(&receivedAt)); err != nil {
			return err
		}
		t.young.add(sensor, p, receivedAt)
	}
	return rows.Err()
}

// sizes returns the rows in the young and the old generation.
func (t *tail) sizes() (young, old int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.young.rows, t.old.rows
}

// age makes the young generation the old one and returns it; nil if there is nothing. The caller only reads it.
func (t *tail) age() *generation {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.old.rows == 0 {
		t.old, t.young = t.young, generation{}
	}
	if t.old.rows == 0 {
		return nil
	}
	return &t.old
}

// drop forgets the old generation, which is in the index now.
func (t *tail) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.from = t.old.last
	t.old = generation{}
}

// watermark is the seq above which everything stored is here.
func (t *tail) watermark() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.from
}

// standingLocked is what the tail says of a sensor; false: nothing.
func (t *tail) standingLocked(sensor int64) (s standing, ok bool) {
	for _, g := range []*generation{&t.old, &t.young} {
		if more := g.bySensor[sensor]; more != nil {
			s, ok = s.then(more.standing), true
		}
	}
	return s, ok
}

// standings returns those of the sensors of which the tail says something, and what.
func (t *tail) standings(sensors []int64) (known []int64, all []standing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, sensor := range sensors {
		if s, ok := t.standingLocked(sensor); ok {
			known, all = append(known, sensor), append(all, s)
		}
	}
	return known, all
}

// find returns what the query selects of the tail, in its order, cut to its limit, and the seq up to which the index must be asked
// as well. Read it before the index: a reading may move from here to there in between and is then found twice, never not at all.
func (t *tail) find(q telemetry.ReadingQuery) (found []place, from int64) {
	compare := comparePlaces
	if q.HasAfterSeq {
		compare = func(a, b place) int { return cmp.Compare(a.seq, b.seq) }
	}
	order := compare
	if !q.Ascending {
		order = func(a, b place) int { return compare(b, a) }
	}
	cursor := place{q.CursorTime, q.CursorSeq}

	t.mu.Lock()
	for _, g := range []*generation{&t.old, &t.young} {
		for _, p := range g.of(q.SensorID) {
			switch {
			case q.From != 0 && p.time < q.From, q.To != 0 && p.time >= q.To:
			case q.HasAfterSeq && p.seq <= q.AfterSeq:
			case q.CursorSeq != 0 && order(p, cursor) <= 0:
			default:
				found = append(found, p)
			}
		}
	}
	from = t.from
	t.mu.Unlock()

	slices.SortFunc(found, order)
	return found[:min(len(found), q.Limit)], from
}

// of is the sensor's places.
func (g *generation) of(sensor int64) []place {
	if s := g.bySensor[sensor]; s != nil {
		return s.places
	}
	return nil
}

// row is one entry of the index.
type row struct {
	sensor int64
	place
}

// sorted returns the generation in the order of the index.
func (g *generation) sorted() []row {
	sensors := make([]int64, 0, len(g.bySensor))
	for sensor := range g.bySensor {
		sensors = append(sensors, sensor)
	}
	slices.Sort(sensors)
	rows := make([]row, 0, g.rows)
	for _, sensor := range sensors {
		places := slices.SortedFunc(slices.Values(g.bySensor[sensor].places), comparePlaces)
		for _, p := range places {
			rows = append(rows, row{sensor, p})
		}
	}
	return rows
}
