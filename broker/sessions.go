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
)

// claimTimeout is how long a connection waits for the one before it in the same session.
const claimTimeout = 10 * time.Second

// holder is who alone may touch a session in mochi: a connection, or a sweep.
type holder interface {
	end(why packets.Code)      // asks for it back; does not block
	finished() <-chan struct{} // closed when it was given back
}

func (c *conn) finished() <-chan struct{} { return c.done }

// session is a session mochi knows, or is about to.
type session struct {
	id      string // scope/clientID
	scope   string
	serial  string // of a sensor
	holder  holder // nil while the client is away
	expires time.Time
	filters int // subscriptions
}

// sessions is the table of sessions. It exists because mochi, left alone, lets the old connection of a client id delete the new one
// (a client that is connected and deaf for ever): here the new one waits until the old one's goroutine is through.
type sessions struct {
	max           int          // of one scope
	subscriptions atomic.Int64 // of all sessions

	mu      sync.Mutex
	byID    map[string]*session   // guarded by mu
	byScope map[string][]*session // guarded by mu
	online  map[string]int        // guarded by mu: connections by sensor serial
}

func newSessions(max int) *sessions {
	return &sessions{max: max, byID: map[string]*session{}, byScope: map[string][]*session{}, online: map[string]int{}}
}

// claim makes c the holder of the session, ending the connection that holds it and waiting until it is gone. It blocks for the limit
// at most. It reports whether there was such a connection.
func (s *sessions) claim(c *conn, id string, p auth.Principal, limit time.Duration) (tookOver bool, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		old, err := s.tryClaim(c, id, p)
		if old == nil {
			return tookOver, err
		}
		tookOver = true
		old.end(packets.ErrSessionTakenOver) // [MQTT-3.1.4-3]
		select {
		case <-old.finished():
		case <-timer.C:
			return tookOver, errHeld
		}
	}
}

// tryClaim makes h the holder unless there is one, which it returns.
func (s *sessions) tryClaim(h holder, id string, p auth.Principal) (holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := s.byID[id]
	if se == nil {
		scope := p.Scope()
		if len(s.byScope[scope]) >= s.max {
			return nil, errManySession
		}
		se = &session{id: id, scope: scope, serial: p.Serial}
		s.byID[id] = se
		s.byScope[scope] = append(s.byScope[scope], se)
	}
	if se.holder != nil {
		return se.holder, nil
	}
	se.holder = h
	if _, ok := h.(*conn); ok && se.serial != "" {
		s.online[se.serial]++
	}
	return nil, nil
}

// seize makes h the holder of a session that exists and has none. Otherwise it returns the holder, or that there is no session. With
// revoke, a connection that holds it is marked at the same moment, so that it cannot keep the session any more.
func (s *sessions) seize(h holder, id string, revoke bool) (held holder, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := s.byID[id]
	switch {
	case se == nil:
		return nil, false
	case se.holder == nil:
		se.holder = h
		return nil, true
	}
	if c, ok := se.holder.(*conn); ok && revoke {
		c.revoked.Store(true)
	}
	return se.holder, true
}

// keep gives the session back for a client that may return until expires, and reports whether it did: not when it was revoked.
func (s *sessions) keep(id string, c *conn, expires time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.revoked.Load() {
		return false
	}
	if se := s.releaseLocked(id, c); se != nil {
		se.expires = expires
	}
	return true
}

// remove gives the session back and forgets it.
func (s *sessions) remove(id string, h holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := s.releaseLocked(id, h)
	if se == nil {
		return
	}
	s.subscriptions.Add(-int64(se.filters))
	delete(s.byID, id)
	rest := slices.DeleteFunc(s.byScope[se.scope], func(o *session) bool { return o == se })
	if len(rest) == 0 {
		delete(s.byScope, se.scope)
	} else {
		s.byScope[se.scope] = rest
	}
}

func (s *sessions) releaseLocked(id string, h holder) *session {
	se := s.byID[id]
	if se == nil || se.holder != h {
		return nil
	}
	se.holder = nil
	if _, ok := h.(*conn); ok && se.serial != "" {
		if s.online[se.serial]--; s.online[se.serial] == 0 {
			delete(s.online, se.serial)
		}
	}
	return se
}

// recount notes how many subscriptions the session has. mochi's own count goes wrong when a client unsubscribes from what only
// another one subscribed to.
func (s *sessions) recount(id string, filters int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if se := s.byID[id]; se != nil {
		s.subscriptions.Add(int64(filters - se.filters))
		se.filters = filters
	}
}

// of returns the ids of the scope's sessions.
func (s *sessions) of(scope string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
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
