package store

import (
	"database/sql"
	"strings"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// What traffic says of a sensor is derived from the log, and kept beside it in two parts, divided by the index's watermark as history
// is: the rows of sensor_status stand for the readings up to it at least, the tail in memory for those above. A row moves when the
// index takes its sensor's readings in, so that a commit of readings writes to the log and nowhere else: a sensor that reports every second
// costs one row every 65,536 readings of all sensors, not one a second. A crash loses nothing, since the tail is read from the log at
// open; a row may be ahead of the watermark, for moving it again changes nothing.

// standing is what some consecutive readings say of their sensor.
type standing struct {
	seenAt telemetry.Millis // arrival of the last one: set, not raised, or a clock corrected backwards would let a dead sensor look alive
	latest place            // the newest by its own time and, among those of one time, by seq
}

// then is the standing after what later readings say.
func (s standing) then(later standing) standing {
	s.seenAt = later.seenAt
	if comparePlaces(later.latest, s.latest) > 0 {
		s.latest = later.latest
	}
	return s
}

var updateStatuses = newMulti(func(rows int) string {
	return `UPDATE sensor_status SET last_seen_at = v.column2,
			latest_seq = CASE WHEN (v.column3, v.column4) > (latest_time, latest_seq) THEN v.column4 ELSE latest_seq END,
			latest_time = max(latest_time, v.column3)
		FROM (VALUES (?,?,?,?)` + strings.Repeat(",(?,?,?,?)", rows-1) + `) AS v
		WHERE sensor_id = v.column1`
})

// settle brings the rows of the sensors up to date with all that is committed; those of which the tail says nothing are so already.
// After it a statement of the same transaction may rely on sensor_status. Sensors that are gone are purged.
func (d *DB) settle(tx *sql.Tx, sensors []int64) error {
	known, standings := d.tail.standings(sensors)
	for len(known) > 0 {
		rows, query := updateStatuses.fit(len(known))
		args := make([]any, 0, 4*rows)
		for i, s := range standings[:rows] {
			args = append(args, known[i], int64(s.seenAt), int64(s.latest.time), s.latest.seq)
		}
		result, err := d.hot.in(tx, query).Exec(args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil {
			return err
		} else if int(n) < rows {
			if err := d.purgeOrphans(tx, known[:rows]); err != nil {
				return err
			}
		}
		known, standings = known[rows:], standings[rows:]
	}
	return nil
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
