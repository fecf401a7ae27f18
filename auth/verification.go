package auth

import (
	"context"
	"net/netip"

	"sensorcast/telemetry"
)

// SendVerification has another letter sent that confirms the address of p's account. ErrNoMail; *RateError; telemetry.ErrConflict when it is
// confirmed already.
func (s *Service) SendVerification(ctx context.Context, p Principal, remote netip.Addr) error {
	u, err := s.Me(ctx, p)
	if err != nil {
		return err
	}
	if u.EmailVerifiedAt != 0 {
		return telemetry.Conflict("email", "is confirmed already")
	}
	if err := s.mayWrite(p.Scope(), addressKey(remote)); err != nil {
		return err
	}
	s.postVerification(u.ID)
	return nil
}

// postVerification has the letter sent, unless the address is confirmed when it is written.
func (s *Service) postVerification(userID int64) {
	s.post(func(ctx context.Context) (Letter, error) {
		u, err := s.accounts.UserByID(ctx, userID)
		if err != nil || u.EmailVerifiedAt != 0 {
			return Letter{}, withoutAccount(err)
		}
		token, err := s.issue(ctx, VerifyEmail, u, verificationTTL)
		if err != nil {
			return Letter{}, withoutAccount(err)
		}
		return s.verificationLetter(u, token), nil
	})
}

// ConfirmEmail notes that who holds the token reads the letters of its account. telemetry.ErrInvalid names token; it works once. It returns
// the account.
func (s *Service) ConfirmEmail(ctx context.Context, token string) (u User, err error) {
	err = s.exclusively(ctx, func() error {
		if u, err = s.bearerOf(ctx, VerifyEmail, token); err != nil {
			return err
		}
		u.EmailVerifiedAt = telemetry.Now()
		u.UpdatedAt = u.EmailVerifiedAt
		return s.updateUser(ctx, u) // the account's other tokens for this go with it
	})
	return u, err
}
