package auth

import (
	"context"
	"fmt"
)

// ActFor is the person of that user name or address, in whose name the operator acts. It is theirs for what they may do and for what ends
// it, and needs no password: whoever may open the server's files could give them another. telemetry.ErrNotFound.
func (s *Service) ActFor(ctx context.Context, login string) (Principal, error) {
	mark := s.revoked.mark()
	u, err := s.Account(ctx, login)
	if err != nil {
		return Principal{}, err
	}
	return Principal{Kind: Person, UserID: u.ID, Username: u.Username, Role: u.Role, mark: mark}, nil
}

// Account finds an account by user name or e-mail address. telemetry.ErrNotFound. Who may see it is the caller's matter.
func (s *Service) Account(ctx context.Context, login string) (User, error) {
	u, err := s.userByLogin(ctx, login)
	if err != nil {
		return User{}, fmt.Errorf("find account: %w", err)
	}
	return u, nil
}

// SetPassword gives an account a new password, on the word of the operator, and ends everything it has open. telemetry.ErrNotFound;
// telemetry.ErrInvalid names new_password; telemetry.ErrUnavailable when too many passwords are being hashed.
func (s *Service) SetPassword(ctx context.Context, login, next string) error {
	u, err := s.Account(ctx, login)
	if err != nil {
		return err
	}
	if err := checkPassword("new_password", next, u.Username, u.Email); err != nil {
		return err
	}
	hash, err := s.hasher.hash(ctx, next)
	if err != nil {
		return err
	}
	owner := Principal{Kind: Person, UserID: u.ID}
	if _, err := s.edit(ctx, owner, func(u *User) error { u.PasswordHash = hash; return nil }); err != nil {
		return err
	}
	s.forgive(u)
	s.log.Info("password set by operator", "user", u.ID)
	if err := s.endSessions(context.WithoutCancel(ctx), u.ID, ""); err != nil {
		return fmt.Errorf("password changed: %w", err)
	}
	return nil
}

// DeleteUser deletes an account as DeleteAccount does, on the word of the operator. telemetry.ErrNotFound.
func (s *Service) DeleteUser(ctx context.Context, login string) error {
	u, err := s.Account(ctx, login)
	if err != nil {
		return err
	}
	return s.deleteUser(ctx, u.ID)
}
