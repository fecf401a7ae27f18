package auth

import (
	"math"
	"sync"
	"time"
)

// revocations remembers what ended, for as long as something in memory or on its way could still claim it.
type revocations struct {
	sessions *recent[string] // ended sessions, until their last access token has expired

	mu    sync.RWMutex
	count uint64           // guarded by mu; rises with every end of an account's authority
	users map[int64]uint64 // guarded by mu; count at the account's newest end, or gone. One entry per account that ever had one
}

// gone marks a deleted account: whatever is ever proven of it is over. Its number is never given again.
const gone = math.MaxUint64

// revocationSlack covers what is on its way when an access token expires: a ticket (≤ 30 s) and the connection it opens.
const revocationSlack = time.Minute

func newRevocations(accessTTL time.Duration) *revocations {
	return &revocations{sessions: newRecent[string](accessTTL+revocationSlack, 0), users: make(map[int64]uint64)}
}

// mark returns the count to compare with later. It is taken before a password is checked, so an end during the check is noticed.
func (r *revocations) mark() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.count
}

// endUser ends every authority of the account that was proven before, but for its sessions: those end by their ids.
func (r *revocations) endUser(userID int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.users[userID] = r.count
}

// endUserForever ends every authority of a deleted account, its sessions included, also one that a login in flight has yet to open.
func (r *revocations) endUserForever(userID int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users[userID] = gone
}

// isGone reports whether the account was deleted by this process.
func (r *revocations) isGone(userID int64) bool { return r.endedSince(userID, gone-1) }

// endedSince reports whether the account's authority ended after mark was taken.
func (r *revocations) endedSince(userID int64, mark uint64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.users[userID] > mark
}
