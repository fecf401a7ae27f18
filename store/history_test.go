package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// model answers a ReadingQuery by looking at all readings.
func model(all []telemetry.Reading, q telemetry.ReadingQuery) []int64 {
	var out []telemetry.Reading
	order := func(a, b telemetry.Reading) int {
		by := 0
		if !q.HasAfterSeq {
			by = cmp.Compare(a.Time, b.Time)
		}
		by = cmp.Or(by, cmp.Compare(a.Seq, b.Seq))
		if !q.Ascending {
			by = -by
		}
		return by
	}
	for _, r := range all {
		switch {
		case r.SensorID != q.SensorID, q.From != 0 && r.Time < q.From, q.To != 0 && r.Time >= q.To, q.HasAfterSeq && r.Seq <= q.AfterSeq:
		case q.CursorSeq != 0 && order(r, telemetry.Reading{Time: q.CursorTime, Seq: q.CursorSeq}) <= 0:
		default:
			out = append(out, r)
		}
	}
	slices.SortFunc(out, order)
	return seqs(out[:min(len(out), q.Limit)])
}

// history is a state machine: readings are recorded, the index advances, and every query is answered as if there were no index.
type history struct {
	d       *DB
	sensors []telemetry.Sensor
	all     []telemetry.Reading
}

func (h *history) record(t *rapid.T) {
	var batch []telemetry.Reading
	seq := h.d.LastSeq()
	for range rapid.IntRange(1, 30).Draw(t, "readings") {
		seq += rapid.Int64Range(1, 3).Draw(t, "gap")
		sensor := rapid.SampledFrom(h.sensors).Draw(t, "sensor").ID
		r := reads(sensor, seq)
		r.Time = day + telemetry.Millis(rapid.Int64Range(0, 60).Draw(t, "time"))
		batch = append(batch, r)
	}
	if err := h.d.Record(ingest.Batch{Readings: batch}); err != nil {
		t.Fatalf("Record: %v", err)
	}
	h.all = append(h.all, batch...)
}

func (h *history) index(t *rapid.T) {
	if _, err := h.d.indexTail(t.Context(), rapid.IntRange(1, 40).Draw(t, "rows")); err != nil {
		t.Fatalf("index: %v", err)
	}
}

func (h *history) query(t *rapid.T) {
	q := telemetry.ReadingQuery{
		SensorID:    rapid.SampledFrom(h.sensors).Draw(t, "sensor").ID,
		Ascending:   rapid.Bool().Draw(t, "ascending"),
		HasAfterSeq: rapid.Bool().Draw(t, "by seq"),
		Limit:       rapid.IntRange(1, 20).Draw(t, "limit"),
	}
	bound := func(label string) telemetry.Millis {
		return rapid.OneOf(rapid.Just(telemetry.Millis(0)), rapid.Custom(func(t *rapid.T) telemetry.Millis {
			return day + telemetry.Millis(rapid.Int64Range(-1, 61).Draw(t, "ms"))
		})).Draw(t, label)
	}
	q.From, q.To = bound("from"), bound("to")
	if q.HasAfterSeq {
		q.AfterSeq = rapid.Int64Range(0, h.d.LastSeq()+1).Draw(t, "after")
	}
	// Walk all pages.
	for page := 0; ; page++ {
		got, err := h.d.Readings(t.Context(), q)
		if err != nil {
			t.Fatalf("Readings: %v", err)
		}
		if want := model(h.all, q); !slices.Equal(seqs(got), want) {
			t.Fatalf("page %d of %+v: got %v, want %v", page, q, seqs(got), want)
		}
		if len(got) < q.Limit {
			return
		}
		last := got[len(got)-1]
		q.CursorTime, q.CursorSeq = last.Time, last.Seq
	}
}

func TestReadings_IndexedAndTailTogetherEqualAFullScan(t *testing.T) {
	d := openNew(t)
	owner := newUser(t, d, "owner")
	cases := 0
	rapid.Check(t, func(rt *rapid.T) {
		// One file serves all cases: each has sensors of its own and begins with everything indexed.
		h := &history{d: d}
		for i := range 3 {
			h.sensors = append(h.sensors, newSensor(t, d, owner.ID, fmt.Sprintf("SN%d-%d", cases, i)))
		}
		cases++
		if _, err := d.indexTail(t.Context(), 1<<20); err != nil {
			t.Fatalf("index: %v", err)
		}
		rt.Repeat(map[string]func(*rapid.T){"record": h.record, "index": h.index, "query": h.query})
	})
	checkIndex(t, d)
}

// checkIndex compares the index with the log up to the watermark. Above, it may hold part of a run.
func checkIndex(t *testing.T, d *DB) {
	t.Helper()
	const missing = `
		SELECT count(*) FROM readings r WHERE seq <= (SELECT indexed_to FROM log)
		AND NOT EXISTS (SELECT 1 FROM reading_index i WHERE i.sensor_id = r.sensor_id AND i.time = r.time AND i.seq = r.seq)`
	if n := count(t, d, missing); n > 0 {
		t.Errorf("%d readings below the watermark are missing from the index", n)
	}
	const dangling = `
		SELECT count(*) FROM reading_index i
		WHERE NOT EXISTS (SELECT 1 FROM readings r WHERE r.sensor_id = i.sensor_id AND r.time = i.time AND r.seq = i.seq)`
	if n := count(t, d, dangling); n > 0 {
		t.Errorf("%d entries of the index point to nothing", n)
	}
}

// Whatever the size of the history, a page must be found by seeking.
func TestReadings_PlanSeeksByIndex(t *testing.T) {
	d := openNew(t)
	q := telemetry.ReadingQuery{SensorID: 1, From: day, To: day + 10, CursorTime: day + 5, CursorSeq: 3, Limit: 10}
	query, args, err := readingsFromIndex(q, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := d.read.Query("EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan += fmt.Sprintln(detail)
	}
	for _, want := range []string{
		"SEARCH reading_index USING PRIMARY KEY (sensor_id=? AND time",
		"SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
	} {
		if !strings.Contains(plan, want) {
			t.Errorf("plan lacks %q:\n%s", want, plan)
		}
	}
}
