package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"sensorcast/telemetry"
)

const (
	refreshPrefix = "rt_" // lets secret scanners and people recognise one
	refreshLength = len(refreshPrefix) + 43

	// refreshGrace is how long a spent refresh token still yields a sibling: for the reply that was lost, and for two tabs at once.
	refreshGrace = 10 * time.Second
)

var errRefresh = unauthenticated("refresh token is invalid or has expired")

// newRefreshToken returns 256 random bits and what is stored of them.
func newRefreshToken() (token string, hash []byte) {
	token = refreshPrefix + base64.RawURLEncoding.EncodeToString(randomBytes(32))
	return token, refreshHash(token)
}

func refreshHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// newID returns 130 random bits as 26 lower-case letters and digits.
func newID() string { return strings.ToLower(rand.Text()) }

// openSession starts a session for u, whose credentials were proven after mark was taken.
func (s *Service) openSession(ctx context.Context, u User, from Origin, mark uint64) (Grant, error) {
	now := telemetry.Now()
	session := Session{ID: newID(), UserID: u.ID, CreatedAt: now, ExpiresAt: now.Add(s.cfg.RefreshTTL), LastUse: from.use(now)}
	token, hash := newRefreshToken()
	if err := s.sessions.CreateSession(ctx, session, hash); err != nil {
		return Grant{}, fmt.Errorf("open session: %w", err)
	}
	if s.revoked.endedSince(u.ID, mark) {
		// The password was changed, or the account disabled, between the check and now: this session was not there to be ended.
		s.sessionOver(u.ID, session.ID)
		return Grant{}, errors.Join(errLogin, s.sessions.EndSession(context.WithoutCancel(ctx), session.ID, now))
	}
	return s.grant(u, session, token)
}

func (s *Service) grant(u User, session Session, refreshToken string) (Grant, error) {
	access, err := s.mintAccess(u, session.ID)
	if err != nil {
		return Grant{}, err
	}
	return Grant{
		User: u, AccessToken: access, RefreshToken: refreshToken,
		ExpiresIn: s.cfg.AccessTTL, RefreshExpiresAt: session.ExpiresAt,
	}, nil
}

// Refresh spends a refresh token for a new pair of tokens of the same session. For 10 s after its first use the token yields further pairs, unless
// one of those has been used; after that it is ErrReused, which ends the session and its sockets: somebody holds a copy.
// telemetry.ErrUnauthenticated when it is unknown or its session is over.
func (s *Service) Refresh(ctx context.Context, refreshToken string, from Origin) (Grant, error) {
	session, next, err := s.rotate(ctx, refreshToken, from)
	if err != nil {
		return Grant{}, err
	}
	u, err := s.accounts.UserByID(ctx, session.UserID)
	if notFound(err) || err == nil && u.Disabled {
		return Grant{}, errRefresh
	}
	if err != nil {
		return Grant{}, fmt.Errorf("find account: %w", err)
	}
	s.counts.refreshes.Add(1)
	return s.grant(u, session, next)
}

func (s *Service) rotate(ctx context.Context, refreshToken string, from Origin) (Session, string, error) {
	if len(refreshToken) != refreshLength || !strings.HasPrefix(refreshToken, refreshPrefix) {
		return Session{}, "", errRefresh
	}
	next, hash := newRefreshToken()
	now := telemetry.Now()
	session, err := s.sessions.RotateRefresh(ctx, refreshHash(refreshToken), hash, from.use(now), now.Add(refreshGrace))
	switch {
	case errors.Is(err, ErrReused):
		s.counts.refreshesReused.Add(1)
		s.log.Warn("refresh token reused, session ended", "user", session.UserID)
		s.sessionOver(session.UserID, session.ID)
		return Session{}, "", &ReusedError{UserID: session.UserID}
	case errors.Is(err, telemetry.ErrUnauthenticated):
		return Session{}, "", errRefresh
	case err != nil:
		return Session{}, "", fmt.Errorf("rotate refresh token: %w", err)
	}
	return session, next, nil
}

// Logout ends the session of a refresh token, with its access tokens and sockets. A token that is worthless already is no error, unless it was
// used before: ErrReused, and the session is over all the same.
func (s *Service) Logout(ctx context.Context, refreshToken string) error {
	session, _, err := s.rotate(ctx, refreshToken, Origin{}) // proves that the token is good, by the same rules as its use
	switch {
	case errors.Is(err, ErrReused):
		return err
	case errors.Is(err, telemetry.ErrUnauthenticated):
		return nil
	case err != nil:
		return err
	}
	return s.endSession(ctx, session.UserID, session.ID)
}
