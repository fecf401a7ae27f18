package bridge

import (
	"time"

	"sensorcast/auth"
)

// resumeGrace is how long after the end of its connection a viewer may come back with a token. A connection is given a new one at every
// beat, and the last of them lives one beat longer.
const resumeGrace = time.Minute

// offerResume sends the session a token to come back with. Nothing is lost when it cannot: there are tickets.
func (s *session) offerResume() {
	if s.device || s.bearer {
		return
	}
	token, err := s.hub.tickets.MintResume(s.claim(), s.hub.cfg.PingEvery+resumeGrace)
	if err != nil {
		return
	}
	s.box.reply(resumeFrame(token))
}

// claim is what the session may watch now.
func (s *session) claim() auth.Claim {
	c := auth.Claim{Principal: s.principal, All: s.all, Until: s.expires}
	if s.all {
		return c
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for _, rm := range s.rooms {
		c.Serials = append(c.Serials, rm.serial)
	}
	return c
}
