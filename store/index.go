package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// The history index is kept apart from the log and behind it. Inserted with each batch, every reading would touch a page of its
// own: sensors report in turn, and each has its place elsewhere in the index. In a large sorted run a page is touched once for all
// the readings of its sensors.
//
// A run takes many turns on the writer. The watermark moves with the last one; if the process ends before, the same readings are
// run again and what is there already is ignored.
const (
	runRows  = 1 << 16     // unindexed readings that make a run worth its cost
	runEvery = time.Hour   // and how long fewer may wait: rows above the watermark do not expire
	catchUp  = 2 * runRows // unindexed readings from which on indexing does not rest
	lendAt   = 4 * runRows // and from which on Record does a turn of it each time, so that memory is bounded (see BoundsTheTail in the tests)
)

var insertIndex = newMulti(func(rows int) string {
	return "INSERT OR IGNORE INTO reading_index (sensor_id, time, seq) VALUES (?,?,?)" + strings.Repeat(",(?,?,?)", rows-1)
})

// run is the run under way. Guarded by the writer's turn.
type run struct {
	rows []row // those still to be indexed
	last int64 // the watermark once they are
	args []any
}

// advanceIndex goes on with the run under way, or begins one if it is worth it or a purge waits for the index to pass a sensor's readings.
func (d *DB) advanceIndex(ctx context.Context, rows int) (done int, err error) {
	young, old := d.tail.sizes()
	if old == 0 && (young == 0 || young < runRows && !d.purging.Load() && time.Now().Before(d.nextRun())) {
		return 0, nil
	}
	return d.indexTail(ctx, rows)
}

// indexTail indexes at most rows of the run under way; it begins one with whatever there is.
func (d *DB) indexTail(ctx context.Context, rows int) (done int, err error) {
	err = d.write.background(ctx, func(tx *sql.Tx) error {
		d.beginRun()
		done = min(rows, len(d.run.rows))
		if done == 0 {
			return nil
		}
		if err := d.run.insert(tx, d.hot, done); err != nil {
			return err
		}
		if err := d.settle(tx, d.run.sensors(done)); err != nil {
			return fmt.Errorf("update sensors: %w", err)
		}
		if done < len(d.run.rows) {
			return nil
		}
		_, err := tx.Exec("UPDATE log SET indexed_to = ?", d.run.last)
		return err
	}, func() {
		d.run.rows = d.run.rows[done:]
		if len(d.run.rows) == 0 && done > 0 {
			d.run.rows = nil
			d.tail.drop()
		}
	})
	if err != nil {
		return 0, fmt.Errorf("index readings: %w", err)
	}
	d.counters.indexed.Add(int64(done))
	return done, nil
}

// beginRun starts a run with the present tail, unless one is under way.
func (d *DB) beginRun() {
	if len(d.run.rows) > 0 {
		return
	}
	if g := d.tail.age(); g != nil {
		d.run.rows, d.run.last = g.sorted(), g.last
	}
	d.runAt.Store(time.Now().UnixNano())
}

func (d *DB) nextRun() time.Time { return time.Unix(0, d.runAt.Load()).Add(runEvery) }

// sensors are those of the next n rows, each once.
func (r *run) sensors(n int) []int64 {
	var all []int64
	for i := range r.rows[:n] {
		if i == 0 || r.rows[i].sensor != r.rows[i-1].sensor {
			all = append(all, r.rows[i].sensor)
		}
	}
	return all
}

func (r *run) insert(tx *sql.Tx, h hot, n int) error {
	for some := r.rows[:n]; len(some) > 0; {
		rows, query := insertIndex.fit(len(some))
		r.args = r.args[:0]
		for _, e := range some[:rows] {
			r.args = append(r.args, e.sensor, int64(e.time), e.seq)
		}
		if _, err := h.in(tx, query).Exec(r.args...); err != nil {
			return err
		}
		some = some[rows:]
	}
	return nil
}
