package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sensorcast/telemetry"
)

// What alerts.tell may hold: what is next to be done about an incident. Owners of few sensors are told in the transaction that opens or
// resolves it. For owners of many that is planned, durably all the same, so that what happens to many at once can be told in one.
const (
	tellOpened   = "opened"
	tellResolved = "resolved"
	tellReminder = "reminder"
	tellCalm     = "calm"   // not told: an incident that was flapping is resolved
	noticeDigest = "digest" // of notices.what
)

const (
	announceAtOnce = 200 // incidents looked at in one transaction
	digestListed   = 100 // incidents a digest names; it counts all
	digestNamed    = 5   // of these in its text
)

// planNext sets what is to be done about the incidents that where selects, now that this was.
func planNext(tx *sql.Tx, now telemetry.Millis, e *telemetry.Etiquette, where string, args ...any) error {
	_, err := tx.Exec(`
		UPDATE alerts SET
			tell = CASE WHEN resolved_at <> 0 THEN '' WHEN flapping AND ended_at <> 0 THEN 'calm' WHEN acknowledged_at = 0 AND ? THEN 'reminder' ELSE '' END,
			tell_at = CASE WHEN resolved_at <> 0 THEN 0 WHEN flapping AND ended_at <> 0 THEN ended_at + ? WHEN acknowledged_at = 0 AND ? THEN ? ELSE 0 END
		WHERE `+where,
		append([]any{e.Remind > 0, e.Within.Milliseconds(), e.Remind > 0, int64(now.Add(e.Remind))}, args...)...)
	return err
}

// announce has the owner told, now or in a while.
func announce(tx *sql.Tx, i *incident, what string, now telemetry.Millis, e *telemetry.Etiquette) error {
	var sensors int
	err := tx.QueryRow("SELECT count(*) FROM (SELECT 1 FROM sensors WHERE owner_id = ? LIMIT ?)", i.OwnerID, max(e.Many, 1)).Scan(&sensors)
	if err != nil {
		return err
	}
	if sensors >= e.Many {
		_, err := tx.Exec("UPDATE alerts SET tell = ?, tell_at = ? WHERE id = ?", what, int64(now.Add(e.Gather)), i.Order)
		return err
	}
	return tell(tx, i, what, now, e)
}

// tell writes the notice of one incident.
func tell(tx *sql.Tx, i *incident, what string, now telemetry.Millis, e *telemetry.Etiquette) error {
	data, err := json.Marshal(i.Alert)
	if err != nil {
		return fmt.Errorf("encode alert: %w", err)
	}
	_, err = tx.Exec(`
		INSERT INTO notices (uid, alert_id, what, owner_id, sensor_id, severity, title, body, data, created_at) VALUES (?,?,?,?,?,?,?,?,?,?)`,
		newUID(), i.Order, what, i.OwnerID, i.SensorID, i.Severity, i.Title(), bodyOf(i, what, now, e), string(data), int64(now))
	if err != nil {
		return err
	}
	return planNext(tx, now, e, "id = ?", i.Order)
}

func bodyOf(i *incident, what string, now telemetry.Millis, e *telemetry.Etiquette) string {
	switch {
	case what == tellResolved:
		return "That was so for " + telemetry.InWords(i.ResolvedAt.Sub(i.OpenedAt)) + "."
	case what == tellReminder:
		return "Still so after " + telemetry.InWords(now.Sub(i.OpenedAt)) + ", and nobody has acknowledged it: " + i.Message + "."
	case i.Flapping:
		return fmt.Sprintf("%s. That was %d times within %s; you hear of it again when it has kept away for as long.",
			capital(i.Message), i.Episodes, telemetry.InWords(e.Within))
	}
	return capital(i.Message) + "."
}

func capital(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[n:]
}

// Announce does what is to be done about incidents by now: it tells owners, of many incidents in one, and resolves those that were
// flapping and have kept away. It returns what it resolved, and whether there is more to do. telemetry.ErrUnavailable as always.
func (d *DB) Announce(ctx context.Context, now telemetry.Millis, e telemetry.Etiquette) (steps []telemetry.Alert, more bool, err error) {
	// What is due later than anything can have been planned for was planned before the clock was set back.
	later := now.Add(max(e.Gather, e.Within, e.Remind))
	const due = "a.tell_at > 0 AND (a.tell_at <= ? OR a.tell_at > ?)"
	var one int
	err = d.read.QueryRowContext(ctx, "SELECT 1 FROM alerts a WHERE "+due+" LIMIT 1", int64(now), int64(later)).Scan(&one)
	if err == sql.ErrNoRows {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("look for notices: %w", readError(err))
	}
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		some, err := scanIncidents(tx.Query(selectIncidents+joined+due+" ORDER BY a.id LIMIT ?", int64(now), int64(later), announceAtOnce))
		if err != nil {
			return err
		}
		more = len(some) == announceAtOnce
		a := announcer{tx: tx, now: now, etiquette: &e, told: map[circle]bool{}}
		for i := range some {
			if err := a.do(&some[i]); err != nil {
				return err
			}
		}
		steps = a.steps
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("announce: %w", err)
	}
	return steps, more, nil
}

