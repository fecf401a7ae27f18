package auth

import (
	"context"
	"fmt"

	"sensorcast/telemetry"
)

// Me returns the account of a person. telemetry.ErrNotFound once it is deleted; telemetry.ErrForbidden for who is no person.
func (s *Service) Me(ctx context.Context, p Principal) (User, error) {
	if p.Kind != Person {
		return User{}, errNoPerson
	}
	u, err := s.accounts.UserByID(ctx, p.UserID)
	if err != nil {
		return User{}, fmt.Errorf("find account: %w", err)
	}
	return u, nil
}

var errNoPerson = fmt.Errorf("only people have an account: %w", telemetry.ErrForbidden)

// ProfileChange is what people may change of their own account; nil leaves it.
type ProfileChange struct {
	FirstName *string
	LastName  *string
	Email     *string
	Password  string `json:"-"` // the present one, needed for another e-mail address
}

// UpdateProfile changes the given fields of p's account and returns it. telemetry.ErrInvalid with every wrong field; telemetry.ErrConflict
// for an e-mail address that is taken. Another address has to be confirmed, and the one before is told. It needs the password, since
// letters to it can replace the password: who found an open session must not get more than that. *RateError after too many.
func (s *Service) UpdateProfile(ctx context.Context, p Principal, c ProfileChange) (User, error) {
	var mistakes []error
	for _, f := range []struct {
		value *string
		check func(string) error
	}{
		{c.FirstName, func(v string) error { return checkName("first_name", v) }},
		{c.LastName, func(v string) error { return checkName("last_name", v) }},
		{c.Email, checkEmail},
	} {
		if f.value != nil {
			mistakes = append(mistakes, f.check(*f.value))
		}
	}
	if err := join(mistakes...); err != nil {
		return User{}, err
	}
	if err := s.mayMove(ctx, p, c); err != nil {
		return User{}, err
	}
	var before User
	u, err := s.edit(ctx, p, func(u *User) error {
		before = *u
		set(&u.FirstName, c.FirstName)
		set(&u.LastName, c.LastName)
		set(&u.Email, c.Email)
		if u.Email != before.Email {
			u.EmailVerifiedAt = 0
		}
		return nil
	})
	if err == nil && u.Email != before.Email {
		s.log.Info("e-mail address changed", "user", u.ID)
		s.tell(before.Email, movedLetter(u))
		s.postVerification(u.ID)
	}
	return u, err
}

// mayMove reports whether the account may have the address of c: its own it may, another with the password, and not too often.
func (s *Service) mayMove(ctx context.Context, p Principal, c ProfileChange) error {
	u, err := s.Me(ctx, p)
	if err != nil || c.Email == nil || *c.Email == u.Email {
		return err
	}
	if _, err := s.confirm(ctx, p, "current_password", c.Password); err != nil {
		return err
	}
	if s.cfg.Courier == nil {
		return nil // nobody is written to
	}
	return s.mayWrite(p.Scope(), p.Scope())
}

// set overwrites field when there is a value.
func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// edit reads, changes and writes p's account in one turn.
func (s *Service) edit(ctx context.Context, p Principal, change func(u *User) error) (User, error) {
	var u User
	err := s.exclusively(ctx, func() (err error) {
		if u, err = s.Me(ctx, p); err != nil {
			return err
		}
		if err := change(&u); err != nil {
			return err
		}
		u.UpdatedAt = telemetry.Now()
		if err := s.updateUser(ctx, u); err != nil {
			return fmt.Errorf("update account: %w", err)
		}
		return nil
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// ChangePassword sets a new password and ends everything p's account has open but p's own session and what API tokens opened. telemetry.ErrInvalid names current_password or
// new_password; wrong guesses are throttled like failed logins. An error that begins with "password changed" means that the store failed after
// that: other sessions may still be refreshed until LogoutAll.
func (s *Service) ChangePassword(ctx context.Context, p Principal, current, next string) error {
	u, err := s.confirm(ctx, p, "current_password", current)
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
	proven := u.PasswordHash
	_, err = s.edit(ctx, p, func(u *User) error {
		if u.PasswordHash != proven {
			return telemetry.Invalid("current_password", "was changed a moment ago")
		}
		u.PasswordHash = hash
		return nil
	})
	if err != nil {
		return err
	}
	s.log.Info("password changed", "user", p.UserID)
	s.tell(u.Email, passwordLetter(u))
	if err := s.endSessions(context.WithoutCancel(ctx), p.UserID, p.SessionID); err != nil {
		return fmt.Errorf("password changed: %w", err)
	}
	return nil
}

// confirm checks that whoever uses p's session knows the password too; field is what the client calls it.
func (s *Service) confirm(ctx context.Context, p Principal, field, password string) (User, error) {
	u, err := s.Me(ctx, p)
	if err != nil {
		return User{}, err
	}
	match, err := s.verify(ctx, guess{name: s.debtor(nameKey(u.Username))}, password, u.PasswordHash)
	if err != nil {
		return User{}, err
	}
	if !match {
		return User{}, fmt.Errorf("%w: %w", ErrWrongPassword, telemetry.Invalid(field, "is wrong"))
	}
	return u, nil
}

// DeleteAccount deletes p's account with its sensors and their history, and closes everything it has open. telemetry.ErrInvalid names password
// when it is wrong; guesses are throttled like failed logins. ErrLastAdmin while there are other accounts.
func (s *Service) DeleteAccount(ctx context.Context, p Principal, password string) error {
	if _, err := s.confirm(ctx, p, "password", password); err != nil {
		return err
	}
	if err := s.mayLeave(ctx, p.UserID); err != nil {
		return err
	}
	return s.deleteUser(ctx, p.UserID)
}

func (s *Service) deleteUser(ctx context.Context, userID int64) error {
	ctx = context.WithoutCancel(ctx) // half a deletion is worse than one whose reply nobody reads
	// Before the account, because afterwards there is nobody to list the sessions of.
	if err := s.endSessions(ctx, userID, ""); err != nil {
		return err
	}
	err := s.exclusively(ctx, func() error {
		if err := s.mayLeave(ctx, userID); err != nil { // again, for two admins who leave at once
			return err
		}
		return s.accounts.DeleteUser(ctx, userID)
	})
	if err != nil {
		return fmt.Errorf("delete account: %w", err)
	}
	for _, t := range s.bearers.of(userID) {
		s.bearers.remove(userID, t.ID)
		s.tokenOver(userID, t.ID)
	}
	owned, shared := s.dir.removePerson(userID)
	for _, dev := range owned {
		s.changes.Gone(dev)
	}
	for _, dev := range shared {
		s.changes.Notify(Change{Kind: ShareRemoved, Serial: dev.Serial, SensorID: dev.SensorID, UserID: userID})
	}
	// Once more, for what a login in between has opened.
	s.revoked.endUserForever(userID)
	s.changes.Notify(Change{Kind: UserEnded, UserID: userID})
	s.log.Info("account deleted", "user", userID)
	return nil
}

// mayLeave reports whether the account may go: the last active admin may not while there are others.
func (s *Service) mayLeave(ctx context.Context, userID int64) error {
	u, err := s.accounts.UserByID(ctx, userID)
	if err != nil {
		return fmt.Errorf("find account: %w", err)
	}
	if !activeAdmin(u) {
		return nil
	}
	if n, err := s.accounts.CountUsers(ctx); err != nil || n == 1 {
		return err
	}
	return s.anotherAdmin(ctx)
}
