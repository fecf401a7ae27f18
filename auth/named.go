package auth

import (
	"context"
	"fmt"

	"sensorcast/telemetry"
)

// Named returns the account of that user name, without case; an e-mail address is none. telemetry.ErrNotFound, also for a disabled account.
func (s *Service) Named(ctx context.Context, username string) (User, error) {
	if checkUsername(username) != nil {
		return User{}, errNobody
	}
	u, err := s.accounts.UserByLogin(ctx, username)
	if err == nil && u.Disabled {
		return User{}, errNobody
	}
	return u, err
}

var errNobody = fmt.Errorf("account: %w", telemetry.ErrNotFound)
