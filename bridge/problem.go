package bridge

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// refusal is why a request was not upgraded. None of it comes from the request, so nothing secret is repeated.
type refusal struct {
	status int
	reason string // names the counter
	detail string
}

var (
	refusedMethod      = &refusal{http.StatusMethodNotAllowed, "request", "a WebSocket is opened with GET"}
	refusedUpgrade     = &refusal{http.StatusUpgradeRequired, "request", "this address speaks WebSocket: send an upgrade request (RFC 6455), version 13"}
	refusedKey         = &refusal{http.StatusBadRequest, "request", "Sec-WebSocket-Key must be 16 bytes in base64"}
	refusedSubprotocol = &refusal{http.StatusBadRequest, "subprotocol", "this address carries MQTT: offer the WebSocket subprotocol mqtt"}
	refusedNoTicket    = &refusal{http.StatusUnauthorized, "no_ticket", "a ticket is needed: POST /api/v1/tickets, then connect to the url it answers with"}
	refusedTickets     = &refusal{http.StatusUnauthorized, "bad_ticket", "give one ticket, in the query or in a subprotocol"}
	refusedTicket      = &refusal{http.StatusUnauthorized, "bad_ticket", "the ticket is malformed, expired, already used or not for this: ask for a new one"}
	refusedResume      = &refusal{http.StatusUnauthorized, "bad_ticket", "the resume token is malformed, expired, already used or not for this: ask for a ticket"}
	refusedSince       = &refusal{http.StatusBadRequest, "since", "since must be the seq of the last reading received, a whole number"}
	refusedOrigin      = &refusal{http.StatusForbidden, "origin", "pages of this origin may not connect here: see allowed origins in the configuration"}
	refusedForbidden   = &refusal{http.StatusForbidden, "forbidden", "access to the sensor has ended, or it was deleted"}
	refusedFull        = &refusal{http.StatusServiceUnavailable, "full", errFull.Error()}
	refusedStopping    = &refusal{http.StatusServiceUnavailable, "stopping", errStopping.Error()}
	refusedBusy        = &refusal{http.StatusServiceUnavailable, "full", "too many connections are being opened, try again in a moment"}
	refusedInternal    = &refusal{http.StatusInternalServerError, "internal", "the connection could not be upgraded"}
)

const retryAfterSeconds = 5

// refuse answers with application/problem+json (RFC 9457) and counts.
func (h *Hub) refuse(w http.ResponseWriter, why *refusal) {
	h.mu.Lock()
	h.refused[why.reason]++
	h.mu.Unlock()
	header := w.Header()
	switch why.status {
	case http.StatusMethodNotAllowed:
		header.Set("Allow", http.MethodGet)
	case http.StatusUpgradeRequired: // RFC 9110 §15.5.22, RFC 6455 §4.4
		header.Set("Connection", "Upgrade")
		header.Set("Upgrade", "websocket")
		header.Set("Sec-WebSocket-Version", "13")
	case http.StatusUnauthorized: // RFC 9110 §15.5.2 wants a challenge; browsers do not react to this scheme
		header.Set("WWW-Authenticate", `Ticket realm="sensorcast"`)
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(why.status)
	body, _ := json.Marshal(problem{"about:blank", http.StatusText(why.status), why.status, why.detail}) // plain strings: cannot fail
	w.Write(body)                                                                                        // nobody to tell when it fails
}

// problem is an RFC 9457 problem, as Dial reads it too.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}
