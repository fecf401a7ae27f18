package auth

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"sensorcast/telemetry"
)

const maxTicketSerials = 100 // a ticket travels in a URL

// The kinds of ticket, as its type claim spells them.
const (
	ticketOfUser   = "user"
	ticketOfSensor = "sensor"
)

// Ticket opens one WebSocket, once, within seconds.
type Ticket struct {
	Token     string    `json:"-"`
	ExpiresAt time.Time // to the millisecond
}

// String hides the token.
func (t Ticket) String() string { return "[ticket]" }

// GoString is String.
func (t Ticket) GoString() string { return t.String() }

// LogValue is String.
func (t Ticket) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Claim is what a redeemed ticket entitles to.
type Claim struct {
	Principal Principal
	Serials   []string // those of the ticket that the principal may view now; nil when All
	All       bool     // whatever Directory.SerialsOf the principal is, now and later
	Kind      string   // "user": watches; "sensor": sends as itself

	// Until is when whoever came in with a ticket has to bring another one, however often they resumed since. Zero: with a ticket just now.
	Until time.Time
}

type ticketClaims struct {
	registered
	Type     string   `json:"type"`
	Serials  []string `json:"serials"`
	All      bool     `json:"all,omitempty"`
	Session  string   `json:"sid,omitempty"`
	Token    string   `json:"tid,omitempty"` // Principal.TokenID
	Username string   `json:"name,omitempty"`
	Role     Role     `json:"role,omitempty"`
	Boot     string   `json:"boot,omitempty"`        // of a ticket
	Until    stamp    `json:"until,omitempty"`       // of a resume token: Claim.Until
	Mark     uint64   `json:"mark,omitempty,string"` // Principal.mark
}

// MintTicket makes a ticket for p. A person names 1 to 100 serials or all; a sensor gets its own whatever it asks. A serial that does not exist
// and one that p may not view are the same telemetry.ErrNotFound. *RateError over the limit; telemetry.ErrInvalid for an impossible
// wish; telemetry.ErrUnauthenticated when p's authority has ended. No I/O.
func (s *Service) MintTicket(p Principal, serials []string, all bool) (Ticket, error) {
	if !s.Live(p) {
		return Ticket{}, unauthenticated("session has ended")
	}
	// Before the look at the serials, so that nobody asks for names faster than for tickets.
	if wait := s.limits.tickets.take(p.party(), s.clock.now()); wait > 0 {
		s.counts.ticketsThrottled.Add(1)
		return Ticket{}, &RateError{RetryAfter: wait}
	}
	c := ticketClaims{Boot: s.boot, Mark: p.mark}
	if p.Kind == Sensor {
		c.registered, c.Type = s.ticket.claim(p.SensorID, s.cfg.TicketTTL), ticketOfSensor
		c.Serials = []string{p.Serial}
	} else {
		var err error
		if c.Serials, err = s.viewable(p, serials, all); err != nil {
			return Ticket{}, err
		}
		c.registered, c.Type = s.ticket.claim(p.UserID, s.cfg.TicketTTL), ticketOfUser
		c.All, c.Session, c.Token, c.Username, c.Role = all, p.SessionID, p.TokenID, p.Username, p.Role
	}
	token, err := s.ticket.sign(&c)
	if err != nil {
		return Ticket{}, err
	}
	s.counts.ticketsMinted.Add(1)
	return Ticket{Token: token, ExpiresAt: c.Expires.date().UTC()}, nil
}

// viewable returns the serials once each, or why p cannot have a ticket for them.
func (s *Service) viewable(p Principal, serials []string, all bool) ([]string, error) {
	switch {
	case all && len(serials) > 0:
		return nil, telemetry.Invalid("serial_nos", "must be absent when all is asked for")
	case all:
		return nil, nil
	case len(serials) == 0:
		return nil, telemetry.Invalid("serial_nos", "must name at least one sensor")
	case len(serials) > maxTicketSerials:
		return nil, telemetry.Invalid("serial_nos", "at most %d sensors; ask for all instead", maxTicketSerials)
	}
	wanted := make([]string, 0, len(serials))
	for _, serial := range serials {
		if !s.dir.Can(p, View, serial) {
			return nil, fmt.Errorf("no such sensor: %w", telemetry.ErrNotFound)
		}
		if !slices.Contains(wanted, serial) {
			wanted = append(wanted, serial)
		}
	}
	return wanted, nil
}

// RedeemTicket burns the ticket and returns what it entitles to at this moment: of any number of concurrent calls with one ticket at most one
// succeeds, and one that fails for lost access is burnt too. telemetry.ErrUnauthenticated: not a ticket, expired (to the
// millisecond), used, of an earlier process, or its authority has ended. telemetry.ErrForbidden: none of its sensors may be viewed any
// more. telemetry.ErrUnavailable: too many were redeemed within the life of a ticket. No I/O.
func (s *Service) RedeemTicket(token string) (Claim, error) {
	claim, err := s.redeem(token)
	if err != nil {
		s.counts.ticketsRefused.Add(1)
		return Claim{}, err
	}
	s.counts.ticketsRedeemed.Add(1)
	return claim, nil
}

var errTicket = unauthenticated("ticket is invalid or has expired")

func (s *Service) redeem(token string) (Claim, error) {
	var c ticketClaims
	if err := s.ticket.open(token, &c); err != nil || c.Boot != s.boot || c.ID == "" || c.subject() == 0 {
		return Claim{}, errTicket
	}
	switch s.used.add(c.ID, s.clock.now()) {
	case present:
		s.counts.ticketsReplayed.Add(1)
		return Claim{}, unauthenticated("ticket was used before")
	case full:
		return Claim{}, fmt.Errorf("too many tickets at once: %w", telemetry.ErrUnavailable)
	}
	switch c.Type {
	case ticketOfUser:
		return s.claimOfUser(c)
	case ticketOfSensor:
		return s.claimOfSensor(c)
	}
	return Claim{}, errTicket
}

func (s *Service) claimOfUser(c ticketClaims) (Claim, error) {
	p := Principal{Kind: Person, UserID: c.subject(), Username: c.Username, Role: c.Role, SessionID: c.Session, mark: c.Mark}
	if c.Token != "" {
		p, _ = s.Bearer(c.subject(), c.Token) // or nobody
	}
	if !s.Live(p) {
		return Claim{}, unauthenticated("session has ended")
	}
	if c.All {
		return Claim{Principal: p, All: true, Kind: ticketOfUser}, nil
	}
	serials := slices.DeleteFunc(c.Serials, func(serial string) bool { return !s.dir.Can(p, View, serial) })
	if len(serials) == 0 {
		return Claim{}, errAccessLost
	}
	return Claim{Principal: p, Serials: serials, Kind: ticketOfUser}, nil
}

func (s *Service) claimOfSensor(c ticketClaims) (Claim, error) {
	if len(c.Serials) != 1 {
		return Claim{}, errTicket
	}
	p := Principal{Kind: Sensor, SensorID: c.subject(), Serial: c.Serials[0], mark: c.Mark}
	if !s.dir.Can(p, Publish, p.Serial) {
		return Claim{}, errAccessLost
	}
	if !s.Live(p) {
		return Claim{}, unauthenticated("secret was replaced")
	}
	return Claim{Principal: p, Serials: c.Serials, Kind: ticketOfSensor}, nil
}

var errAccessLost = fmt.Errorf("sensor is gone or no longer yours: %w", telemetry.ErrForbidden)
