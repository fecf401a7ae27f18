package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sensorcast/telemetry"
)

// MintResume makes a token with which a viewer whose connection breaks comes back without asking for a ticket: once, within ttl, also after a
// restart of the server, but not after claim.Until. The claim is a person's; its serials may be fewer than when it was redeemed. No I/O.
func (s *Service) MintResume(claim Claim, ttl time.Duration) (string, error) {
	p := claim.Principal
	if p.Kind != Person || claim.Until.IsZero() {
		return "", fmt.Errorf("only a person's connection with an end resumes: %w", telemetry.ErrInvalid)
	}
	c := ticketClaims{
		registered: s.resume.claim(p.UserID, min(ttl, claim.Until.Sub(s.clock.now()))),
		Type:       ticketOfUser, Serials: claim.Serials, All: claim.All, Until: stamp(claim.Until.UnixMilli()),
		Session: p.SessionID, Token: p.TokenID, Username: p.Username, Role: p.Role, Mark: p.mark,
	}
	return s.resume.sign(&c)
}

// RedeemResume burns a resume token, durably, and returns what it entitles to at this moment. telemetry.ErrUnauthenticated: not one, expired,
// used, or its authority has ended. telemetry.ErrForbidden: none of its sensors may be viewed any more. telemetry.ErrUnavailable: the store
// cannot burn it now; it stays good.
func (s *Service) RedeemResume(ctx context.Context, token string) (Claim, error) {
	claim, err := s.redeemResume(ctx, token)
	if err != nil {
		s.counts.resumesRefused.Add(1)
		return Claim{}, err
	}
	s.counts.resumesRedeemed.Add(1)
	return claim, nil
}

var errResume = unauthenticated("resume token is invalid or has expired")

func (s *Service) redeemResume(ctx context.Context, token string) (Claim, error) {
	var c ticketClaims
	if err := s.resume.open(token, &c); err != nil || c.Type != ticketOfUser || c.ID == "" || c.subject() == 0 {
		return Claim{}, errResume
	}
	first, err := s.sessions.SpendToken(ctx, c.ID, telemetry.MillisOf(c.Expires.date().Time))
	switch {
	case errors.Is(err, telemetry.ErrUnavailable):
		return Claim{}, err
	case err != nil:
		return Claim{}, fmt.Errorf("redeem resume token: %w", err)
	case !first:
		s.counts.resumesReplayed.Add(1)
		return Claim{}, unauthenticated("resume token was used before")
	}
	claim, err := s.claimOfUser(c)
	claim.Until = c.Until.date().Time
	return claim, err
}
