package auth

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sensorcast/telemetry"
)

// ErrInvitation says that an account can only be made with an invitation, and none was given.
var ErrInvitation = fmt.Errorf("an account can only be made with an invitation: %w", telemetry.ErrForbidden)

// Invitation lets somebody make an account, once.
type Invitation struct {
	ID        string // public, random
	Hash      []byte `json:"-"` // SHA-256 of its code
	Email     string // the account must have this address; empty: any
	Role      Role   // of the account
	CreatedAt telemetry.Millis
	InviterID int64  // the admin; it is void while they are none
	Inviter   string // their user name; empty once the account is gone
	ExpiresAt telemetry.Millis
	UsedAt    telemetry.Millis // zero: not yet
	UsedBy    string           // user name; empty once the account is gone
}

// String hides the hash and the address.
func (i Invitation) String() string { return "invitation " + i.ID }

// GoString is String.
func (i Invitation) GoString() string { return i.String() }

// LogValue is String.
func (i Invitation) LogValue() slog.Value { return slog.StringValue(i.String()) }

// Invitations is what package auth needs of the store for invitations. An open one is not used, has not expired, and its inviter is an admin whose
// account is not disabled.
type Invitations interface {
	// CreateInvitation stores i, without Inviter and UsedBy.
	CreateInvitation(ctx context.Context, i Invitation) error
	// OpenInvitation finds the open one of that hash; telemetry.ErrNotFound.
	OpenInvitation(ctx context.Context, hash []byte, now telemetry.Millis) (Invitation, error)
	// CreateInvited is CreateUser, and in the same transaction uses the open invitation of that hash up; telemetry.ErrNotFound when there is none,
	// and then there is no account either.
	CreateInvited(ctx context.Context, u *User, hash []byte, now telemetry.Millis) error
	// ListInvitations returns a page, newest first, and the cursor of the next one, empty at the end. telemetry.Invalid("cursor", …).
	ListInvitations(ctx context.Context, cursor string, limit int) (items []Invitation, next string, err error)
	// DeleteInvitation forgets one, used or not. telemetry.ErrNotFound.
	DeleteInvitation(ctx context.Context, id string) error
}

const (
	invitationPrefix = "inv_"

	// DefaultInvitationTTL is how long an invitation is good unless the admin says otherwise.
	DefaultInvitationTTL = 7 * 24 * time.Hour

	minInvitationTTL = time.Minute
	maxInvitationTTL = 30 * 24 * time.Hour
)

// Invite makes an invitation in p's name and returns its code, which is not kept. Where it names an address and there is mail, the code goes there
// too, and mailed says so. The zero role is RoleUser, the zero ttl DefaultInvitationTTL. telemetry.ErrForbidden unless p is an admin;
// telemetry.ErrInvalid names email, role or expires_in.
func (s *Service) Invite(ctx context.Context, p Principal, email string, role Role, ttl time.Duration) (i Invitation, code string, mailed bool, err error) {
	if role == "" {
		role = RoleUser
	}
	if ttl == 0 {
		ttl = DefaultInvitationTTL
	}
	var mistakes []error
	if email != "" {
		mistakes = append(mistakes, checkEmail(email))
	}
	if ttl < minInvitationTTL || ttl > maxInvitationTTL {
		mistakes = append(mistakes, telemetry.Invalid("expires_in", "must lie between %d and %d seconds", int(minInvitationTTL.Seconds()), int(maxInvitationTTL.Seconds())))
	}
	if err := join(append(mistakes, checkRole(role))...); err != nil {
		return Invitation{}, "", false, err
	}
	admin, err := s.admin(ctx, p)
	if err != nil {
		return Invitation{}, "", false, err
	}
	code, hash := newCode(invitationPrefix)
	now := telemetry.Now()
	i = Invitation{
		ID: newID(), Hash: hash, Email: email, Role: role, CreatedAt: now, InviterID: admin.ID, Inviter: admin.Username, ExpiresAt: now.Add(ttl),
	}
	if err := s.accounts.CreateInvitation(ctx, i); err != nil {
		return Invitation{}, "", false, fmt.Errorf("create invitation: %w", err)
	}
	s.log.Info("invitation made", "user", admin.ID, "invitation", i.ID, "role", role)
	if mailed = email != "" && s.cfg.Courier != nil; mailed {
		s.tell(email, s.invitationLetter(i, code))
	}
	return i, code, mailed, nil
}

// Invitations lists those that are open, used or expired of late, newest first. telemetry.ErrForbidden unless p is an admin.
func (s *Service) Invitations(ctx context.Context, p Principal, cursor string, limit int) ([]Invitation, string, error) {
	if _, err := s.admin(ctx, p); err != nil {
		return nil, "", err
	}
	return s.accounts.ListInvitations(ctx, cursor, limit)
}

// Uninvite takes an invitation back. telemetry.ErrForbidden unless p is an admin; telemetry.ErrNotFound.
func (s *Service) Uninvite(ctx context.Context, p Principal, id string) error {
	if _, err := s.admin(ctx, p); err != nil {
		return err
	}
	return s.accounts.DeleteInvitation(ctx, id)
}

// invited finds the invitation a registration came with and checks that it is meant for it.
func (s *Service) invited(ctx context.Context, r Registration) (Invitation, error) {
	if !isCode(invitationPrefix, r.Invitation) {
		return Invitation{}, errInvitationCode
	}
	i, err := s.accounts.OpenInvitation(ctx, codeHash(r.Invitation), telemetry.Now())
	switch {
	case notFound(err):
		return Invitation{}, errInvitationCode
	case err != nil:
		return Invitation{}, fmt.Errorf("find invitation: %w", err)
	case i.Email != "" && !strings.EqualFold(i.Email, r.Email):
		return Invitation{}, telemetry.Invalid("email", "must be the address that was invited")
	}
	return i, nil
}

var errInvitationCode = telemetry.Invalid("invitation", "is wrong, was used before or has expired")
