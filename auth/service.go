package auth

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sensorcast/telemetry"
)

// Config sets the lives of tokens and the limits.
type Config struct {
	TicketTTL  time.Duration // 5 s when zero; 1 ms to 30 s
	AccessTTL  time.Duration // 10 min when zero
	RefreshTTL time.Duration // 30 days when zero: a login lasts at most this long, however often it is refreshed

	Registration string // RegistrationOpen (when empty), RegistrationInvite or RegistrationClosed
	SetupToken   string `json:"-"` // what the first account needs from another machine; empty: it can only be made from this one

	Courier   Courier // brings letters; nil: none are sent
	PublicURL string  // of the dashboard, without a slash at its end, for links in letters; empty: they hold codes to paste

	// Limits; zero or less means none.
	TicketsPerMinute       int // per account or sensor
	RegistrationsPerHour   int // per address; an IPv6 address stands for its /64
	LoginFailuresPerMinute int // per login name; three times as many per address; as many an hour of an account's second factor
}

// Who may register.
const (
	RegistrationOpen   = "open"
	RegistrationInvite = "invite" // the first account, and who an admin has invited
	RegistrationClosed = "closed" // accounts are made from the shell only
)

const (
	defaultTicketTTL  = 5 * time.Second
	maxTicketTTL      = 30 * time.Second
	defaultAccessTTL  = 10 * time.Minute
	defaultRefreshTTL = 30 * 24 * time.Hour

	// One NAT or office shares an address, so an address may fail more often than a name.
	failuresPerAddress = 3

	maxUsedTickets = 1 << 18 // about 25 MB; 8,700 redeemed per second at the longest life, 52,000 at the default
	bootTimeout    = 30 * time.Second
)

// String hides the set-up token.
func (c Config) String() string { return "[auth config]" }

// GoString is String.
func (c Config) GoString() string { return c.String() }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

func (c Config) withDefaults() (Config, error) {
	for _, ttl := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&c.TicketTTL, defaultTicketTTL}, {&c.AccessTTL, defaultAccessTTL}, {&c.RefreshTTL, defaultRefreshTTL}} {
		if *ttl.value == 0 {
			*ttl.value = ttl.fallback
		}
		if *ttl.value < time.Millisecond {
			return c, fmt.Errorf("a token life of %v is too short", *ttl.value)
		}
	}
	if c.TicketTTL > maxTicketTTL {
		return c, fmt.Errorf("a ticket life of %v is too long: at most %v", c.TicketTTL, maxTicketTTL)
	}
	switch c.Registration {
	case "":
		c.Registration = RegistrationOpen
	case RegistrationOpen, RegistrationInvite, RegistrationClosed:
	default:
		return c, fmt.Errorf("registration %q is not available: %s, %s or %s", c.Registration, RegistrationOpen, RegistrationInvite, RegistrationClosed)
	}
	return c, nil
}

// Service knows people: it registers them, logs them in, and makes and judges their tokens and everybody's tickets. Safe for concurrent use.
// It starts no goroutine and needs no closing.
type Service struct {
	cfg      Config
	keys     *Keys
	accounts Accounts
	sessions Sessions
	tokens   APITokens
	dir      *Directory
	changes  *Changes
	log      *slog.Logger

	clock   clock
	access  *seal
	ticket  *seal
	resume  *seal
	boot    string          // tickets of another process are void, because used died with it
	used    *recent[string] // jti of redeemed tickets
	revoked *revocations    // what ended
	bearers *bearers        // API tokens
	hasher  *hasher         // argon2
	turn    chan struct{}   // held while an account is read, changed and written
	counts  counters
	limits  struct {
		names, addresses *throttle // failed logins
		codes            *throttle // wrong codes of second factors, by account
		registrations    *throttle
		tickets          *throttle

		letters, letterPeers *throttle // by whom they go to, and at whose wish
		claims               struct{ accounts, addresses *throttle }
	}
}

