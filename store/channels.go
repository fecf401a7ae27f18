package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"sensorcast/notify"
	"sensorcast/telemetry"
)

// CreateChannel implements notify.Keeper.
func (d *DB) CreateChannel(ctx context.Context, c *notify.Channel) error {
	return d.write.do(ctx, func(tx *sql.Tx) error {
		if err := require(tx, "account", "SELECT 1 FROM users WHERE id = ?", c.UserID); err != nil {
			return err
		}
		if err := forbid(tx, notify.ErrChannels, "SELECT 1 FROM channels WHERE user_id = ? LIMIT 1 OFFSET ?", c.UserID, notify.MaxChannels-1); err != nil {
			return err
		}
		result, err := tx.Exec(`
			INSERT INTO channels (uid, user_id, name, kind, shown, host, target, secret, min_severity, enabled, quiet_from, quiet_to, quiet_zone,
				created_at, updated_at)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
			c.UID, c.UserID, c.Name, string(c.Kind), c.Shown, c.Host, c.Target, c.Secret, string(c.MinSeverity), c.Enabled,
			c.Quiet.From, c.Quiet.To, c.Quiet.Zone, int64(c.CreatedAt), int64(c.UpdatedAt))
		if err != nil {
			return err
		}
		c.ID, err = result.LastInsertId()
		return err
	})
}

// Who may not log in is not told either.
const selectChannels = `
	SELECT c.id, c.uid, c.user_id, c.name, c.kind, c.shown, c.host, c.target, c.secret, c.min_severity, c.enabled, c.quiet_from, c.quiet_to,
		c.quiet_zone, c.failures, c.retry_at, c.created_at, c.updated_at
	FROM channels c JOIN users u ON u.id = c.user_id AND NOT u.disabled `

// Channels implements notify.Keeper.
func (d *DB) Channels(ctx context.Context, userID int64) ([]notify.Channel, error) {
	return d.channels(ctx, selectChannels+"WHERE c.user_id = ? ORDER BY c.id", userID)
}

// Channel implements notify.Keeper.
func (d *DB) Channel(ctx context.Context, userID int64, uid string) (notify.Channel, error) {
	found, err := d.channels(ctx, selectChannels+"WHERE c.uid = ? AND c.user_id = ?", uid, userID)
	if err != nil {
		return notify.Channel{}, err
	}
	if len(found) == 0 {
		return notify.Channel{}, notFound("channel")
	}
	return found[0], nil
}

// ReadyChannels implements notify.Outbox.
func (d *DB) ReadyChannels(ctx context.Context, at telemetry.Millis, but []string, limit int) ([]notify.Channel, error) {
	hosts, err := json.Marshal(append([]string{}, but...)) // never null
	if err != nil {
		return nil, fmt.Errorf("query channels: %w", err)
	}
	return d.channels(ctx, selectChannels+`
		JOIN (SELECT channel_id, min(id) AS oldest FROM deliveries WHERE state = 'waiting' AND due_at <= ?1 GROUP BY channel_id) w
			ON w.channel_id = c.id
		WHERE c.enabled AND c.retry_at <= ?1 AND c.host NOT IN (SELECT value FROM json_each(?2)) ORDER BY w.oldest LIMIT ?3`, int64(at), string(hosts), limit)
}

func (d *DB) channels(ctx context.Context, query string, args ...any) ([]notify.Channel, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query channels: %w", readError(err))
	}
	defer rows.Close()
	var all []notify.Channel
	for rows.Next() {
		var c notify.Channel
		err := rows.Scan(&c.ID, &c.UID, &c.UserID, &c.Name, &c.Kind, &c.Shown, &c.Host, &c.Target, &c.Secret, &c.MinSeverity, &c.Enabled,
			&c.Quiet.From, &c.Quiet.To, &c.Quiet.Zone, &c.Failures, &c.RetryAt, &c.CreatedAt, &c.UpdatedAt)
		if err != nil {
			return nil, fmt.Errorf("read channels: %w", err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read channels: %w", readError(err))
	}
	return all, nil
}

// UpdateChannel implements notify.Keeper.
func (d *DB) UpdateChannel(ctx context.Context, c notify.Channel) error {
	return d.write.do(ctx, func(tx *sql.Tx) error {
		result, err := tx.Exec(`
			UPDATE channels SET name = ?, shown = ?, host = ?, target = ?, min_severity = ?, enabled = ?, quiet_from = ?, quiet_to = ?,
				quiet_zone = ?, failures = 0, retry_at = 0, updated_at = ?
			WHERE id = ?`,
			c.Name, c.Shown, c.Host, c.Target, string(c.MinSeverity), c.Enabled, c.Quiet.From, c.Quiet.To, c.Quiet.Zone, int64(c.UpdatedAt), c.ID)
		if err := touched(result, err, "channel"); err != nil {
			return err
		}
		if c.Enabled {
			return nil
		}
		return giveUp(tx, c.ID, c.UpdatedAt, forever, "the channel was switched off")
	})
}

// DeleteChannel implements notify.Keeper.
func (d *DB) DeleteChannel(ctx context.Context, id int64) error {
	return d.write.do(ctx, func(tx *sql.Tx) error {
		result, err := tx.Exec("DELETE FROM channels WHERE id = ?", id)
		return touched(result, err, "channel")
	})
}

// touched returns telemetry.ErrNotFound, naming what is missing, when a statement changed no row.
func touched(result sql.Result, err error, what string) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return notFound(what)
	}
	return err
}

// MailAddress implements notify.Addresses.
func (d *DB) MailAddress(ctx context.Context, userID int64) (string, error) {
	u, err := d.UserByID(ctx, userID)
	if err != nil {
		return "", err
	}
	if u.EmailVerifiedAt == 0 {
		return "", fmt.Errorf("e-mail address not confirmed: %w", telemetry.ErrForbidden)
	}
	return u.Email, nil
}
