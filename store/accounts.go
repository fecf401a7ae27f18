package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// fold is what usernames and e-mail addresses are compared by.
func fold(s string) string { return strings.ToLower(s) }

// CreateUser implements auth.Accounts. It fills in ID, and UID, CreatedAt and UpdatedAt where they are zero.
func (d *DB) CreateUser(ctx context.Context, u *auth.User) error {
	created := *u
	if created.UID == "" {
		created.UID = newUID()
	}
	if created.CreatedAt == 0 {
		created.CreatedAt = now()
	}
	if created.UpdatedAt == 0 {
		created.UpdatedAt = created.CreatedAt
	}
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		if err := checkTaken(tx, &created); err != nil {
			return err
		}
		some, err := exists(tx, "SELECT 1 FROM users")
		if err != nil {
			return err
		}
		if !some {
			created.Role = auth.RoleAdmin
		}
		result, err := tx.Exec(`
			INSERT INTO users (uid, username, username_key, email, email_key, first_name, last_name, role, disabled, password_hash,
				created_at, updated_at)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`,
			created.UID, created.Username, fold(created.Username), created.Email, fold(created.Email), created.FirstName, created.LastName,
			string(created.Role), created.Disabled, created.PasswordHash, int64(created.CreatedAt), int64(created.UpdatedAt))
		if err != nil {
			return err
		}
		created.ID, err = result.LastInsertId()
		return err
	})
	if err != nil {
		return fmt.Errorf("create account: %w", err)
	}
	*u = created
	return nil
}

// checkTaken refuses a username or e-mail that another account logs in with, as either: a username must not shadow somebody's address.
func checkTaken(tx *sql.Tx, u *auth.User) error {
	for _, f := range []struct{ field, value string }{{"username", u.Username}, {"email", u.Email}} {
		const taken = "SELECT 1 FROM users WHERE (username_key = ?1 OR email_key = ?1) AND id <> ?2"
		if err := forbid(tx, telemetry.Conflict(f.field, "is taken"), taken, fold(f.value), u.ID); err != nil {
			return err
		}
	}
	return nil
}

const selectUser = `
	SELECT id, uid, username, email, first_name, last_name, role, disabled, password_hash, created_at, updated_at FROM users WHERE `

// UserByLogin implements auth.Accounts.
func (d *DB) UserByLogin(ctx context.Context, login string) (auth.User, error) {
	return d.user(ctx, selectUser+"username_key = ?1 OR email_key = ?1", fold(login))
}

// UserByID implements auth.Accounts.
func (d *DB) UserByID(ctx context.Context, id int64) (auth.User, error) {
	return d.user(ctx, selectUser+"id = ?", id)
}

func (d *DB) user(ctx context.Context, query string, arg any) (u auth.User, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	err = d.read.QueryRowContext(ctx, query, arg).Scan(&u.ID, &u.UID, &u.Username, &u.Email, &u.FirstName, &u.LastName, &u.Role, &u.Disabled,
		&u.PasswordHash, &u.CreatedAt, &u.UpdatedAt)
	if err != nil {
		return auth.User{}, fmt.Errorf("read account: %w", absent(readError(err), "account"))
	}
	return u, nil
}

// UpdateUser implements auth.Accounts. The username never changes.
func (d *DB) UpdateUser(ctx context.Context, u auth.User) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRow("SELECT username FROM users WHERE id = ?", u.ID).Scan(&u.Username); err != nil {
			return absent(err, "account")
		}
		if err := checkTaken(tx, &u); err != nil {
			return err
		}
		_, err := tx.Exec(`
			UPDATE users SET email = ?, email_key = ?, first_name = ?, last_name = ?, role = ?, disabled = ?, password_hash = ?, updated_at = ?
			WHERE id = ?`,
			u.Email, fold(u.Email), u.FirstName, u.LastName, string(u.Role), u.Disabled, u.PasswordHash, int64(u.UpdatedAt), u.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("update account: %w", err)
	}
	return nil
}

// DeleteUser implements auth.Accounts: the account, its sensors, its MQTT sessions and its refresh tokens go at once, the sensors'
// history in the background.
func (d *DB) DeleteUser(ctx context.Context, id int64) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		if err := require(tx, "account", "SELECT 1 FROM users WHERE id = ?", id); err != nil {
			return err
		}
		if err := d.deleteSensors(tx, "owner_id = ?", id); err != nil {
			return err
		}
		if err := endSessions(tx, "user_id = ?", id, now()); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM users WHERE id = ?", id)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete account: %w", err)
	}
	d.nudge()
	return nil
}

// CountUsers implements auth.Accounts.
func (d *DB) CountUsers(ctx context.Context) (n int, err error) {
	if err := d.read.QueryRowContext(ctx, "SELECT count(*) FROM users").Scan(&n); err != nil {
		return 0, fmt.Errorf("count accounts: %w", readError(err))
	}
	return n, nil
}
