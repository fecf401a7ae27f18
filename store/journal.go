package store

import (
	"database/sql"
	"fmt"

	"sensorcast/session"
)

// The statements of changes. Each finds its session by id itself, so that one that is not kept is no row and not an error: changes come
// late, after their sensor or person is gone, and must not fail a batch of other people's readings. For the same reason those that
// name a sensor or person look whether it is there instead of leaving that to the foreign key.
const (
	keepSession = `
		INSERT INTO mqtt_sessions (id, user_id, sensor_id, version, expiry, ends_at)
		SELECT ?1, nullif(?2, 0), nullif(?3, 0), ?4, ?5, ?6
		WHERE (?2 <> 0 OR ?3 <> 0)
			AND (?2 = 0 OR EXISTS (SELECT 1 FROM users WHERE id = ?2)) AND (?3 = 0 OR EXISTS (SELECT 1 FROM sensors WHERE id = ?3))
		ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id, sensor_id = excluded.sensor_id, version = excluded.version,
			expiry = excluded.expiry, ends_at = excluded.ends_at`

	dropSession = "DELETE FROM mqtt_sessions WHERE id = ?" // what hangs on it goes with it

	theSession = "(SELECT key FROM mqtt_sessions WHERE id = ?1)"

	subscribe = `
		INSERT OR REPLACE INTO mqtt_subscriptions (session, filter, options, identifier)
		SELECT key, ?2, ?3, ?4 FROM mqtt_sessions WHERE id = ?1`
	unsubscribe = "DELETE FROM mqtt_subscriptions WHERE session = " + theSession + " AND filter = ?2"

	// A packet id that is taken goes to the newcomer: the Settle between them was in a batch that failed.
	queueDelivery = `
		INSERT OR REPLACE INTO mqtt_deliveries (session, packet_id, place, released, topic, payload, qos, retain, properties, expires_at, sensor_id)
		SELECT key, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM mqtt_sessions WHERE id = ?1`
	releaseDelivery = `
		UPDATE mqtt_deliveries SET released = 1, topic = '', payload = x'', retain = 0, properties = x'', expires_at = 0, sensor_id = 0
		WHERE session = ` + theSession + " AND packet_id = ?2 AND qos = 2"
	settleDelivery = "DELETE FROM mqtt_deliveries WHERE session = " + theSession + " AND packet_id = ?2"

	receive  = "INSERT OR IGNORE INTO mqtt_received (session, packet_id) SELECT key, ?2 FROM mqtt_sessions WHERE id = ?1"
	complete = "DELETE FROM mqtt_received WHERE session = " + theSession + " AND packet_id = ?2"

	leaveWill = `
		INSERT OR REPLACE INTO mqtt_wills (session, delay, due_at, topic, payload, qos, retain, properties, expires_at)
		SELECT key, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM mqtt_sessions WHERE id = ?1`
	withdrawWill = "DELETE FROM mqtt_wills WHERE session = " + theSession

	retain = `
		INSERT INTO mqtt_retained (sensor_id, topic, payload, qos, retain, properties, expires_at)
		SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM sensors WHERE id = ?1
		ON CONFLICT (topic) DO UPDATE SET sensor_id = excluded.sensor_id, payload = excluded.payload, qos = excluded.qos,
			retain = excluded.retain, properties = excluded.properties, expires_at = excluded.expires_at`

	// The sensor is asked for here too: once it is gone the topic may belong to another one that was given its serial.
	unretain = "DELETE FROM mqtt_retained WHERE topic = ?2 AND EXISTS (SELECT 1 FROM sensors WHERE id = ?1)"
)

var changeStatements = []string{
	keepSession, dropSession, subscribe, unsubscribe, queueDelivery, releaseDelivery, settleDelivery, receive, complete, leaveWill,
	withdrawWill, retain, unretain,
}

