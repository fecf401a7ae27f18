package bridge

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"sensorcast/auth"
	"sensorcast/wire"
)

// session is one open WebSocket, a viewer's or a sensor's own, or a viewer's event stream. It lives until its socket is closed.
type session struct {
	hub       *Hub
	conn      net.Conn
	sender    *wire.Sender
	principal auth.Principal
	device    bool      // opened with a sensor's ticket: it sends readings and receives none
	all       bool      // watches every sensor of its owner, also later ones
	bearer    bool      // opened with an access token: who has that needs no token to come back
	expires   time.Time // resuming does not move it: then a new ticket is asked for
	box       outbox

	in       inbound
	decoder  decoder                    // of whoever attends
	rate     allowance                  // likewise
	heard    atomic.Int64               // when the peer last sent anything, Unix nanoseconds
	socket   atomic.Pointer[wire.Watch] // nil: the socket is read by a goroutine of its own
	attended atomic.Bool                // a goroutine reads the socket, or the session is over

	// Guarded by Hub.mu.
	rooms   []*room // those it watches
	added   []*room // sensors its owner got while it was joining
	joined  bool
	entered bool
	left    bool
	beat    int // its group of the heartbeat
}

// newSession takes over an upgraded connection.
func (h *Hub) newSession(conn net.Conn, claim auth.Claim) *session {
	s := &session{
		hub:       h,
		conn:      conn,
		principal: claim.Principal,
		device:    claim.Kind == ticketOfSensor,
		all:       claim.All,
		expires:   claim.Until,
	}
	s.heard.Store(time.Now().UnixNano())
	s.attended.Store(true) // until listen
	s.decoder.limit = viewerLimit
	if s.device {
		s.decoder.limit = sensorLimit
	}
	if s.expires.IsZero() {
		// Spread by a fifth either way, so that sessions opened together, after a restart say, do not all come back together.
		s.expires = time.Now().Add(h.cfg.Lifetime*4/5 + rand.N(h.cfg.Lifetime*2/5+1))
	}
	s.box.init(&h.counters, s.wake)
	s.sender = h.pool.Attach(conn, s)
	return s
}

// ticketOfSensor is the Kind of a claim that was made with a sensor's secret.
const ticketOfSensor = "sensor"

// Take implements wire.Source.
func (s *session) Take(buf []byte) []byte { return s.box.Take(buf) }

func (s *session) wake() { s.sender.Wake() }

// Broken implements wire.Source: the socket failed, or the peer stopped reading.
func (s *session) Broken(err error) {
	code := CloseLost
	if errors.Is(err, wire.ErrStalled) {
		code = CloseNotReading
	}
	s.hub.leave(s, code)
	s.kill()
}

// watch registers the session in a room, once. The caller holds Hub.mu.
func (s *session) watch(rm *room) bool {
	if slices.Contains(s.rooms, rm) {
		return false
	}
	s.rooms = append(s.rooms, rm)
	rm.members = append(rm.members, s)
	return true
}

// unwatch forgets a room that the session has left. The caller holds Hub.mu.
func (s *session) unwatch(rm *room) {
	if i := slices.Index(s.rooms, rm); i >= 0 {
		s.rooms = slices.Delete(s.rooms, i, i+1)
	}
	s.box.forget(rm)
}

// end starts the closing handshake. What waits is sent before it when drain says so. It never blocks; the socket is closed when the peer
// has answered, at the latest after Config.CloseTimeout. Only the first call has an effect.
func (s *session) end(code int, reason string, drain bool) {
	if !s.box.close(closeFrame(code, reason), drain) {
		return
	}
	s.hub.leave(s, code)
	s.hub.log.Debug("session ends", "who", s.principal, "code", code, "reason", reason)
	time.AfterFunc(s.hub.cfg.CloseTimeout, s.kill)
	s.sender.Flush()
}

// kill closes the socket without ceremony. It may be called at any time.
func (s *session) kill() {
	s.box.fail()
	s.conn.Close()
	if s.socket.Load() != nil {
		s.Readable() // nobody is told of a socket that this side has closed
	}
}
