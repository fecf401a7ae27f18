package authtest

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// CountAdmins implements auth.Accounts.
func (m *Memory) CountAdmins(context.Context) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.users {
		if u.Role == auth.RoleAdmin && !u.Disabled {
			n++
		}
	}
	return n, m.fail
}

// ListUsers implements auth.Accounts.
func (m *Memory) ListUsers(_ context.Context, q auth.UserQuery) (items []auth.User, next string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := strings.ToLower(q.Text)
	for _, u := range m.users {
		all := strings.ToLower(strings.Join([]string{u.Username, u.Email, u.FirstName, u.LastName}, "\n"))
		if strings.Contains(all, text) && strings.ToLower(u.Username) > q.After {
			items = append(items, u)
		}
	}
	slices.SortFunc(items, func(a, b auth.User) int {
		return cmp.Compare(strings.ToLower(a.Username), strings.ToLower(b.Username))
	})
	if len(items) > q.Limit {
		items = items[:q.Limit]
		next = strings.ToLower(items[q.Limit-1].Username)
	}
	return items, next, m.fail
}

// KeepLetterToken implements auth.LetterTokens.
func (m *Memory) KeepLetterToken(_ context.Context, t auth.LetterToken) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.users[t.UserID]; !ok || m.fail != nil {
		return m.missing("account")
	}
	m.letters[string(t.Hash)] = t
	return nil
}

// LetterToken implements auth.LetterTokens.
func (m *Memory) LetterToken(_ context.Context, purpose auth.Purpose, hash []byte) (auth.LetterToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.letters[string(hash)]; ok && t.Purpose == purpose && m.fail == nil {
		return t, nil
	}
	return auth.LetterToken{}, m.missing("token")
}

// CreateInvitation implements auth.Invitations.
func (m *Memory) CreateInvitation(_ context.Context, i auth.Invitation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		m.invitations = append(m.invitations, i)
	}
	return m.fail
}

// OpenInvitation implements auth.Invitations.
func (m *Memory) OpenInvitation(_ context.Context, hash []byte, now telemetry.Millis) (auth.Invitation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if place := m.openLocked(hash, now); place >= 0 && m.fail == nil {
		return m.shownLocked(m.invitations[place]), nil
	}
	return auth.Invitation{}, m.missing("invitation")
}

func (m *Memory) openLocked(hash []byte, now telemetry.Millis) int {
	return slices.IndexFunc(m.invitations, func(i auth.Invitation) bool {
		inviter := m.users[i.InviterID]
		return bytes.Equal(i.Hash, hash) && i.UsedAt == 0 && now < i.ExpiresAt && inviter.Role == auth.RoleAdmin && !inviter.Disabled
	})
}

// shownLocked adds the names of now.
func (m *Memory) shownLocked(i auth.Invitation) auth.Invitation {
	i.Inviter, i.UsedBy = m.users[i.InviterID].Username, m.users[m.usedBy[i.ID]].Username
	return i
}

// CreateInvited implements auth.Invitations.
func (m *Memory) CreateInvited(_ context.Context, u *auth.User, hash []byte, now telemetry.Millis) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	place := m.openLocked(hash, now)
	if place < 0 || m.fail != nil {
		return m.missing("invitation")
	}
	if err := m.createLocked(u); err != nil {
		return err
	}
	m.invitations[place].UsedAt = now
	m.usedBy[m.invitations[place].ID] = u.ID
	return nil
}

// ListInvitations implements auth.Invitations. Its cursor is a count from the oldest.
func (m *Memory) ListInvitations(_ context.Context, cursor string, limit int) (items []auth.Invitation, next string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := len(m.invitations)
	if cursor != "" {
		if end, err = strconv.Atoi(cursor); err != nil || end < 0 || end > len(m.invitations) {
			return nil, "", telemetry.Invalid("cursor", "is not one this list gave out")
		}
	}
	for ; end > 0 && len(items) < limit; end-- {
		items = append(items, m.shownLocked(m.invitations[end-1]))
	}
	if end > 0 {
		next = strconv.Itoa(end)
	}
	return items, next, m.fail
}

// DeleteInvitation implements auth.Invitations.
func (m *Memory) DeleteInvitation(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	place := slices.IndexFunc(m.invitations, func(i auth.Invitation) bool { return i.ID == id })
	if place < 0 || m.fail != nil {
		return m.missing("invitation")
	}
	m.invitations = slices.Delete(m.invitations, place, place+1)
	return nil
}
