package store

import (
	"context"
	"fmt"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

const selectLiveSessions = "SELECT " + sessionColumns + " FROM sessions s WHERE s.user_id = ? AND s.ended_at = 0 AND s.expires_at > ?"

// LiveSessions implements auth.Sessions.
func (d *DB) LiveSessions(
	ctx context.Context, userID int64, now telemetry.Millis, after auth.Session, limit int,
) (live []auth.Session, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx,
		selectLiveSessions+" AND (?3 = '' OR (s.created_at, s.id) < (?4, ?3)) ORDER BY s.created_at DESC, s.id DESC LIMIT ?5",
		userID, int64(now), after.ID, int64(after.CreatedAt), max(limit, 1))
	if err != nil {
		return nil, fmt.Errorf("query sessions: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var s auth.Session
		if err := rows.Scan(fieldsOf(&s)...); err != nil {
			return nil, fmt.Errorf("read sessions: %w", err)
		}
		live = append(live, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read sessions: %w", readError(err))
	}
	return live, nil
}

// LiveSession implements auth.Sessions.
func (d *DB) LiveSession(ctx context.Context, userID int64, now telemetry.Millis, id string) (s auth.Session, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	if err := d.read.QueryRowContext(ctx, selectLiveSessions+" AND s.id = ?", userID, int64(now), id).Scan(fieldsOf(&s)...); err != nil {
		return auth.Session{}, fmt.Errorf("read session: %w", absent(readError(err), "session"))
	}
	return s, nil
}
