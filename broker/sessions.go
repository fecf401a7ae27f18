package broker

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
)

var (
	errHeld        = errors.New("session is held by a connection that does not end")
	errManySession = errors.New("too many sessions")
	errSuperseded  = errors.New("a newer connection claims the session")
)

// claimTimeout is how long a connection waits for the one before it in the same session.
const claimTimeout = 10 * time.Second

// holder is who alone may open or discard a session: a connection, or a sweep.
type holder interface {
	end(why packets.Code)      // asks for it back; does not block
	finished() <-chan struct{} // closed when it was given back
}

// sessions is the table of sessions. A connection that claims one waits until the connection before it is through, so two never
// act in one session.
type sessions struct {
	max           int          // of one scope
	subscriptions atomic.Int64 // of all sessions

	mu      sync.RWMutex
	byID    map[string]*session   // guarded by mu
	byScope map[string][]*session // guarded by mu
	online  map[string]int        // guarded by mu: connections by sensor serial
	claims  map[string]*conn      // guarded by mu: by session, the newest connection that waits for the holder to give it back
}

func newSessions(max int) *sessions {
	return &sessions{max: max, byID: map[string]*session{}, byScope: map[string][]*session{}, online: map[string]int{}, claims: map[string]*conn{}}
}

// find returns a session, nil if there is none of that id.
func (s *sessions) find(id string) *session {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byID[id]
}

// fate is what a claim found.
type fate struct {
	tookOver bool // a connection was ended for it
	ended    bool // the session's time was over
}

// claim makes c the holder of the session, ending the connection that holds it and waiting until it is gone, unless a newer one comes
// for it meanwhile. It blocks for the limit at most.
func (s *sessions) claim(c *conn, id string, p auth.Principal, limit time.Duration) (se *session, f fate, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for first := true; ; first = false {
		se, old, err := s.tryClaim(c, id, p, first, &f)
		if old == nil {
			return se, f, err
		}
		f.tookOver = true
		old.end(packets.ErrSessionTakenOver) // [MQTT-3.1.4-3]
		c.stepOut()
		select {
		case <-old.finished():
		case <-c.superseded:
		case <-timer.C:
			s.waive(c, id)
			return nil, f, errHeld
		}
	}
}

// tryClaim makes c the holder unless there is one, which it returns. At its first try c is the newest to ask: who waited before it waits
// in vain.
func (s *sessions) tryClaim(c *conn, id string, p auth.Principal, first bool, f *fate) (*session, holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch before := s.claims[id]; {
	case first && before != nil:
		close(before.superseded)
	case !first && before != c:
		return nil, nil, errSuperseded
	}
	delete(s.claims, id)
	se := s.byID[id]
	if se == nil {
		if len(s.byScope[p.Scope()]) >= s.max {
			return nil, nil, errManySession
		}
		se = s.addLocked(id, p)
	}
	if se.holder != nil {
		s.claims[id] = c
		return nil, se.holder, nil
	}
	se.holder = c
	f.ended = !se.expires.IsZero() && !time.Now().Before(se.expires)
	se.expires = time.Time{}
	if se.serial != "" {
		s.online[se.serial]++
	}
	return se, nil, nil
}

// waive gives up a claim.
func (s *sessions) waive(c *conn, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[id] == c {
		delete(s.claims, id)
	}
}

func (s *sessions) addLocked(id string, p auth.Principal) *session {
	se := &session{id: id, scope: p.Scope(), serial: p.Serial, principal: p}
	s.byID[id] = se
	s.byScope[se.scope] = append(s.byScope[se.scope], se)
	return se
}

// seize makes h the holder of a session that exists and has none. Otherwise it returns the holder, or nothing if there is no session.
// With revoke, a connection that holds it is marked at the same moment, so that it cannot keep the session any more.
func (s *sessions) seize(h holder, id string, revoke bool) (se *session, held holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	se = s.byID[id]
	switch {
	case se == nil:
		return nil, nil
	case se.holder == nil:
		se.holder = h
		return se, nil
	}
	if c, ok := se.holder.(*conn); ok && revoke {
		c.revoked.Store(true)
	}
	return nil, se.holder
}

// keep gives the session back for a client that may return until expires, and reports whether it did: not when it was revoked.
func (s *sessions) keep(se *session, c *conn, expires time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.revoked.Load() {
		return false
	}
	if s.releaseLocked(se, c) {
		se.expires = expires
	}
	return true
}

// remove gives the session back and forgets it.
func (s *sessions) remove(se *session, h holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.releaseLocked(se, h) {
		return
	}
	delete(s.byID, se.id)
	rest := slices.DeleteFunc(s.byScope[se.scope], func(o *session) bool { return o == se })
	if len(rest) == 0 {
		delete(s.byScope, se.scope)
	} else {
		s.byScope[se.scope] = rest
	}
}

func (s *sessions) releaseLocked(se *session, h holder) bool {
	if se.holder != h {
		return false
	}
	se.holder = nil
	if _, ok := h.(*conn); ok && se.serial != "" {
		if s.online[se.serial]--; s.online[se.serial] == 0 {
			delete(s.online, se.serial)
		}
	}
	return true
}

// of returns the ids of the scope's sessions.
func (s *sessions) of(scope string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids := make([]string, 0, len(s.byScope[scope]))
	for _, se := range s.byScope[scope] {
		ids = append(ids, se.id)
	}
	return ids
}

// expired returns the ids of sessions whose absent clients have been away for too long.
func (s *sessions) expired(now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, se := range s.byID {
		if se.holder == nil && se.expires.Before(now) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *sessions) connected(serial string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.online[serial] > 0
}

func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}
