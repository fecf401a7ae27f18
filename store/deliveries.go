package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"sensorcast/notify"
	"sensorcast/telemetry"
)

const noticeColumns = `
	n.id, n.uid, n.what, n.owner_id, coalesce(n.sensor_id, 0), coalesce(s.serial, ''), n.severity, n.title, n.body, n.data, n.created_at`

func noticeFields(n *notify.Notice, data *[]byte) []any {
	return []any{&n.ID, &n.UID, &n.What, &n.OwnerID, &n.SensorID, &n.Serial, &n.Severity, &n.Title, &n.Body, data, &n.CreatedAt}
}

// NewNotices implements notify.Outbox.
func (d *DB) NewNotices(ctx context.Context, limit int) (all []notify.Notice, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, `
		SELECT `+noticeColumns+` FROM notices n LEFT JOIN sensors s ON s.id = n.sensor_id
		WHERE n.fanned_at = 0 ORDER BY n.id LIMIT ?`, limit)
	if err != nil {
		return nil, fmt.Errorf("query notices: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var n notify.Notice
		var data []byte
		if err := rows.Scan(noticeFields(&n, &data)...); err != nil {
			return nil, fmt.Errorf("read notices: %w", err)
		}
		n.Data = data
		all = append(all, n)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read notices: %w", readError(err))
	}
	return all, nil
}

// FanOut implements notify.Outbox.
func (d *DB) FanOut(ctx context.Context, at telemetry.Millis, fans []notify.Fan) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		for _, f := range fans {
			if err := fanOut(tx, at, f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("fan out notices: %w", err)
	}
	return nil
}

func fanOut(tx *sql.Tx, at telemetry.Millis, f notify.Fan) error {
	result, err := tx.Exec("UPDATE notices SET fanned_at = ? WHERE id = ? AND fanned_at = 0", int64(at), f.NoticeID)
	switch err := touched(result, err, "notice"); {
	case errors.Is(err, telemetry.ErrNotFound):
		return nil // done before, or gone with its account
	case err != nil:
		return err
	}
	for _, p := range f.To {
		_, err := tx.Exec(`
			INSERT INTO deliveries (channel_id, notice_id, state, made_at, due_at) SELECT id, ?, 'waiting', ?, ? FROM channels WHERE id = ? AND enabled`,
			f.NoticeID, int64(at), int64(p.DueAt), p.ChannelID)
		if err != nil {
			return err
		}
	}
	return nil
}

const selectDeliveries = `
	SELECT x.id, x.channel_id, x.state, x.attempts, x.due_at, x.settled_at, x.error,` + noticeColumns + `
	FROM deliveries x JOIN notices n ON n.id = x.notice_id LEFT JOIN sensors s ON s.id = n.sensor_id `

// Due implements notify.Outbox.
func (d *DB) Due(ctx context.Context, channelID int64, at telemetry.Millis, limit int) ([]notify.Delivery, error) {
	return d.deliveries(ctx, selectDeliveries+"WHERE x.channel_id = ? AND x.state = 'waiting' AND x.due_at <= ? ORDER BY x.id LIMIT ?",
		channelID, int64(at), limit)
}

// Deliveries implements notify.Keeper.
func (d *DB) Deliveries(ctx context.Context, channelID, before int64, limit int) ([]notify.Delivery, error) {
	return d.deliveries(ctx, selectDeliveries+"WHERE x.channel_id = ?1 AND (?2 = 0 OR x.id < ?2) ORDER BY x.id DESC LIMIT ?3", channelID, before, limit)
}

func (d *DB) deliveries(ctx context.Context, query string, args ...any) (all []notify.Delivery, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query deliveries: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var x notify.Delivery
		var data []byte
		err := rows.Scan(append([]any{&x.ID, &x.ChannelID, &x.State, &x.Attempts, &x.DueAt, &x.SettledAt, &x.Error}, noticeFields(&x.Notice, &data)...)...)
		if err != nil {
			return nil, fmt.Errorf("read deliveries: %w", err)
		}
		x.Notice.Data = data
		all = append(all, x)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read deliveries: %w", readError(err))
	}
	return all, nil
}

// Settle implements notify.Outbox.
func (d *DB) Settle(ctx context.Context, s notify.Settlement) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		for _, x := range s.Deliveries {
			settled := s.At
			if x.State == notify.Waiting {
				settled = 0
			}
			_, err := tx.Exec("UPDATE deliveries SET state = ?, attempts = ?, error = ?, settled_at = ? WHERE id = ? AND state = 'waiting'",
				string(x.State), x.Attempts, x.Error, int64(settled), x.ID)
			if err != nil {
				return err
			}
		}
		if _, err := tx.Exec("UPDATE channels SET failures = ?, retry_at = ? WHERE id = ?", s.Failures, int64(s.RetryAt), s.ChannelID); err != nil {
			return err
		}
		if s.SwitchOff {
			if _, err := tx.Exec("UPDATE channels SET enabled = 0 WHERE id = ?", s.ChannelID); err != nil {
				return err
			}
			s.GiveUp = forever
		}
		if s.GiveUp == 0 {
			return nil
		}
		return giveUp(tx, s.ChannelID, s.At, s.GiveUp, s.Why)
	})
	if err != nil {
		return fmt.Errorf("settle deliveries: %w", err)
	}
	return nil
}

// forever is later than anything.
const forever = telemetry.Millis(math.MaxInt64)

// giveUp fails what waits in a channel and was made, or due, at before or earlier.
func giveUp(tx *sql.Tx, channelID int64, at, before telemetry.Millis, why string) error {
	_, err := tx.Exec(`
		UPDATE deliveries SET state = 'failed', settled_at = ?, error = ? WHERE channel_id = ? AND state = 'waiting' AND max(made_at, due_at) <= ?`,
		int64(at), why, channelID, int64(before))
	return err
}

// Backlog implements notify.Outbox.
func (d *DB) Backlog(ctx context.Context) (n int64, err error) {
	if err := d.read.QueryRowContext(ctx, "SELECT count(*) FROM deliveries WHERE state = 'waiting'").Scan(&n); err != nil {
		return 0, fmt.Errorf("count deliveries: %w", readError(err))
	}
	return n, nil
}

// forgetNoticesEvery is how often notices that are old enough to go are looked for.
const forgetNoticesEvery = time.Hour

// forgetNotices deletes, at most rows of each, deliveries settled too long ago for anybody to ask about them, and notices without any.
func (d *DB) forgetNotices(ctx context.Context, rows int) (done int, err error) {
	done, err = d.forget(ctx, "notices", forgetNoticesEvery, now().Add(-notify.KeepSettled), rows,
		"DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE state <> 'waiting' AND settled_at < ? ORDER BY settled_at LIMIT ?)",
		`DELETE FROM notices WHERE id IN (SELECT id FROM notices n WHERE fanned_at <> 0 AND created_at < ?
			AND NOT EXISTS (SELECT 1 FROM deliveries x WHERE x.notice_id = n.id) ORDER BY created_at LIMIT ?)`)
	if err != nil {
		return 0, fmt.Errorf("forget old notices: %w", err)
	}
	return done, nil
}
