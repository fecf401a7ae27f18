package auth

import (
	"context"
	"fmt"
	"net/netip"

	"sensorcast/telemetry"
)

// RequestReset has a letter sent with which a forgotten password can be replaced, if an account has confirmed that address. Otherwise none is
// sent: an address that was mistyped belongs to a stranger, who must not be handed the account. The answer is the same, and as fast, whoever
// has an account. ErrNoMail; telemetry.ErrInvalid for what is no address; *RateError, by the address as typed.
func (s *Service) RequestReset(_ context.Context, email string, remote netip.Addr) error {
	if s.cfg.Courier == nil {
		return ErrNoMail
	}
	if err := checkEmail(email); err != nil {
		return err
	}
	if err := s.mayWrite(nameKey(email), addressKey(remote)); err != nil {
		return err
	}
	s.post(func(ctx context.Context) (Letter, error) {
		u, err := s.accounts.UserByLogin(ctx, email) // a user name has no "@"
		if err != nil || u.Disabled || u.EmailVerifiedAt == 0 {
			return Letter{}, withoutAccount(err)
		}
		token, err := s.issue(ctx, ResetPassword, u, resetTTL)
		if err != nil {
			return Letter{}, withoutAccount(err)
		}
		return s.resetLetter(u, token), nil
	})
	return nil
}

// ResetPassword sets a new password by a token of a letter and ends everything the account has open. telemetry.ErrInvalid names token or
// new_password; a token works once, and not after the password was changed in another way. Wrong tokens count as failed logins of the address.
// It returns the account, when the token was good.
func (s *Service) ResetPassword(ctx context.Context, token, next string, remote netip.Addr) (User, error) {
	address := s.debtor(addressKey(remote))
	if wait := s.limits.addresses.wait(address, s.clock.now()); wait > 0 {
		s.counts.loginsThrottled.Add(1)
		return User{}, &RateError{RetryAfter: wait}
	}
	u, err := s.bearerOf(ctx, ResetPassword, token)
	if err == errLetterToken {
		s.limits.addresses.charge(address, s.clock.now())
	}
	if err != nil {
		return User{}, err
	}
	if err := checkPassword("new_password", next, u.Username, u.Email); err != nil {
		return User{}, err
	}
	hash, err := s.hasher.hash(ctx, next)
	if err != nil {
		return User{}, err
	}
	err = s.exclusively(ctx, func() error {
		if u, err = s.bearerOf(ctx, ResetPassword, token); err != nil {
			return err // used by another request meanwhile
		}
		u.PasswordHash, u.UpdatedAt = hash, telemetry.Now()
		return s.updateUser(ctx, u) // the account's tokens for this go with it
	})
	if err != nil {
		return User{}, err
	}
	s.log.Info("password reset", "user", u.ID)
	// Who guessed at the old one does not keep the owner of the new one out.
	s.forgive(u)
	s.tell(u.Email, passwordLetter(u))
	if err := s.endSessions(context.WithoutCancel(ctx), u.ID, ""); err != nil {
		return u, fmt.Errorf("password changed: %w", err)
	}
	return u, nil
}