// change applies changes within tx, in their order.
func (d *DB) change(tx *sql.Tx, changes []session.Change) error {
	if len(changes) == 0 {
		return nil
	}
	j := journal{hot: d.hot, tx: tx, open: make(map[string]*sql.Stmt, len(changeStatements))}
	undone := undone(changes)
	for i, c := range changes {
		if undone[i] {
			continue
		}
		if !j.apply(c) {
			// A pointer, or nothing at all: only a mistake in this program makes one, and the readings beside it are innocent.
			d.log.Error("change of unknown kind is not stored", "kind", fmt.Sprintf("%T", c))
		}
		if j.err != nil {
			return fmt.Errorf("%T: %w", c, j.err)
		}
	}
	return nil
}

// undone tells which changes leave nothing behind because a later one of the same batch takes it away: a delivery queued and settled, a
// packet received and completed. Nobody sees what lies between. The busier the server, the larger its batches and the more of what
// subscribers acknowledge at once is never written at all.
func undone(changes []session.Change) []bool {
	type packet struct {
		session string
		id      uint16
		inbound bool
	}
	undone := make([]bool, len(changes))
	gone := map[packet]bool{}
	for i := len(changes) - 1; i >= 0; i-- {
		switch c := changes[i].(type) {
		case session.Settle:
			gone[packet{c.ID, c.PacketID, false}] = true
		case session.Complete:
			gone[packet{c.ID, c.PacketID, true}] = true
		case session.Queue:
			undone[i] = gone[packet{c.ID, c.Delivery.PacketID, false}]
		case session.Receive:
			undone[i] = gone[packet{c.ID, c.PacketID, true}]
		}
	}
	return undone
}

// journal writes the changes of one transaction.
type journal struct {
	hot  hot
	tx   *sql.Tx
	open map[string]*sql.Stmt // those used so far, bound to tx
	err  error
}

func (j *journal) run(query string, args ...any) {
	stmt := j.open[query]
	if stmt == nil {
		stmt = j.hot.in(j.tx, query)
		j.open[query] = stmt
	}
	_, j.err = stmt.Exec(args...)
}

// apply reports whether it knows such changes.
func (j *journal) apply(c session.Change) bool {
	switch c := c.(type) {
	case session.Keep:
		s := &c.Session
		j.run(keepSession, s.ID, s.UserID, s.SensorID, int64(s.Version), int64(s.Expiry), int64(s.EndsAt))
	case session.Drop:
		j.run(dropSession, c.ID)
	case session.Subscribe:
		s := &c.Subscription
		j.run(subscribe, c.ID, s.Filter, int64(s.Options), int64(s.Identifier))
	case session.Unsubscribe:
		j.run(unsubscribe, c.ID, c.Filter)
	case session.Queue:
		d, m := &c.Delivery, &c.Delivery.Message
		j.run(queueDelivery, c.ID, int64(d.PacketID), d.Order, d.Released,
			m.Topic, blob(m.Payload), int64(m.QoS), m.Retain, blob(m.Properties), int64(m.ExpiresAt), m.SensorID)
	case session.Release:
		j.run(releaseDelivery, c.ID, int64(c.PacketID))
	case session.Settle:
		j.run(settleDelivery, c.ID, int64(c.PacketID))
	case session.Receive:
		j.run(receive, c.ID, int64(c.PacketID))
	case session.Complete:
		j.run(complete, c.ID, int64(c.PacketID))
	case session.Leave:
		w, m := &c.Will, &c.Will.Message
		j.run(leaveWill, c.ID, int64(w.Delay), int64(w.DueAt),
			m.Topic, blob(m.Payload), int64(m.QoS), m.Retain, blob(m.Properties), int64(m.ExpiresAt))
	case session.Withdraw:
		j.run(withdrawWill, c.ID)
	case session.Retain:
		j.retain(c.Retained.SensorID, &c.Retained.Message)
	default:
		return false
	}
	return true
}

func (j *journal) retain(sensor int64, m *session.Message) {
	if len(m.Payload) == 0 {
		j.run(unretain, sensor, m.Topic)
		return
	}
	j.run(retain, sensor, m.Topic, m.Payload, int64(m.QoS), m.Retain, blob(m.Properties), int64(m.ExpiresAt))
}

// blob keeps nil from becoming NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