// circle is what one owner is to be told of one sort.
type circle struct {
	owner int64
	what  string
}

// announcer is one transaction of Announce.
type announcer struct {
	tx        *sql.Tx
	now       telemetry.Millis
	etiquette *telemetry.Etiquette
	told      map[circle]bool // true: in a digest, which took all; false: one by one
	steps     []telemetry.Alert
}

func (a *announcer) do(i *incident) error {
	if i.tell == tellCalm {
		step, err := resolve(a.tx, i, a.now, a.now, a.etiquette)
		a.steps = append(a.steps, step)
		return err
	}
	c := circle{i.OwnerID, i.tell}
	digest, known := a.told[c]
	if !known {
		var err error
		if digest, err = a.digest(c); err != nil {
			return err
		}
		a.told[c] = digest
	}
	if digest {
		return nil
	}
	return tell(a.tx, i, i.tell, a.now, a.etiquette)
}

// digest tells all of a circle in one notice if they are many. Reminders count when they are due, the others though they have just come.
func (a *announcer) digest(c circle) (bool, error) {
	until := a.now
	if c.what != tellReminder {
		until = a.now.Add(a.etiquette.Gather)
	}
	const mine = "tell = ? AND tell_at > 0 AND tell_at <= ? AND sensor_id IN (SELECT id FROM sensors WHERE owner_id = ?)"
	args := []any{c.what, int64(until), c.owner}
	var count, sensors int
	if err := a.tx.QueryRow("SELECT count(*) FROM alerts WHERE "+mine, args...).Scan(&count); err != nil {
		return false, err
	}
	if count < a.etiquette.Many {
		return false, nil
	}
	if err := a.tx.QueryRow("SELECT count(*) FROM sensors WHERE owner_id = ?", c.owner).Scan(&sensors); err != nil {
		return false, err
	}
	if !a.etiquette.Digest(count, sensors) {
		return false, nil
	}
	listed, err := scanIncidents(a.tx.Query(selectIncidents+"alerts a CROSS JOIN sensors s ON s.id = a.sensor_id WHERE a.id IN (SELECT id FROM alerts WHERE "+mine+
		") ORDER BY a.id LIMIT ?", append(args, digestListed)...))
	if err != nil {
		return false, err
	}
	if err := a.write(c, count, sensors, listed); err != nil {
		return false, err
	}
	return true, planNext(a.tx, a.now, a.etiquette, mine, args...)
}

// write writes the notice of a digest.
func (a *announcer) write(c circle, count, sensors int, listed []incident) error {
	content := struct {
		What   string            `json:"what"`
		Count  int               `json:"count"`
		Alerts []telemetry.Alert `json:"alerts"` // the first of them
	}{c.what, count, make([]telemetry.Alert, len(listed))}
	severity := telemetry.SeverityInfo
	names := make([]string, 0, digestNamed)
	for i := range listed {
		content.Alerts[i] = listed[i].Alert
		severity = telemetry.Graver(severity, listed[i].Severity)
		if len(names) < digestNamed {
			names = append(names, listed[i].Called())
		}
	}
	data, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("encode digest: %w", err)
	}
	verb := map[string]string{tellOpened: "need a look", tellResolved: "are well again", tellReminder: "still need a look"}[c.what]
	body := strings.Join(names, ", ")
	if rest := count - len(names); rest > 0 {
		body += fmt.Sprintf(" and %d more", rest)
	}
	_, err = a.tx.Exec(`
		INSERT INTO notices (uid, what, owner_id, severity, title, body, data, created_at) VALUES (?,?,?,?,?,?,?,?)`,
		newUID(), noticeDigest, c.owner, severity, fmt.Sprintf("%d of your %d sensors %s", count, sensors, verb), body+".", string(data), int64(a.now))
	return err
}

// forgetAlertsEvery is how often old incidents are looked for.
const forgetAlertsEvery = time.Hour

// forgetAlerts deletes, at most rows, what was resolved too long ago for anybody to ask about it. Notices go with their deliveries (forgetNotices).
func (d *DB) forgetAlerts(ctx context.Context, rows int) (done int, err error) {
	done, err = d.forget(ctx, "alerts", forgetAlertsEvery, now().Add(-telemetry.KeepResolved), rows,
		"DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE resolved_at > 0 AND resolved_at < ? ORDER BY resolved_at LIMIT ?)")
	if err != nil {
		return 0, fmt.Errorf("forget old alerts: %w", err)
	}
	return done, nil
}
