package store

import (
	"cmp"
	"database/sql"
	"slices"
	"strings"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// updateStatuses moves last-seen to the newest arrival, and latest where the reading is not older, by its own time, than the one
// there. Last-seen is set, not raised: after the clock was corrected backwards a sensor must not look alive until the clock has
// caught up.
var updateStatuses = newMulti(func(rows int) string {
	return `UPDATE sensor_status SET last_seen_at = v.column2,
			latest_seq = CASE WHEN v.column3 >= latest_time THEN v.column4 ELSE latest_seq END,
			latest_time = max(latest_time, v.column3)
		FROM (VALUES (?,?,?,?)` + strings.Repeat(",(?,?,?,?)", rows-1) + `) AS v
		WHERE sensor_id = v.column1`
})

// newest is what one batch says of one sensor.
type newest struct {
	sensor     int64
	seenAt     telemetry.Millis
	latestTime telemetry.Millis
	latestSeq  int64
}

type statusScratch struct {
	index   map[int64]int // sensor → place in sensors
	sensors []newest
	args    []any
}

// updateStatus writes one row per sensor of the batch, counting only fresh readings: a resent one is no sign of life, and what its
// seq would point to is not there.
func (d *DB) updateStatus(tx *sql.Tx, readings []telemetry.Reading, fresh func(seq int64) bool) error {
	s := &d.scratch.status
	s.gather(readings, fresh)
	for rest := s.sensors; len(rest) > 0; {
		rows, query := updateStatuses.fit(len(rest))
		s.args = s.args[:0]
		for _, n := range rest[:rows] {
			s.args = append(s.args, n.sensor, int64(n.seenAt), int64(n.latestTime), n.latestSeq)
		}
		result, err := d.hot.in(tx, query).Exec(s.args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil {
			return err
		} else if int(n) < rows {
			if err := d.purgeOrphans(tx, rest[:rows]); err != nil {
				return err
			}
		}
		rest = rest[rows:]
	}
	return nil
}

func (s *statusScratch) gather(readings []telemetry.Reading, fresh func(seq int64) bool) {
	if s.index == nil {
		s.index = map[int64]int{}
	}
	clear(s.index)
	s.sensors = s.sensors[:0]
	for i := range readings {
		r := &readings[i]
		if !fresh(r.Seq) {
			continue
		}
		at, ok := s.index[r.SensorID]
		if !ok {
			at = len(s.sensors)
			s.index[r.SensorID] = at
			s.sensors = append(s.sensors, newest{sensor: r.SensorID})
		}
		n := &s.sensors[at]
		n.seenAt = r.ReceivedAt
		if r.Time >= n.latestTime {
			n.latestTime, n.latestSeq = r.Time, r.Seq
		}
	}
	// Neighbours in the table are neighbours in the batch: fewer pages are visited twice.
	slices.SortFunc(s.sensors, func(a, b newest) int { return cmp.Compare(a.sensor, b.sensor) })
}

// addProblems adds to what the owners are told. Sensors deleted meanwhile are skipped.
func addProblems(tx *sql.Tx, problems []ingest.Problem) error {
	for _, p := range problems {
		_, err := tx.Exec(`
			UPDATE sensor_status SET malformed = malformed + ?1, refused = refused + ?2,
				last_reason = CASE WHEN ?4 >= last_problem_at THEN ?3 ELSE last_reason END,
				last_problem_at = max(last_problem_at, ?4)
			WHERE sensor_id = ?5`, p.Malformed, p.Refused, p.Reason, int64(p.At), p.SensorID)
		if err != nil {
			return err
		}
	}
	return nil
}
