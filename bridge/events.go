package bridge

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Events opens sessions whose way out is an event stream: a response that does not end (Server-Sent Events, WHATWG HTML §9.2), for whoever
// can do HTTP and no WebSocket. They are sessions like any other, with the same rooms, snapshot, replay, conflation and end; only the rim
// differs: frames are rewritten on their way from outbox to wire (transcript), and nothing is read.
type Events struct {
	hub     *Hub
	origins origins
}

// Events returns what opens event streams.
func (h *Hub) Events() *Events { return &Events{hub: h, origins: newOrigins(h.cfg.AllowedOrigins)} }

// EventRequest is what a client asks for, by exactly one of Ticket and Resume.
type EventRequest struct {
	Ticket string
	Resume string // the token an earlier session gave
	Bearer bool   // the ticket was made just now, for the access token of this very request: no page is asked for, no resume token given

	Resumes bool   // the client has read everything up to Since
	Since   int64  // a seq, not negative
	Epoch   string // the log it belongs to; empty: taken on trust

	MaxPerSecond float64 // of readings of each sensor; zero: no limit
}

// What a client waits before it connects again: spread, so that not all come back together after a restart.
const (
	retryLeast  = time.Second
	retrySpread = 4 * time.Second
)

// Serve answers with the stream and returns when that is over. An error means that nothing was written: telemetry.ErrUnauthenticated or
// telemetry.ErrForbidden for a ticket or token worth nothing, telemetry.ErrForbidden for a foreign page, telemetry.ErrInvalid for a rate
// out of bounds, telemetry.ErrUnavailable when there are too many or the server stops. Mistakes name their place, such as "query.ticket".
func (e *Events) Serve(w http.ResponseWriter, r *http.Request, q EventRequest) error {
	h := e.hub
	pace, ok := paceOf(q.MaxPerSecond)
	if !ok {
		return telemetry.Invalid("query.max_per_second", "%s", rateBounds)
	}
	if !q.Bearer && !e.mayOpen(r) {
		return e.refuse("header.Origin", refusedOrigin)
	}
	claim, err := e.admit(r.Context(), q)
	if err != nil {
		return err
	}
	defer h.release()
	h.counters.streams.Add(1)
	e.announce(w, r, q)
	conn := newResponse(w)
	s := h.newSession(conn, claim)
	s.bearer = q.Bearer
	s.heard.Store(math.MaxInt64) // whose peer says nothing is not late with it; that it is gone shows when its socket takes nothing more
	s.sender = h.pool.Attach(conn, &scribe{session: s, script: transcript{retry: retryLeast + rand.N(retrySpread)}})
	lose := func() { // a client says goodbye by leaving
		h.leave(s, CloseLost)
		s.kill()
	}
	defer lose() // of no effect on a session that has ended
	defer conn.release()
	defer context.AfterFunc(r.Context(), lose)()
	s.box.setPace(pace)
	e.open(r.Context(), s, claim, q)
	s.box.awaitFlushed()
	return nil
}

// admit counts the session in and spends its ticket, which is the last that can be refused.
func (e *Events) admit(ctx context.Context, q EventRequest) (claim auth.Claim, err error) {
	h := e.hub
	switch h.admit() {
	case errFull:
		return claim, e.refuse("", refusedFull)
	case errStopping:
		return claim, e.refuse("", refusedStopping)
	}
	p, place := proof{token: q.Ticket}, "query.ticket"
	if q.Resume != "" {
		p, place = proof{q.Resume, true}, "query.resume"
	}
	claim, why := h.redeem(ctx, p)
	if why == nil && claim.Kind == ticketOfSensor {
		why = refusedSender
	}
	if why != nil {
		h.release()
		return claim, e.refuse(place, why)
	}
	return claim, nil
}

// announce sends the head of the response.
func (e *Events) announce(w http.ResponseWriter, r *http.Request, q EventRequest) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would gather the stream until it is worth sending
	if origin := r.Header.Get("Origin"); origin != "" && !q.Bearer {
		header.Set("Access-Control-Allow-Origin", origin) // mayOpen allows it; unlike a WebSocket a stream needs leave to be read
		header.Add("Vary", "Origin")
	}
	w.WriteHeader(http.StatusOK)
}

// open brings the session to live, or to its end. Its context is not the request's: a client that leaves meanwhile ends the session, and
// no read of the store has to fail for it.
func (e *Events) open(ctx context.Context, s *session, claim auth.Claim, q EventRequest) {
	h := e.hub
	var from *position
	if q.Resumes {
		from = &position{q.Epoch, q.Since}
	}
	switch {
	case !h.enter(s):
		s.end(CloseRestart, retryAfter("the server is restarting", leastSpread), false)
	case h.join(context.WithoutCancel(ctx), s, claim.Serials, from):
		s.offerResume()
		s.sender.Wake()
		h.log.Debug("event stream opened", "who", s.principal)
	}
}

// mayOpen reports whether a ticket or token may be used by the page the request came from, if it came from one. A page cannot read the
// stream of another origin without leave, but it could spend a ticket it got hold of: as the address of a picture, say, where a browser
// sends no Origin and only tells that the page is another site's.
func (e *Events) mayOpen(r *http.Request) bool {
	if r.Header.Get("Origin") == "" {
		switch r.Header.Get("Sec-Fetch-Site") {
		case "cross-site", "same-site":
			return false
		}
	}
	return e.origins.allow(r)
}

// refuse counts a refusal and puts it into the vocabulary of package telemetry, for whoever answers.
func (e *Events) refuse(place string, why *refusal) error {
	e.hub.mu.Lock()
	e.hub.refused[why.reason]++
	e.hub.mu.Unlock()
	kind := telemetry.ErrUnavailable
	switch why.status {
	case http.StatusUnauthorized:
		kind = telemetry.ErrUnauthenticated
	case http.StatusForbidden:
		kind = telemetry.ErrForbidden
	case http.StatusInternalServerError:
		return fmt.Errorf("open event stream: %s", why.detail)
	}
	if place == "" {
		return fmt.Errorf("%s: %w", why.detail, kind)
	}
	return fmt.Errorf("%w: %w", kind, telemetry.Invalid(place, "%s", why.detail))
}

var refusedSender = &refusal{http.StatusForbidden, "forbidden", "a sensor's ticket sends readings and watches none: open a WebSocket with it"}

// scribe is a session to package wire: what its outbox has waiting, rewritten.
type scribe struct {
	session *session
	script  transcript
}

// scribbles are buffers for the frames before they are rewritten.
var scribbles = sync.Pool{New: func() any { b := make([]byte, 0, takeBytes); return &b }}

// Take implements wire.Source.
func (s *scribe) Take(buf []byte) []byte {
	frames := scribbles.Get().(*[]byte)
	defer func() {
		if cap(*frames) <= 2*takeBytes {
			scribbles.Put(frames)
		}
	}()
	for before := len(buf); len(buf) == before; buf = s.script.append(buf, *frames) { // a frame may come to nothing
		if *frames = s.session.Take((*frames)[:0]); len(*frames) == 0 {
			return buf
		}
	}
	return buf
}

// Broken implements wire.Source.
func (s *scribe) Broken(err error) { s.session.Broken(err) }
