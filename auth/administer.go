package auth

import (
	"context"
	"fmt"
	"strings"

	"sensorcast/telemetry"
)

// AccountChange is what an admin may change of somebody's account; nil leaves it.
type AccountChange struct {
	Disabled *bool
	Role     *Role
}

// Users lists accounts. telemetry.ErrForbidden unless p is an admin.
func (s *Service) Users(ctx context.Context, p Principal, q UserQuery) ([]User, string, error) {
	if _, err := s.admin(ctx, p); err != nil {
		return nil, "", err
	}
	return s.accounts.ListUsers(ctx, q)
}

// admin returns p's account, none for the operator. telemetry.ErrForbidden unless it is an admin's in the store's eyes at this moment.
func (s *Service) admin(ctx context.Context, p Principal) (User, error) {
	if p.Kind == Operator {
		return User{}, nil
	}
	me, err := s.Me(ctx, p)
	if err != nil {
		return User{}, err
	}
	if me.Role != RoleAdmin || me.Disabled {
		return User{}, fmt.Errorf("only admins administer accounts: %w", telemetry.ErrForbidden)
	}
	return me, nil
}

// Administer changes an account and ends all it has open when it is disabled or its role changes; its API tokens open nothing while it is
// disabled. telemetry.ErrForbidden unless p is the operator, or an admin in the store's eyes at this moment; telemetry.ErrNotFound;
// telemetry.ErrInvalid for an unknown role; ErrLastAdmin when no active admin would be left, so that nobody locks everybody out.
func (s *Service) Administer(ctx context.Context, p Principal, username string, c AccountChange) (User, error) {
	if c.Role != nil {
		if err := checkRole(*c.Role); err != nil {
			return User{}, err
		}
	}
	var before, after User
	err := s.exclusively(ctx, func() error {
		if _, err := s.admin(ctx, p); err != nil {
			return err
		}
		var err error
		if before, err = s.accounts.UserByLogin(ctx, username); err != nil {
			return fmt.Errorf("find account: %w", err)
		}
		if !strings.EqualFold(before.Username, username) {
			return fmt.Errorf("find account: an e-mail address is no user name: %w", telemetry.ErrNotFound)
		}
		after = before
		set(&after.Disabled, c.Disabled)
		set(&after.Role, c.Role)
		if activeAdmin(before) && !activeAdmin(after) {
			if err := s.anotherAdmin(ctx); err != nil {
				return err
			}
		}
		after.UpdatedAt = telemetry.Now()
		return s.updateUser(ctx, after)
	})
	if err != nil {
		return User{}, err
	}
	if after.Role != before.Role || after.Disabled && !before.Disabled {
		s.log.Info("account changed by admin", "user", after.ID, "role", after.Role, "disabled", after.Disabled)
		err = s.endSessions(context.WithoutCancel(ctx), after.ID, "")
		if after.Disabled {
			s.suspendTokens(after.ID)
		}
	}
	return after, err
}

func activeAdmin(u User) bool { return u.Role == RoleAdmin && !u.Disabled }

// ErrLastAdmin says that nobody would be left to administer the others.
var ErrLastAdmin = fmt.Errorf("the last active admin cannot go: %w", telemetry.ErrConflict)

// anotherAdmin returns ErrLastAdmin when there is but one active admin. It is asked in the turn that takes one away.
func (s *Service) anotherAdmin(ctx context.Context) error {
	n, err := s.accounts.CountAdmins(ctx)
	if err == nil && n <= 1 {
		return ErrLastAdmin
	}
	return err
}

func checkRole(r Role) error {
	if r != RoleAdmin && r != RoleUser {
		return telemetry.Invalid("role", "must be %s or %s", RoleAdmin, RoleUser)
	}
	return nil
}
