package auth

import (
	"context"
	"fmt"

	"sensorcast/telemetry"
)

// AccountChange is what an admin may change of somebody's account; nil leaves it.
type AccountChange struct {
	Disabled *bool
	Role     *Role
}

// Administer changes another account and ends all it has open when it is disabled or its role changes. telemetry.ErrForbidden unless p is the operator,
// or an admin in the store's eyes at this moment; telemetry.ErrNotFound; telemetry.ErrInvalid for an unknown role and for p's own account, so that
// the last admin cannot lock everybody out.
func (s *Service) Administer(ctx context.Context, p Principal, username string, c AccountChange) (User, error) {
	if c.Role != nil && *c.Role != RoleAdmin && *c.Role != RoleUser {
		return User{}, telemetry.Invalid("role", "must be %s or %s", RoleAdmin, RoleUser)
	}
	var before, after User
	err := s.exclusively(ctx, func() error {
		err := s.mayAdminister(ctx, p)
		if err != nil {
			return err
		}
		if before, err = s.accounts.UserByLogin(ctx, username); err != nil {
			return fmt.Errorf("find account: %w", err)
		}
		if before.ID == p.UserID { // never the operator's, who has none
			return telemetry.Invalid("username", "must be somebody else's: admins do not administer themselves")
		}
		after = before
		set(&after.Disabled, c.Disabled)
		set(&after.Role, c.Role)
		after.UpdatedAt = telemetry.Now()
		return s.accounts.UpdateUser(ctx, after)
	})
	if err != nil {
		return User{}, err
	}
	if after.Role != before.Role || after.Disabled && !before.Disabled {
		s.log.Info("account changed by admin", "user", after.ID, "role", after.Role, "disabled", after.Disabled)
		err = s.endSessions(context.WithoutCancel(ctx), after.ID, "")
	}
	return after, err
}

func (s *Service) mayAdminister(ctx context.Context, p Principal) error {
	if p.Kind == Operator {
		return nil
	}
	me, err := s.Me(ctx, p)
	if err != nil {
		return err
	}
	if me.Role != RoleAdmin || me.Disabled {
		return fmt.Errorf("only admins administer accounts: %w", telemetry.ErrForbidden)
	}
	return nil
}
