package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"sensorcast/session"
	"sensorcast/telemetry"
)

// Sessions returns what is kept of MQTT sessions, and the retained messages, for a broker to begin with; call it before the first change
// is recorded.
//
// A session that ended while the server was down (EndsAt is not zero and not ahead) is deleted and left out, unless it has a will: that
// is due, since the end of a session ends the delay (MQTT 5.0 §3.1.3.2.2), and nobody has published it. Such a session is returned with
// its will and nothing else, and is still kept, so that a will is not lost if the server stops again before it was published; whoever
// has published it drops the session. A session without an end was connected when the server stopped: when it ends, and when its
// will is due, is for the broker to say.
//
// Deliveries, retained messages and wills that have expired are returned like others. Empty payloads and properties come back as nil.
func (d *DB) Sessions(ctx context.Context) (session.Snapshot, error) {
	if err := d.forgetEnded(ctx, now()); err != nil {
		return session.Snapshot{}, fmt.Errorf("forget ended MQTT sessions: %w", err)
	}
	tx, err := d.read.BeginTx(ctx, nil) // one state of all tables
	if err != nil {
		return session.Snapshot{}, fmt.Errorf("read MQTT sessions: %w", readError(err))
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	r := recall{ctx: ctx, tx: tx, place: map[int64]int{}}
	for _, step := range []func() error{r.sessions, r.subscriptions, r.deliveries, r.received, r.wills, r.retained} {
		if err := step(); err != nil {
			return session.Snapshot{}, fmt.Errorf("read MQTT sessions: %w", readError(err))
		}
	}
	return r.found, nil
}

// forgetEnded deletes what Sessions does not return.
func (d *DB) forgetEnded(ctx context.Context, at telemetry.Millis) error {
	const ended = "ends_at <> 0 AND ends_at <= ?"
	return d.write.do(ctx, func(tx *sql.Tx) error {
		for _, query := range []string{
			"DELETE FROM mqtt_sessions WHERE " + ended + " AND key NOT IN (SELECT session FROM mqtt_wills)",
			"DELETE FROM mqtt_subscriptions WHERE session IN (SELECT key FROM mqtt_sessions WHERE " + ended + ")",
			"DELETE FROM mqtt_deliveries WHERE session IN (SELECT key FROM mqtt_sessions WHERE " + ended + ")",
			"DELETE FROM mqtt_received WHERE session IN (SELECT key FROM mqtt_sessions WHERE " + ended + ")",
		} {
			if _, err := tx.Exec(query, int64(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

// recall gathers a snapshot, table by table.
type recall struct {
	ctx   context.Context
	tx    *sql.Tx
	place map[int64]int // key of a session → its place in found
	found session.Snapshot
}

// each calls scan for every row of query.
func (r *recall) each(query string, scan func(rows *sql.Rows) error) error {
	rows, err := r.tx.QueryContext(r.ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// of is where what hangs on a session belongs. The foreign keys leave no row without one; were there one all the same, it is nobody's.
func (r *recall) of(key int64) *session.Stored {
	if i, ok := r.place[key]; ok {
		return &r.found.Sessions[i]
	}
	return new(session.Stored)
}

func (r *recall) sessions() error {
	const query = "SELECT key, id, coalesce(user_id, 0), coalesce(sensor_id, 0), version, expiry, ends_at FROM mqtt_sessions ORDER BY key"
	return r.each(query, func(rows *sql.Rows) error {
		var key int64
		var s session.Session
		if err := rows.Scan(&key, &s.ID, &s.UserID, &s.SensorID, &s.Version, (*int64)(&s.Expiry), &s.EndsAt); err != nil {
			return err
		}
		r.place[key] = len(r.found.Sessions)
		r.found.Sessions = append(r.found.Sessions, session.Stored{Session: s})
		return nil
	})
}

func (r *recall) subscriptions() error {
	const query = "SELECT session, filter, options, identifier FROM mqtt_subscriptions ORDER BY session, filter"
	return r.each(query, func(rows *sql.Rows) error {
		var key int64
		var s session.Subscription
		if err := rows.Scan(&key, &s.Filter, &s.Options, &s.Identifier); err != nil {
			return err
		}
		of := r.of(key)
		of.Subscriptions = append(of.Subscriptions, s)
		return nil
	})
}

// deliveries are read as they lie, which is the order they were queued in. Having SQLite sort them would drag every payload through its
// sorter to find, nearly always, that they are in order.
func (r *recall) deliveries() error {
	const query = "SELECT session, packet_id, place, released, sensor_id, " + messageColumns + " FROM mqtt_deliveries ORDER BY number"
	err := r.each(query, func(rows *sql.Rows) error {
		var key int64
		var d session.Delivery
		if err := rows.Scan(append([]any{&key, &d.PacketID, &d.Order, &d.Released, &d.Message.SensorID}, into(&d.Message)...)...); err != nil {
			return err
		}
		tidy(&d.Message)
		of := r.of(key)
		of.Deliveries = append(of.Deliveries, d)
		return nil
	})
	for i := range r.found.Sessions {
		slices.SortStableFunc(r.found.Sessions[i].Deliveries, func(a, b session.Delivery) int { return cmp.Compare(a.Order, b.Order) })
	}
	return err
}

func (r *recall) received() error {
	return r.each("SELECT session, packet_id FROM mqtt_received ORDER BY session, packet_id", func(rows *sql.Rows) error {
		var key int64
		var id uint16
		if err := rows.Scan(&key, &id); err != nil {
			return err
		}
		of := r.of(key)
		of.Received = append(of.Received, id)
		return nil
	})
}

func (r *recall) wills() error {
	return r.each("SELECT session, delay, due_at, "+messageColumns+" FROM mqtt_wills ORDER BY session", func(rows *sql.Rows) error {
		var key, delay int64
		var w session.Will
		if err := rows.Scan(append([]any{&key, &delay, &w.DueAt}, into(&w.Message)...)...); err != nil {
			return err
		}
		w.Delay = time.Duration(delay)
		tidy(&w.Message)
		r.of(key).Will = &w
		return nil
	})
}

func (r *recall) retained() error {
	return r.each("SELECT sensor_id, "+messageColumns+" FROM mqtt_retained ORDER BY topic", func(rows *sql.Rows) error {
		var kept session.Retained
		if err := rows.Scan(append([]any{&kept.SensorID}, into(&kept.Message)...)...); err != nil {
			return err
		}
		tidy(&kept.Message)
		r.found.Retained = append(r.found.Retained, kept)
		return nil
	})
}

// messageColumns are what into scans.
const messageColumns = "topic, payload, qos, retain, properties, expires_at"

func into(m *session.Message) []any {
	return []any{&m.Topic, &m.Payload, &m.QoS, &m.Retain, &m.Properties, &m.ExpiresAt}
}

// tidy makes no bytes nil, as those who wrote the message will have had it.
func tidy(m *session.Message) {
	if len(m.Payload) == 0 {
		m.Payload = nil
	}
	if len(m.Properties) == 0 {
		m.Properties = nil
	}
}
