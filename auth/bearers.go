package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sensorcast/telemetry"
)

// bearers are the API tokens of all accounts in memory, so that to judge one never touches the store. Safe for concurrent use; it does no I/O.
type bearers struct {
	mu      sync.RWMutex
	marks   map[uint64]*bearer // guarded by mu, as all below; by the digest of a token's hash, of which no two are the same
	holders map[int64]*holder  // by account; only those that have a token
	due     telemetry.Millis   // none ends before; zero: none ever does
}

// holder is an account with tokens.
type holder struct {
	username, email string
	disabled        bool
	tokens          []*bearer // in the order they were made; at most MaxAPITokens
}

// bearer is one token.
type bearer struct {
	APIToken  // never changed; LastUsedAt is as of the start
	principal Principal
	holder    *holder
	over      bool             // guarded by bearers.mu; it was revoked, or its end was told: no step of the clock brings it back
	used      atomic.Int64     // when last, telemetry.Millis
	noted     telemetry.Millis // as the store has it; used by TendTokens only
}

func newBearers() *bearers {
	return &bearers{marks: make(map[uint64]*bearer), holders: make(map[int64]*holder)}
}

// put adds a token of u.
func (r *bearers) put(t APIToken, u User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.holders[u.ID]
	if h == nil {
		h = &holder{}
		r.holders[u.ID] = h
	}
	h.username, h.email, h.disabled = u.Username, u.Email, u.Disabled
	b := &bearer{APIToken: t, holder: h, noted: t.LastUsedAt, principal: Principal{
		Kind: Person, UserID: u.ID, Username: u.Username, Role: RoleUser, TokenID: t.ID,
		limits: &limits{write: t.Write, serials: t.Serials},
	}}
	b.used.Store(int64(t.LastUsedAt))
	if b.over = t.ExpiresAt != 0 && t.ExpiresAt <= telemetry.Now(); !b.over { // else it was told in an earlier process
		r.dueLocked(t.ExpiresAt)
	}
	h.tokens = append(h.tokens, b)
	r.marks[digest(t.Hash)] = b
}

func (r *bearers) dueLocked(at telemetry.Millis) {
	if at != 0 && (r.due == 0 || at < r.due) {
		r.due = at
	}
}

// prove returns who comes with the token, and notes its use. A login that is given must be its account's.
func (r *bearers) prove(token, login string) (Principal, bool) {
	if len(token) != apiTokenLength {
		return Principal{}, false
	}
	sum, now := sha256.Sum256([]byte(token)), telemetry.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	b := r.marks[digest(sum)]
	if b == nil || subtle.ConstantTimeCompare(b.Hash[:], sum[:]) != 1 || !b.goodLocked(now) {
		return Principal{}, false
	}
	if login != "" && !strings.EqualFold(login, b.holder.username) && !strings.EqualFold(login, b.holder.email) {
		return Principal{}, false
	}
	b.used.Store(int64(now))
	return b.principal, true
}

// goodLocked reports whether the token opens anything now.
func (b *bearer) goodLocked(now telemetry.Millis) bool {
	return !b.over && !b.holder.disabled && (b.ExpiresAt == 0 || now < b.ExpiresAt)
}

// principal returns who comes with that token of the account, while it is good.
func (r *bearers) principal(userID int64, id string) (Principal, bool) {
	now := telemetry.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	b := r.findLocked(userID, id)
	if b == nil || !b.goodLocked(now) {
		return Principal{}, false
	}
	return b.principal, true
}

func (r *bearers) findLocked(userID int64, id string) *bearer {
	h := r.holders[userID]
	if h == nil {
		return nil
	}
	if i := slices.IndexFunc(h.tokens, func(b *bearer) bool { return b.ID == id }); i >= 0 {
		return h.tokens[i]
	}
	return nil
}

// of returns the tokens of the account in the order they were made. The result is the caller's but for the Serials in it.
func (r *bearers) of(userID int64) []APIToken {
	r.mu.RLock()
	defer r.mu.RUnlock()
	h := r.holders[userID]
	if h == nil {
		return nil
	}
	tokens := make([]APIToken, len(h.tokens))
	for i, b := range h.tokens {
		tokens[i] = b.APIToken
		tokens[i].LastUsedAt = telemetry.Millis(b.used.Load())
	}
	return tokens
}

// len counts the tokens.
func (r *bearers) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.marks)
}

// know takes over what has changed of an account.
func (r *bearers) know(u User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.holders[u.ID]; h != nil {
		h.email, h.disabled = u.Email, u.Disabled
	}
}

// end makes a token worthless, which stays listed until it is removed, and reports whether there is one.
func (r *bearers) end(userID int64, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.findLocked(userID, id)
	if b != nil {
		b.over = true
	}
	return b != nil
}

// remove forgets a token.
func (r *bearers) remove(userID int64, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.findLocked(userID, id)
	if b == nil {
		return
	}
	delete(r.marks, digest(b.Hash))
	b.holder.tokens = slices.DeleteFunc(b.holder.tokens, func(o *bearer) bool { return o == b })
	if len(b.holder.tokens) == 0 {
		delete(r.holders, userID)
	}
}

// expire makes the tokens worthless whose time is over at now, and returns those it has not returned before.
func (r *bearers) expire(now telemetry.Millis) (ended []APIToken) {
	if r.mu.RLock(); r.due == 0 || now < r.due {
		r.mu.RUnlock()
		return nil
	}
	r.mu.RUnlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due = 0
	for _, b := range r.marks {
		switch {
		case b.over || b.ExpiresAt == 0:
		case now >= b.ExpiresAt:
			b.over = true
			ended = append(ended, b.APIToken)
		default:
			r.dueLocked(b.ExpiresAt)
		}
	}
	return ended
}

// unnoted returns the tokens of whose last use the store does not know.
func (r *bearers) unnoted() (used []*bearer) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, b := range r.marks {
		if telemetry.Millis(b.used.Load()) != b.noted {
			used = append(used, b)
		}
	}
	return used
}
