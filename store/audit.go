package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"sensorcast/audit"
)

// forgetEntriesEvery is how often entries of the audit trail that are old enough to go are looked for.
const forgetEntriesEvery = time.Hour

// entered is an entry on its way to the trail.
type entered struct {
	audit.Entry
	detail string // as JSON
	bucket string
}

// AppendEntry implements audit.Keeper. Entries that come together are written together.
func (d *DB) AppendEntry(ctx context.Context, e audit.Entry, bucket string) error {
	in := entered{Entry: e, bucket: bucket}
	if len(e.Detail) > 0 {
		b, err := json.Marshal(e.Detail)
		if err != nil {
			return fmt.Errorf("encode audit entry: %w", err)
		}
		in.detail = string(b)
	}
	if err := d.entering.add(ctx, d.write, in, appendEntries); err != nil {
		return fmt.Errorf("append audit entry: %w", err)
	}
	return nil
}

func appendEntries(tx *sql.Tx, entries []entered) error {
	for i := range entries {
		e := &entries[i]
		var seq int64
		err := tx.QueryRow(`
			INSERT INTO audit (at, action, outcome, count, actor_id, actor, via, via_id, address, sensor_id, serial, owner_id, user_id, username,
				detail, bucket)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
			ON CONFLICT (bucket) WHERE bucket <> '' DO UPDATE SET count = count + excluded.count
			RETURNING seq`,
			int64(e.At), e.Action, string(e.Outcome), e.Count, e.Actor.ID, e.Actor.Name, string(e.Via), e.ViaID, e.Address,
			e.Sensor.ID, e.Sensor.Serial, e.Sensor.OwnerID, e.Account.ID, e.Account.Name, e.detail, e.bucket).Scan(&seq)
		if err != nil {
			return err
		}
		for _, party := range e.Parties() {
			if _, err := tx.Exec("INSERT INTO audit_parties (user_id, seq) VALUES (?,?) ON CONFLICT DO NOTHING", party, seq); err != nil {
				return err
			}
		}
	}
	return nil
}

// Entries implements audit.Keeper.
func (d *DB) Entries(ctx context.Context, q audit.Query) ([]audit.Entry, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	query, args := selectEntries(q)
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query audit trail: %w", readError(err))
	}
	defer rows.Close()
	var out []audit.Entry
	for rows.Next() {
		e, err := scanEntry(rows)
		if err != nil {
			return nil, fmt.Errorf("read audit trail: %w", err)
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read audit trail: %w", readError(err))
	}
	return out, nil
}

// selectEntries reads one person's entries by audit_parties, in its order, and all others from the newest on.
func selectEntries(q audit.Query) (string, []any) {
	where := conditions{}
	from, seq := "audit a", "a.seq"
	if q.Party != 0 {
		from, seq = "audit_parties p CROSS JOIN audit a ON a.seq = p.seq", "p.seq"
		where.add("p.user_id = ?", q.Party)
	}
	if q.Beyond != 0 {
		where.add(seq+" < ?", q.Beyond)
	}
	if q.Actor != "" {
		where.add("a.actor = ? COLLATE NOCASE", q.Actor)
	}
	if q.Serial != "" {
		where.add("a.serial = ? AND a.serial <> ''", q.Serial) // the second lets SQLite use the partial index
	}
	if q.SensorID != 0 {
		where.add("a.sensor_id = ?", q.SensorID)
	}
	if q.Action != "" {
		where.add("a.action = ?", q.Action)
	}
	if q.From != 0 {
		where.add("a.at >= ?", int64(q.From))
	}
	if q.To != 0 {
		where.add("a.at < ?", int64(q.To))
	}
	if len(where.terms) == 0 {
		where.add("TRUE")
	}
	return `
		SELECT a.seq, a.at, a.action, a.outcome, a.count, a.actor_id, a.actor, a.via, a.via_id, a.address, a.sensor_id, a.serial, a.owner_id,
			a.user_id, a.username, a.detail
		FROM ` + from + " WHERE " + where.String() + " ORDER BY " + seq + " DESC LIMIT ?", append(where.args, max(q.Limit, 1))
}

func scanEntry(rows *sql.Rows) (e audit.Entry, err error) {
	var detail []byte
	err = rows.Scan(&e.Seq, &e.At, &e.Action, &e.Outcome, &e.Count, &e.Actor.ID, &e.Actor.Name, &e.Via, &e.ViaID, &e.Address,
		&e.Sensor.ID, &e.Sensor.Serial, &e.Sensor.OwnerID, &e.Account.ID, &e.Account.Name, &detail)
	if err == nil && len(detail) > 0 {
		err = json.Unmarshal(detail, &e.Detail)
	}
	return e, err
}

// forgetEntries deletes, at most rows of them, entries that are older than they are kept.
func (d *DB) forgetEntries(ctx context.Context, rows int) (done int, err error) {
	if d.cfg.AuditRetain <= 0 {
		return 0, nil
	}
	done, err = d.forget(ctx, "audit", forgetEntriesEvery, now().Add(-d.cfg.AuditRetain), rows,
		"DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < ? ORDER BY at LIMIT ?)")
	if err != nil {
		return 0, fmt.Errorf("forget old audit entries: %w", err)
	}
	return done, nil
}
