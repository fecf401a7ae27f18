package auth

import (
	"context"
	"log/slog"

	"sensorcast/telemetry"
)

// User is an account.
type User struct {
	ID       int64  // the store's number; never reused
	UID      string // the public id: 26 lower-case letters and digits, random
	Username string
	Email    string

	EmailVerifiedAt telemetry.Millis // zero: nobody has proven to read what is sent to Email

	FirstName    string
	LastName     string
	Role         Role
	Disabled     bool
	PasswordHash string `json:"-"` // PHC string; never leaves package auth and the store
	CreatedAt    telemetry.Millis
	UpdatedAt    telemetry.Millis
	LastLoginAt  telemetry.Millis // when a session was last opened; the store keeps it
}

// String names the account without its hash or address.
func (u User) String() string { return "user " + u.Username }

// GoString is String, so that %#v prints no hash either.
func (u User) GoString() string { return u.String() }

// LogValue is String.
func (u User) LogValue() slog.Value { return slog.StringValue(u.String()) }

// Accounts is what package auth needs of the store for accounts. All methods are safe for concurrent use and durable when they return nil.
// Service makes at most one change of accounts at a time, so UpdateUser needs no check for lost updates.
type Accounts interface {
	// CreateUser stores u and sets u.ID. In the same transaction it sets u.Role to RoleAdmin when there is no account yet; otherwise u.Role is
	// kept. A username or e-mail that is taken (compared without case) is telemetry.Conflict("username"|"email", …).
	CreateUser(ctx context.Context, u *User) error
	// UserByLogin finds an account by username or e-mail, without case. telemetry.ErrNotFound.
	UserByLogin(ctx context.Context, login string) (User, error)
	// UserByID finds an account. telemetry.ErrNotFound.
	UserByID(ctx context.Context, id int64) (User, error)
	// UpdateUser writes names, e-mail and when it was verified, password hash, role, disabled and UpdatedAt of the account u.ID. In the same
	// transaction the account's letter tokens go that a changed e-mail, verification (VerifyEmail) or password hash (ResetPassword) makes void.
	// telemetry.ErrNotFound; telemetry.Conflict("email", …).
	UpdateUser(ctx context.Context, u User) error
	// DeleteUser removes the account with its sensors and their history, its refresh tokens and second factor, in one transaction (history may be purged
	// afterwards). What EndedSince knows of its sessions stays. telemetry.ErrNotFound.
	DeleteUser(ctx context.Context, id int64) error
	// CountUsers counts the accounts.
	CountUsers(ctx context.Context) (int, error)
	// CountAdmins counts the admins whose accounts are not disabled.
	CountAdmins(ctx context.Context) (int, error)
	// ListUsers returns a page of accounts in the order of their user names, without case, and the cursor of the next page, empty at the end.
	ListUsers(ctx context.Context, q UserQuery) (items []User, next string, err error)

	SecondFactors
	LetterTokens
	Invitations
}

// UserQuery asks for a page of accounts.
type UserQuery struct {
	Text  string // part of user name, e-mail or name, without case; empty: all
	After string // cursor of the page before; empty: the first
	Limit int
}
