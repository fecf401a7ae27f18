package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"sensorcast/command"
	"sensorcast/telemetry"
)

// CommitCommands implements command.Keeper.
func (d *DB) CommitCommands(ctx context.Context, steps []*command.Step) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		for _, s := range steps {
			take := settleCommand
			if s.Command.State == command.Queued {
				take = addCommand
			}
			if err := take(tx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store commands: %w", err)
	}
	return nil
}

// addCommand asks for the sensor itself: a broken foreign key would undo the steps of everybody else in the transaction.
func addCommand(tx *sql.Tx, s *command.Step) error {
	c := &s.Command
	result, err := tx.Exec(`
		INSERT INTO commands (id, sensor_id, name, data, state, created_at, created_by, expires_at)
		SELECT ?, id, ?, ?, ?, ?, ?, ? FROM sensors WHERE id = ?`,
		c.ID, c.Name, string(c.Data), string(c.State), int64(c.CreatedAt), c.CreatedBy, int64(c.ExpiresAt), c.SensorID)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err != nil || n == 0 {
		return err
	}
	s.Found, s.Taken = true, true
	c.Order, err = result.LastInsertId()
	return err
}

// settleCommand moves a command on. A time that is set stays.
func settleCommand(tx *sql.Tx, s *command.Step) error {
	c := &s.Command
	err := tx.QueryRow("SELECT state FROM commands WHERE id = ? AND sensor_id = ?", c.ID, c.SensorID).Scan(&s.Was)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Found = true
	if !c.State.Follows(s.Was) {
		return nil
	}
	_, err = tx.Exec(`
		UPDATE commands SET state = ?, settled_at = ?, reply = ?,
			delivered_at = CASE delivered_at WHEN 0 THEN ? ELSE delivered_at END,
			answered_at = CASE answered_at WHEN 0 THEN ? ELSE answered_at END
		WHERE id = ?`,
		string(c.State), int64(s.At), sql.NullString{String: string(c.Reply), Valid: c.Reply != nil}, int64(c.DeliveredAt), int64(c.AnsweredAt), c.ID)
	s.Taken = err == nil
	return err
}

// ExpireCommands implements command.Keeper.
func (d *DB) ExpireCommands(ctx context.Context, now telemetry.Millis, limit int) (expired map[int64]int, next telemetry.Millis, err error) {
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		expired, err = tally(tx.Query(`
			UPDATE commands SET state = 'expired', settled_at = expires_at WHERE ord IN
				(SELECT ord FROM commands WHERE state = 'queued' AND expires_at <= ? ORDER BY expires_at LIMIT ?)
			RETURNING sensor_id, 1`, int64(now), limit))
		if err != nil {
			return err
		}
		return tx.QueryRow("SELECT coalesce(min(expires_at), 0) FROM commands WHERE state = 'queued'").Scan(&next)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("expire commands: %w", err)
	}
	return expired, next, nil
}

// WaitingCommands implements command.Keeper.
func (d *DB) WaitingCommands(ctx context.Context) (map[int64]int, error) {
	waiting, err := tally(d.read.QueryContext(ctx, "SELECT sensor_id, count(*) FROM commands WHERE state = 'queued' GROUP BY sensor_id"))
	if err != nil {
		return nil, fmt.Errorf("count waiting commands: %w", readError(err))
	}
	return waiting, nil
}

// tally adds up rows of a sensor and a number.
func tally(rows *sql.Rows, err error) (map[int64]int, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	sums := map[int64]int{}
	for rows.Next() {
		var sensor int64
		var n int
		if err := rows.Scan(&sensor, &n); err != nil {
			return nil, err
		}
		sums[sensor] += n
	}
	return sums, rows.Err()
}

// Commands implements command.Keeper.
func (d *DB) Commands(ctx context.Context, q command.Query) ([]command.Command, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	query, args := selectCommands(q)
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query commands: %w", readError(err))
	}
	defer rows.Close()
	var out []command.Command
	for rows.Next() {
		c, err := scanCommand(rows)
		if err != nil {
			return nil, fmt.Errorf("read commands: %w", err)
		}
		c.State = c.StateAt(q.Now)
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read commands: %w", readError(err))
	}
	return out, nil
}

// selectCommands says in SQL what command.StateAt says in Go. 'queued' stands as a literal where it can: that is what lets SQLite use the
// partial index.
func selectCommands(q command.Query) (string, []any) {
	where := conditions{}
	where.add("c.sensor_id = ?", q.SensorID)
	switch q.State {
	case "":
	case command.Queued:
		where.add("c.state = 'queued' AND c.expires_at > ?", int64(q.Now))
	case command.Expired:
		where.add("(c.state = 'expired' OR c.state = 'queued' AND c.expires_at <= ?)", int64(q.Now))
	default:
		where.add("c.state = ?", string(q.State))
	}
	order, beyond := " ORDER BY c.ord DESC", "c.ord < ?"
	if q.OldestFirst {
		order, beyond = " ORDER BY c.ord", "c.ord > ?"
	}
	if q.Beyond != 0 {
		where.add(beyond, q.Beyond)
	}
	return `
		SELECT c.ord, c.id, c.sensor_id, s.serial, c.name, c.data, c.state, c.created_at, c.created_by, c.expires_at, c.delivered_at,
			c.answered_at, c.reply
		FROM commands c CROSS JOIN sensors s ON s.id = c.sensor_id
		WHERE ` + where.String() + order + " LIMIT ?", append(where.args, max(q.Limit, 1))
}

func scanCommand(rows *sql.Rows) (c command.Command, err error) {
	var data, reply []byte
	err = rows.Scan(&c.Order, &c.ID, &c.SensorID, &c.Serial, &c.Name, &data, &c.State, &c.CreatedAt, &c.CreatedBy, &c.ExpiresAt,
		&c.DeliveredAt, &c.AnsweredAt, &reply)
	c.Data, c.Reply = data, reply
	return c, err
}

// forgetCommandsEvery is how often settled commands that are old enough to go are looked for.
const forgetCommandsEvery = time.Hour

// forgetCommands deletes, at most rows of them, commands that were settled too long ago for anybody to ask about them.
func (d *DB) forgetCommands(ctx context.Context, rows int) (done int, err error) {
	done, err = d.forget(ctx, "commands", forgetCommandsEvery, now().Add(-command.KeepSettled), rows,
		"DELETE FROM commands WHERE ord IN (SELECT ord FROM commands WHERE state <> 'queued' AND settled_at < ? ORDER BY settled_at LIMIT ?)")
	if err != nil {
		return 0, fmt.Errorf("forget old commands: %w", err)
	}
	return done, nil
}
