package bridge

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

const (
	subprotocol  = "sensorcast.v1"
	ticketPrefix = "ticket." // of the subprotocol that carries a ticket, for clients whose proxies log queries
	resumePrefix = "resume." // and of the one that carries a resume token

	readBufferBytes  = 256 // of a session; it has to hold a control frame
	writeBufferBytes = 512 // for the upgrade's answer only, from a pool
	upgradeTimeout   = 10 * time.Second
)

// door opens WebSockets.
type door struct {
	hub      *Hub
	intake   Intake
	commands Commander
	origins  origins
	upgrader websocket.Upgrader
}

// Handler answers GET /ws. What sensors send over their sockets goes to intake, what viewers ask of sensors to commands. The handler returns
// after the upgrade; the session goes on until its peer, its authority or the hub ends it.
func (h *Hub) Handler(intake Intake, commands Commander) http.Handler {
	return &door{
		hub:      h,
		intake:   intake,
		commands: commands,
		origins:  newOrigins(h.cfg.AllowedOrigins),
		upgrader: websocket.Upgrader{
			HandshakeTimeout: upgradeTimeout,
			ReadBufferSize:   readBufferBytes,
			WriteBufferSize:  writeBufferBytes,
			WriteBufferPool:  &sync.Pool{},
			Subprotocols:     []string{subprotocol}, // the only one ever echoed: a ticket must not come back
			CheckOrigin:      func(*http.Request) bool { return true },
			Error:            func(http.ResponseWriter, *http.Request, int, error) {}, // answered by ServeHTTP
		},
	}
}

// ServeHTTP refuses or upgrades. The ticket is spent last, after everything else that can refuse: so a foreign page can neither use a
// ticket it got hold of nor spoil it, and a client turned away by an overloaded server may try again with the same one.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := d.hub
	proof, from, why := d.examine(r)
	if why != nil {
		h.refuse(w, why)
		return
	}
	switch h.admit() {
	case errFull:
		h.refuse(w, refusedFull)
		return
	case errStopping:
		h.refuse(w, refusedStopping)
		return
	}
	claim, why := h.redeem(r.Context(), proof)
	if why != nil {
		h.release()
		h.refuse(w, why)
		return
	}
	hijacked := &hijacker{ResponseWriter: w}
	_, err := d.upgrader.Upgrade(hijacked, r, nil)
	if err != nil {
		h.release()
		if hijacked.reader == nil {
			h.refuse(w, refusedInternal)
		}
		h.log.Debug("upgrade failed", "err", err)
		return
	}
	h.counters.opened.Add(1)
	s := h.newSession(hijacked.reader.Conn, claim)
	s.in = &viewer{session: s, commands: d.commands}
	if s.device {
		s.in = &publisher{session: s, intake: d.intake}
	}
	switch {
	case !h.enter(s):
		s.end(CloseRestart, retryAfter("the server is restarting", leastSpread), false)
	case h.join(r.Context(), s, claim.Serials, from):
		s.offerResume()
		s.sender.Wake()
		h.log.Debug("session opened", "who", s.principal)
	}
	s.listen() // this goroutine returns, which frees what net/http keeps for a request
}

// proof is what a client shows to be let in: a ticket, or the token a session before gave it.
type proof struct {
	token   string
	resumes bool
}

// examine makes every check that spends nothing.
func (d *door) examine(r *http.Request) (p proof, from *position, why *refusal) {
	if r.Method != http.MethodGet {
		return p, nil, refusedMethod
	}
	if p, why = proofOf(r); why != nil {
		return p, nil, why
	}
	if why := upgradable(r); why != nil {
		return p, nil, why
	}
	if !d.origins.allow(r) {
		return p, nil, refusedOrigin
	}
	from, ok := positionOf(r.URL.Query().Get("epoch"), r.URL.Query().Get("since"))
	if !ok {
		return p, nil, refusedSince
	}
	return p, from, nil
}

// positionOf reads where a viewer left off; nil: nowhere. Not ok: since is no seq.
func positionOf(epoch, since string) (from *position, ok bool) {
	if since == "" {
		return nil, true
	}
	seq, err := strconv.ParseInt(since, 10, 64)
	if err != nil || seq < 0 {
		return nil, false
	}
	return &position{epoch, seq}, true
}

// upgradable checks what RFC 6455 §4.2.1 asks of a request.
func upgradable(r *http.Request) *refusal {
	if r.Method != http.MethodGet {
		return refusedMethod
	}
	if r.ProtoMajor != 1 || !websocket.IsWebSocketUpgrade(r) || r.Header.Get("Sec-WebSocket-Version") != "13" {
		return refusedUpgrade
	}
	if key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key")); err != nil || len(key) != 16 {
		return refusedKey
	}
	return nil
}

// proofOf finds the ticket or token: in the query, or as a subprotocol. Two of them are a mistake or an attempt to confuse a proxy.
func proofOf(r *http.Request) (proof, *refusal) {
	var found []proof
	for _, t := range r.URL.Query()["ticket"] {
		found = append(found, proof{token: t})
	}
	for _, t := range r.URL.Query()["resume"] {
		found = append(found, proof{t, true})
	}
	for _, p := range websocket.Subprotocols(r) {
		if t, ok := strings.CutPrefix(p, ticketPrefix); ok {
			found = append(found, proof{token: t})
		} else if t, ok := strings.CutPrefix(p, resumePrefix); ok {
			found = append(found, proof{t, true})
		}
	}
	switch {
	case len(found) == 0 || len(found) == 1 && found[0].token == "":
		return proof{}, refusedNoTicket
	case len(found) > 1:
		return proof{}, refusedTickets
	}
	return found[0], nil
}

func (h *Hub) redeem(ctx context.Context, p proof) (claim auth.Claim, why *refusal) {
	var err error
	if p.resumes {
		claim, err = h.tickets.RedeemResume(ctx, p.token)
	} else {
		claim, err = h.tickets.RedeemTicket(p.token)
	}
	switch {
	case err == nil:
		return claim, nil
	case errors.Is(err, telemetry.ErrForbidden):
		return auth.Claim{}, refusedForbidden
	case errors.Is(err, telemetry.ErrUnauthenticated) && p.resumes:
		return auth.Claim{}, refusedResume
	case errors.Is(err, telemetry.ErrUnauthenticated):
		return auth.Claim{}, refusedTicket
	case errors.Is(err, telemetry.ErrUnavailable):
		return auth.Claim{}, refusedBusy
	}
	h.log.Error("redeem ticket", "err", err)
	return auth.Claim{}, refusedInternal
}

// hijacker slips a readSide between gorilla and the connection.
type hijacker struct {
	http.ResponseWriter
	reader *readSide
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.reader = &readSide{Conn: c}
	return h.reader, rw, nil
}

// readSide is the connection as gorilla sees it. Once sealed it swallows writes, for gorilla answers breaches of the protocol by itself,
// in the middle of a frame of ours if need be.
type readSide struct {
	net.Conn
	sealed bool
}

func (c *readSide) Write(b []byte) (int, error) {
	if c.sealed {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
