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
	return d.createUser(ctx, u, func(*sql.Tx, int64) error { return nil })
}

// createUser stores u and, in the same transaction, does what else goes with the account of that number.
func (d *DB) createUser(ctx context.Context, u *auth.User, also func(tx *sql.Tx, id int64) error) error {
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
				created_at, updated_at, search)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)`,
			created.UID, created.Username, fold(created.Username), created.Email, fold(created.Email), created.FirstName, created.LastName,
			string(created.Role), created.Disabled, created.PasswordHash, int64(created.CreatedAt), int64(created.UpdatedAt), userText(created))
		if err != nil {
			return err
		}
		if created.ID, err = result.LastInsertId(); err != nil {
			return err
		}
		return also(tx, created.ID)
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

// userText is what free text search looks at, lower-cased here because SQLite folds ASCII only. Lines keep a match from spanning fields.
func userText(u auth.User) string {
	return fold(strings.Join([]string{u.Username, u.Email, u.FirstName, u.LastName}, "\n"))
}

const selectUser = `
	SELECT id, uid, username, email, email_verified_at, first_name, last_name, role, disabled, password_hash, created_at, updated_at, last_login_at
	FROM users WHERE `

func scanUser(row interface{ Scan(...any) error }) (u auth.User, err error) {
	err = row.Scan(&u.ID, &u.UID, &u.Username, &u.Email, &u.EmailVerifiedAt, &u.FirstName, &u.LastName, &u.Role, &u.Disabled,
		&u.PasswordHash, &u.CreatedAt, &u.UpdatedAt, &u.LastLoginAt)
	return u, err
}

// UserByLogin implements auth.Accounts.
func (d *DB) UserByLogin(ctx context.Context, login string) (auth.User, error) {
	return d.user(ctx, selectUser+"username_key = ?1 OR email_key = ?1", fold(login))
}

// UserByID implements auth.Accounts.
func (d *DB) UserByID(ctx context.Context, id int64) (auth.User, error) {
	return d.user(ctx, selectUser+"id = ?", id)
}

func (d *DB) user(ctx context.Context, query string, arg any) (auth.User, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	u, err := scanUser(d.read.QueryRowContext(ctx, query, arg))
	if err != nil {
		return auth.User{}, fmt.Errorf("read account: %w", absent(readError(err), "account"))
	}
	return u, nil
}

// UpdateUser implements auth.Accounts. The username never changes.
func (d *DB) UpdateUser(ctx context.Context, u auth.User) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		before, err := scanUser(tx.QueryRow(selectUser+"id = ?", u.ID))
		if err != nil {
			return absent(err, "account")
		}
		u.Username = before.Username
		if err := checkTaken(tx, &u); err != nil {
			return err
		}
		_, err = tx.Exec(`
			UPDATE users SET email = ?, email_key = ?, email_verified_at = ?, first_name = ?, last_name = ?, role = ?, disabled = ?, password_hash = ?,
				updated_at = ?, search = ?
			WHERE id = ?`,
			u.Email, fold(u.Email), int64(u.EmailVerifiedAt), u.FirstName, u.LastName, string(u.Role), u.Disabled, u.PasswordHash,
			int64(u.UpdatedAt), userText(u), u.ID)
		if err != nil {
			return err
		}
		return voidLetterTokens(tx, before, u)
	})
	if err != nil {
		return fmt.Errorf("update account: %w", err)
	}
	return nil
}

// DeleteUser implements auth.Accounts: the account, its sensors, its MQTT sessions and its tokens go at once, the sensors'
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

// CountAdmins implements auth.Accounts.
func (d *DB) CountAdmins(ctx context.Context) (n int, err error) {
	if err := d.read.QueryRowContext(ctx, "SELECT count(*) FROM users WHERE role = 'admin' AND disabled = 0").Scan(&n); err != nil {
		return 0, fmt.Errorf("count admins: %w", readError(err))
	}
	return n, nil
}

// ListUsers implements auth.Accounts. Its cursor is the last user name shown.
func (d *DB) ListUsers(ctx context.Context, q auth.UserQuery) (items []auth.User, next string, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, selectUser+"username_key > ? AND instr(search, ?) > 0 ORDER BY username_key LIMIT ?",
		q.After, fold(q.Text), q.Limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("query accounts: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		if len(items) == q.Limit { // one more than asked for shows that there is a next page
			return items, fold(items[q.Limit-1].Username), nil
		}
		u, err := scanUser(rows)
		if err != nil {
			return nil, "", fmt.Errorf("read accounts: %w", err)
		}
		items = append(items, u)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("read accounts: %w", readError(err))
	}
	return items, "", nil
}
