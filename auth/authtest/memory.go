package authtest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Store is what a store does for package auth.
type Store interface {
	auth.Accounts
	auth.Sessions
	auth.APITokens
	auth.Ledger
}

// Memory is a Store that forgets with the process. Safe for concurrent use.
type Memory struct {
	mu       sync.Mutex
	lastID   int64               // guarded by mu, as all below
	users    map[int64]auth.User // by id
	factors  map[int64]auth.SecondFactor
	sessions map[string]*session
	spent    map[string]bool
	tokens   map[string]*token // by hash
	keys     []auth.APIToken
	debts    map[auth.Debt]telemetry.Millis // when each is paid, PaidAt being zero in the key
	fail     error

	letters     map[string]auth.LetterToken // by hash
	invitations []auth.Invitation           // oldest first; UsedBy is kept as the account's number
	usedBy      map[string]int64            // by invitation
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		users: make(map[int64]auth.User), factors: make(map[int64]auth.SecondFactor),
		sessions: make(map[string]*session), tokens: make(map[string]*token), spent: make(map[string]bool),
		debts:   make(map[auth.Debt]telemetry.Millis),
		letters: make(map[string]auth.LetterToken), usedBy: make(map[string]int64),
	}
}

// Fail makes every method answer err from now on, until Fail(nil).
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// CreateUser implements auth.Accounts.
func (m *Memory) CreateUser(_ context.Context, u *auth.User) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.createLocked(u)
}

func (m *Memory) createLocked(u *auth.User) error {
	if m.fail != nil {
		return m.fail
	}
	for _, o := range m.users {
		if strings.EqualFold(o.Username, u.Username) {
			return telemetry.Conflict("username", "is taken")
		}
		if strings.EqualFold(o.Email, u.Email) {
			return telemetry.Conflict("email", "is taken")
		}
	}
	if len(m.users) == 0 {
		u.Role = auth.RoleAdmin
	}
	m.lastID++
	u.ID = m.lastID
	m.users[u.ID] = *u
	return nil
}

// UserByLogin implements auth.Accounts.
func (m *Memory) UserByLogin(_ context.Context, login string) (auth.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.users {
		if strings.EqualFold(u.Username, login) || strings.EqualFold(u.Email, login) {
			return u, m.fail
		}
	}
	return auth.User{}, m.missing("account")
}

// UserByID implements auth.Accounts.
func (m *Memory) UserByID(_ context.Context, id int64) (auth.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u, ok := m.users[id]; ok {
		return u, m.fail
	}
	return auth.User{}, m.missing("account")
}

func (m *Memory) missing(what string) error {
	if m.fail != nil {
		return m.fail
	}
	return fmt.Errorf("no such %s: %w", what, telemetry.ErrNotFound)
}

// UpdateUser implements auth.Accounts.
func (m *Memory) UpdateUser(_ context.Context, u auth.User) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.users[u.ID]
	if !ok || m.fail != nil {
		return m.missing("account")
	}
	for _, o := range m.users {
		if o.ID != u.ID && strings.EqualFold(o.Email, u.Email) {
			return telemetry.Conflict("email", "is taken")
		}
	}
	u.UID, u.Username, u.CreatedAt, u.LastLoginAt = old.UID, old.Username, old.CreatedAt, old.LastLoginAt
	m.users[u.ID] = u
	void := map[auth.Purpose]bool{
		auth.VerifyEmail:   u.Email != old.Email || u.EmailVerifiedAt != old.EmailVerifiedAt,
		auth.ResetPassword: u.Email != old.Email || u.PasswordHash != old.PasswordHash,
	}
	maps.DeleteFunc(m.letters, func(_ string, t auth.LetterToken) bool { return t.UserID == u.ID && void[t.Purpose] })
	return nil
}

// DeleteUser implements auth.Accounts.
func (m *Memory) DeleteUser(_ context.Context, id int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.users[id]; !ok || m.fail != nil {
		return m.missing("account")
	}
	delete(m.users, id)
	delete(m.factors, id)
	maps.DeleteFunc(m.letters, func(_ string, t auth.LetterToken) bool { return t.UserID == id })
	for hash, t := range m.tokens {
		if t.session.UserID == id {
			delete(m.tokens, hash)
		}
	}
	m.keys = slices.DeleteFunc(m.keys, func(t auth.APIToken) bool { return t.UserID == id })
	return nil
}

// CountUsers implements auth.Accounts.
func (m *Memory) CountUsers(context.Context) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.users), m.fail
}

// SecondFactor implements auth.SecondFactors.
func (m *Memory) SecondFactor(_ context.Context, userID int64) (auth.SecondFactor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.factors[userID]; ok {
		return f, m.fail
	}
	return auth.SecondFactor{}, m.missing("second factor")
}

// PutSecondFactor implements auth.SecondFactors.
func (m *Memory) PutSecondFactor(_ context.Context, userID int64, f auth.SecondFactor) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.users[userID]; !ok || m.fail != nil {
		return m.missing("account")
	}
	m.factors[userID] = f
	return nil
}

// DeleteSecondFactor implements auth.SecondFactors.
func (m *Memory) DeleteSecondFactor(_ context.Context, userID int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		delete(m.factors, userID)
	}
	return m.fail
}

// CreateAPIToken implements auth.APITokens.
func (m *Memory) CreateAPIToken(_ context.Context, t auth.APIToken) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.users[t.UserID]; !ok || m.fail != nil {
		return m.missing("account")
	}
	m.keys = append(m.keys, t)
	slices.SortStableFunc(m.keys, func(a, b auth.APIToken) int { return cmp.Compare(a.UserID, b.UserID) })
	return nil
}

// EveryAPIToken implements auth.APITokens.
func (m *Memory) EveryAPIToken(context.Context) ([]auth.APIToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.keys), m.fail
}

// UseAPITokens implements auth.APITokens.
func (m *Memory) UseAPITokens(_ context.Context, at map[string]telemetry.Millis) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	for i := range m.keys {
		if used, ok := at[m.keys[i].ID]; ok {
			m.keys[i].LastUsedAt = used
		}
	}
	return nil
}

// DeleteAPIToken implements auth.APITokens.
func (m *Memory) DeleteAPIToken(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.keys, func(t auth.APIToken) bool { return t.ID == id })
	if i < 0 || m.fail != nil {
		return m.missing("API token")
	}
	m.keys = slices.Delete(m.keys, i, i+1)
	return nil
}

// SaveDebts implements auth.Ledger.
func (m *Memory) SaveDebts(_ context.Context, debts []auth.Debt, now telemetry.Millis) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	for _, d := range debts {
		m.debts[auth.Debt{Kind: d.Kind, Debtor: d.Debtor}] = d.PaidAt
	}
	maps.DeleteFunc(m.debts, func(_ auth.Debt, paid telemetry.Millis) bool { return paid <= now })
	return nil
}

// Debts implements auth.Ledger.
func (m *Memory) Debts(_ context.Context, now telemetry.Millis, limit int) ([]auth.Debt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var debts []auth.Debt
	for d, paid := range m.debts {
		if d.PaidAt = paid; paid > now {
			debts = append(debts, d)
		}
	}
	slices.SortFunc(debts, func(a, b auth.Debt) int { return cmp.Compare(a.PaidAt, b.PaidAt) })
	return debts[max(0, len(debts)-limit):], m.fail
}