// NewService checks cfg and reads the API tokens, and the sessions that ended lately, so that their access tokens stay dead over a restart.
func NewService(cfg Config, keys *Keys, accounts Accounts, sessions Sessions, tokens APITokens, dir *Directory, changes *Changes, log *slog.Logger) (*Service, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := newClock()
	s := &Service{
		cfg: cfg, keys: keys, accounts: accounts, sessions: sessions, tokens: tokens, dir: dir, changes: changes, log: log.With("component", "auth"),
		clock:   c,
		access:  newSeal("at+jwt", "sensorcast/api", keys.access, c),
		ticket:  newSeal("ticket+jwt", "sensorcast/ws", keys.ticket, c),
		resume:  newSeal("resume+jwt", "sensorcast/ws/resume", keys.resume, c),
		boot:    newID(),
		used:    newRecent[string](cfg.TicketTTL, maxUsedTickets),
		revoked: newRevocations(cfg.AccessTTL),
		bearers: newBearers(),
		hasher:  newHasher(),
		turn:    make(chan struct{}, 1),
	}
	s.limits.names = newThrottle(cfg.LoginFailuresPerMinute, time.Minute)
	s.limits.addresses = newThrottle(failuresPerAddress*cfg.LoginFailuresPerMinute, time.Minute)
	s.limits.codes = newThrottle(cfg.LoginFailuresPerMinute, time.Hour)
	s.limits.registrations = newThrottle(cfg.RegistrationsPerHour, time.Hour)
	s.limits.letters = newThrottle(lettersPerHour, time.Hour)
	s.limits.letterPeers = newThrottle(lettersPerPeer*lettersPerHour, time.Hour)
	s.limits.tickets = newThrottle(cfg.TicketsPerMinute, time.Minute)
	s.limits.claims.accounts = newThrottle(claimsPerMinute, time.Minute)
	s.limits.claims.addresses = newThrottle(failuresPerAddress*claimsPerMinute, time.Minute)
	if err := s.recallEnded(); err != nil {
		return nil, err
	}
	if err := s.recallTokens(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Service) recallEnded() error {
	ctx, cancel := context.WithTimeout(context.Background(), bootTimeout)
	defer cancel()
	ended, err := s.sessions.EndedSince(ctx, telemetry.Now().Add(-s.revoked.sessions.keep))
	if err != nil {
		return fmt.Errorf("read ended sessions: %w", err)
	}
	for id := range ended {
		s.revoked.sessions.add(id, s.clock.now())
	}
	return nil
}

// Live reports whether what p proved still holds: its session, its password login, its API token, or its sensor and secret have not ended since. A door
// asks once more after it registered a connection for Changes, which closes the gap in between. No I/O.
func (s *Service) Live(p Principal) bool {
	switch {
	case p.Kind == Sensor:
		return s.dir.stillProven(p)
	case p.Kind == Person && p.TokenID != "":
		_, good := s.Bearer(p.UserID, p.TokenID)
		return good
	case p.Kind == Person && p.SessionID != "":
		return !s.revoked.sessions.has(p.SessionID) && !s.revoked.isGone(p.UserID)
	case p.Kind == Person:
		return !s.revoked.endedSince(p.UserID, p.mark)
	}
	return false
}

// exclusively runs change alone among changes of accounts, so that none overwrites what another wrote between its read and its write.
// It waits for its turn until ctx ends. The turn spans the store's work, which is why it is no mutex.
func (s *Service) exclusively(ctx context.Context, change func() error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	return change()
}

// updateUser writes an account in its turn, and has its API tokens follow.
func (s *Service) updateUser(ctx context.Context, u User) error {
	if err := s.accounts.UpdateUser(ctx, u); err != nil {
		return err
	}
	s.bearers.know(u)
	return nil
}

// sessionOver makes an ended session's access tokens worthless and tells the watchers.
func (s *Service) sessionOver(userID int64, id string) {
	s.revoked.sessions.add(id, s.clock.now())
	s.changes.Notify(Change{Kind: SessionEnded, UserID: userID, SessionID: id})
}

// endSessions ends all that the account has open but the session except, and what API tokens opened. What can be ended without the store ends even when the store fails.
func (s *Service) endSessions(ctx context.Context, userID int64, except string) error {
	// First, so that a login in flight, whose session the store may not list yet, notices.
	s.revoked.endUser(userID)
	ids, err := s.sessions.EndSessions(ctx, userID, except, telemetry.Now())
	for _, id := range ids {
		s.revoked.sessions.add(id, s.clock.now())
	}
	s.changes.Notify(Change{Kind: UserEnded, UserID: userID, SessionID: except})
	if err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	return nil
}
