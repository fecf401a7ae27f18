package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// usesAtOnce bounds how long noting uses keeps other writers waiting.
const usesAtOnce = 500

// CreateAPIToken implements auth.APITokens.
func (d *DB) CreateAPIToken(ctx context.Context, t auth.APIToken) error {
	var serials sql.NullString
	if t.Serials != nil {
		list, err := json.Marshal(t.Serials)
		if err != nil {
			return fmt.Errorf("encode serials: %w", err)
		}
		serials = sql.NullString{String: string(list), Valid: true}
	}
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`
			INSERT INTO api_tokens (id, user_id, name, hash, can_write, serials, created_at, expires_at, last_used_at) VALUES (?,?,?,?,?,?,?,?,?)`,
			t.ID, t.UserID, t.Name, t.Hash[:], t.Write, serials, int64(t.CreatedAt), int64(t.ExpiresAt), int64(t.LastUsedAt))
		if isForeignKey(err) {
			return notFound("account")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create API token: %w", err)
	}
	return nil
}

// EveryAPIToken implements auth.APITokens. It is asked once, at the start.
func (d *DB) EveryAPIToken(ctx context.Context) ([]auth.APIToken, error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT id, user_id, name, hash, can_write, serials, created_at, expires_at, last_used_at FROM api_tokens ORDER BY user_id, rowid`)
	if err != nil {
		return nil, fmt.Errorf("query API tokens: %w", err)
	}
	defer rows.Close()
	var out []auth.APIToken
	for rows.Next() {
		var t auth.APIToken
		var hash []byte
		var serials sql.NullString
		if err := rows.Scan(&t.ID, &t.UserID, &t.Name, &hash, &t.Write, &serials, &t.CreatedAt, &t.ExpiresAt, &t.LastUsedAt); err != nil {
			return nil, fmt.Errorf("read API tokens: %w", err)
		}
		t.Hash = [32]byte(hash)
		if serials.Valid {
			if err := json.Unmarshal([]byte(serials.String), &t.Serials); err != nil {
				return nil, fmt.Errorf("decode serials of API token %s: %w", t.ID, err)
			}
		}
		out = append(out, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read API tokens: %w", err)
	}
	return out, nil
}

// UseAPITokens implements auth.APITokens, but that many go in several transactions: it matters to nobody whether all of them do.
func (d *DB) UseAPITokens(ctx context.Context, at map[string]telemetry.Millis) error {
	for some := range slices.Chunk(slices.Sorted(maps.Keys(at)), usesAtOnce) {
		err := d.write.do(ctx, func(tx *sql.Tx) error {
			for _, id := range some {
				if _, err := tx.Exec("UPDATE api_tokens SET last_used_at = ? WHERE id = ?", int64(at[id]), id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("note uses of API tokens: %w", err)
		}
	}
	return nil
}

// DeleteAPIToken implements auth.APITokens.
func (d *DB) DeleteAPIToken(ctx context.Context, id string) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		if err := require(tx, "API token", "SELECT 1 FROM api_tokens WHERE id = ?", id); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM api_tokens WHERE id = ?", id)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete API token: %w", err)
	}
	return nil
}
