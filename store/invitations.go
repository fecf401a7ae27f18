package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// CreateInvitation implements auth.Invitations.
func (d *DB) CreateInvitation(ctx context.Context, i auth.Invitation) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO invitations (id, hash, email, role, created_at, inviter_id, expires_at) VALUES (?,?,?,?,?,?,?)",
			i.ID, i.Hash, i.Email, string(i.Role), int64(i.CreatedAt), i.InviterID, int64(i.ExpiresAt))
		return err
	})
	if err != nil {
		return fmt.Errorf("create invitation: %w", err)
	}
	return nil
}

const (
	selectInvitation = `
	SELECT i.ord, i.id, i.hash, i.email, i.role, i.created_at, i.inviter_id, coalesce(a.username, ''), i.expires_at, i.used_at, coalesce(u.username, '')
	FROM invitations i LEFT JOIN users a ON a.id = i.inviter_id LEFT JOIN users u ON u.id = i.used_by WHERE `

	// isOpen takes hash and now.
	isOpen = "hash = ? AND used_at = 0 AND expires_at > ? AND inviter_id IN (SELECT id FROM users WHERE role = 'admin' AND disabled = 0)"
)

func scanInvitation(row interface{ Scan(...any) error }) (ord int64, i auth.Invitation, err error) {
	err = row.Scan(&ord, &i.ID, &i.Hash, &i.Email, &i.Role, &i.CreatedAt, &i.InviterID, &i.Inviter, &i.ExpiresAt, &i.UsedAt, &i.UsedBy)
	return ord, i, err
}

// OpenInvitation implements auth.Invitations.
func (d *DB) OpenInvitation(ctx context.Context, hash []byte, now telemetry.Millis) (auth.Invitation, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	_, i, err := scanInvitation(d.read.QueryRowContext(ctx, selectInvitation+isOpen, hash, int64(now)))
	if err != nil {
		return auth.Invitation{}, fmt.Errorf("read invitation: %w", absent(readError(err), "invitation"))
	}
	return i, nil
}

// CreateInvited implements auth.Invitations.
func (d *DB) CreateInvited(ctx context.Context, u *auth.User, hash []byte, now telemetry.Millis) error {
	return d.createUser(ctx, u, func(tx *sql.Tx, id int64) error {
		result, err := tx.Exec("UPDATE invitations SET used_at = ?, used_by = ? WHERE "+isOpen, int64(now), id, hash, int64(now))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return absent(sql.ErrNoRows, "invitation")
		}
		return nil
	})
}

// ListInvitations implements auth.Invitations. Its cursor is the place of the last one shown.
func (d *DB) ListInvitations(ctx context.Context, cursor string, limit int) (items []auth.Invitation, next string, err error) {
	before := int64(math.MaxInt64)
	if cursor != "" {
		if before, err = strconv.ParseInt(cursor, 10, 64); err != nil || before <= 0 {
			return nil, "", telemetry.Invalid("cursor", "is not one this list gave out")
		}
	}
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, selectInvitation+"i.ord < ? ORDER BY i.ord DESC LIMIT ?", before, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("query invitations: %w", readError(err))
	}
	defer rows.Close()
	var last int64
	for rows.Next() {
		if len(items) == limit { // one more than asked for shows that there is a next page
			return items, strconv.FormatInt(last, 10), nil
		}
		var i auth.Invitation
		if last, i, err = scanInvitation(rows); err != nil {
			return nil, "", fmt.Errorf("read invitations: %w", err)
		}
		items = append(items, i)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("read invitations: %w", readError(err))
	}
	return items, "", nil
}

// DeleteInvitation implements auth.Invitations.
func (d *DB) DeleteInvitation(ctx context.Context, id string) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		if err := require(tx, "invitation", "SELECT 1 FROM invitations WHERE id = ?", id); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM invitations WHERE id = ?", id)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete invitation: %w", err)
	}
	return nil
}
