package auth

import (
	"context"
	"fmt"

	"sensorcast/telemetry"
)

// Sessions returns sessions of p's account that are open, newest login first: at most limit of them, after the one of that place; the zero Session
// starts at the newest. telemetry.ErrForbidden for who is no person.
func (s *Service) Sessions(ctx context.Context, p Principal, after Session, limit int) ([]Session, error) {
	if p.Kind != Person {
		return nil, errNoPerson
	}
	open, err := s.sessions.LiveSessions(ctx, p.UserID, telemetry.Now(), after, limit)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return open, nil
}

// EndSessionOf ends one session of p's account, its own included, with its access tokens and sockets. An id that is unknown, over, or of somebody
// else's session is one telemetry.ErrNotFound.
func (s *Service) EndSessionOf(ctx context.Context, p Principal, id string) error {
	if p.Kind != Person {
		return errNoPerson
	}
	if _, err := s.sessions.LiveSession(ctx, p.UserID, telemetry.Now(), id); err != nil {
		return fmt.Errorf("find session: %w", err)
	}
	return s.endSession(ctx, p.UserID, id)
}

// EndOtherSessions ends all that p's account has open but p's own session: the other sessions with their access tokens and sockets, and MQTT
// connections that proved the password. API tokens go on. telemetry.ErrForbidden for who has no session.
func (s *Service) EndOtherSessions(ctx context.Context, p Principal) error {
	if p.Kind != Person || p.SessionID == "" {
		return fmt.Errorf("%s has no session: %w", p.Kind, telemetry.ErrForbidden)
	}
	return s.endSessions(context.WithoutCancel(ctx), p.UserID, p.SessionID)
}

// EndSession ends the session p's access token belongs to, like Logout. telemetry.ErrInvalid for a principal without a session.
func (s *Service) EndSession(ctx context.Context, p Principal) error {
	if p.Kind != Person || p.SessionID == "" {
		return fmt.Errorf("%s has no session: %w", p.Kind, telemetry.ErrInvalid)
	}
	return s.endSession(ctx, p.UserID, p.SessionID)
}

// endSession closes what is open even when the store fails; the error then says that the refresh token may still work.
func (s *Service) endSession(ctx context.Context, userID int64, id string) error {
	s.sessionOver(userID, id)
	if err := s.sessions.EndSession(context.WithoutCancel(ctx), id, telemetry.Now()); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// LogoutAll ends every session, socket and MQTT connection of the account.
func (s *Service) LogoutAll(ctx context.Context, userID int64) error {
	return s.endSessions(context.WithoutCancel(ctx), userID, "")
}
