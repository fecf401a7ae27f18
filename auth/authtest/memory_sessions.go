package authtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

type session struct {
	auth.Session
	endedAt telemetry.Millis
}

// token is a refresh token as its session knows it.
type token struct {
	session    *session
	parent     *token // nil: the login's first
	spent      bool
	childSpent bool
	graceUntil telemetry.Millis
}

// CreateSession implements auth.Sessions.
func (m *Memory) CreateSession(_ context.Context, s auth.Session, refreshHash []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if u, ok := m.users[s.UserID]; ok {
		u.LastLoginAt = s.CreatedAt
		m.users[s.UserID] = u
	}
	m.sessions[s.ID] = &session{Session: s}
	m.tokens[string(refreshHash)] = &token{session: m.sessions[s.ID]}
	return nil
}

// RotateRefresh implements auth.Sessions.
func (m *Memory) RotateRefresh(_ context.Context, old, next []byte, use auth.Use, graceUntil telemetry.Millis) (auth.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := use.At
	if m.fail != nil {
		return auth.Session{}, m.fail
	}
	t, ok := m.tokens[string(old)]
	if !ok || t.session.endedAt != 0 || now >= t.session.ExpiresAt {
		return auth.Session{}, fmt.Errorf("no such refresh token: %w", telemetry.ErrUnauthenticated)
	}
	switch {
	case !t.spent:
		t.spent, t.graceUntil = true, graceUntil
		if t.parent != nil {
			t.parent.childSpent = true
		}
	case now >= t.graceUntil || t.childSpent:
		t.session.endedAt = now
		return t.session.Session, auth.ErrReused
	}
	m.tokens[string(next)] = &token{session: t.session, parent: t}
	t.session.LastUse = use
	return t.session.Session, nil
}

// LiveSessions implements auth.Sessions.
func (m *Memory) LiveSessions(_ context.Context, userID int64, now telemetry.Millis, after auth.Session, limit int) ([]auth.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var live []auth.Session
	for _, s := range m.sessions {
		if s.live(userID, now) && (after.ID == "" || newestFirst(after, s.Session) < 0) {
			live = append(live, s.Session)
		}
	}
	slices.SortFunc(live, newestFirst)
	return live[:min(len(live), max(limit, 1))], m.fail
}

func newestFirst(a, b auth.Session) int {
	return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), cmp.Compare(b.ID, a.ID))
}

func (s *session) live(userID int64, now telemetry.Millis) bool {
	return s.UserID == userID && s.endedAt == 0 && now < s.ExpiresAt
}

// LiveSession implements auth.Sessions.
func (m *Memory) LiveSession(_ context.Context, userID int64, now telemetry.Millis, id string) (auth.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.sessions[id]; ok && s.live(userID, now) {
		return s.Session, m.fail
	}
	return auth.Session{}, m.missing("session")
}

// EndSession implements auth.Sessions.
func (m *Memory) EndSession(_ context.Context, id string, at telemetry.Millis) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.sessions[id]; ok && s.endedAt == 0 && m.fail == nil {
		s.endedAt = at
	}
	return m.fail
}

// EndSessions implements auth.Sessions.
func (m *Memory) EndSessions(_ context.Context, userID int64, except string, at telemetry.Millis) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	var ended []string
	for id, s := range m.sessions {
		if s.UserID == userID && id != except && s.endedAt == 0 {
			s.endedAt = at
			ended = append(ended, id)
		}
	}
	return ended, nil
}

// SpendToken implements auth.Sessions.
func (m *Memory) SpendToken(_ context.Context, id string, _ telemetry.Millis) (first bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return false, m.fail
	}
	first = !m.spent[id]
	m.spent[id] = true
	return first, nil
}

// EndedSince implements auth.Sessions.
func (m *Memory) EndedSince(_ context.Context, since telemetry.Millis) (map[string]telemetry.Millis, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ended := make(map[string]telemetry.Millis)
	for id, s := range m.sessions {
		if s.endedAt != 0 && s.endedAt >= since {
			ended[id] = s.endedAt
		}
	}
	return ended, m.fail
}
