package auth

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"sensorcast/telemetry"
)

// Grant is what a login or refresh yields.
type Grant struct {
	User             User
	AccessToken      string           `json:"-"` // the tags keep secrets from what logs as JSON by reflection
	RefreshToken     string           `json:"-"`
	ExpiresIn        time.Duration    // of the access token
	RefreshExpiresAt telemetry.Millis // when the whole session ends
}

// String hides the tokens.
func (g Grant) String() string { return "grant for " + g.User.String() }

// GoString is String.
func (g Grant) GoString() string { return g.String() }

// LogValue is String.
func (g Grant) LogValue() slog.Value { return slog.StringValue(g.String()) }

// Credentials are what a person logs in with.
type Credentials struct {
	Login    string // username or e-mail
	Password string `json:"-"`
	Code     string `json:"-"` // of the second factor, or one of its recovery codes; empty: not asked for yet
	From     Origin
}

// String hides all but the login.
func (c Credentials) String() string { return "credentials of " + c.Login }

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

// LogValue is String.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Login opens a session for the person behind the credentials. An unknown login, a wrong password and a disabled account are all
// telemetry.ErrUnauthenticated and cost the same; so is, after a right password, a wrong code. ErrSecondFactor when only the code is missing.
// *RateError after too many failures of that login, address or second factor; telemetry.ErrUnavailable when too many passwords are being
// checked. It may wait a second for its check.
func (s *Service) Login(ctx context.Context, c Credentials) (Grant, error) {
	mark := s.revoked.mark()
	u, err := s.prove(ctx, c.Login, c.Password, addressKey(c.From.Remote))
	if err != nil {
		return Grant{}, err
	}
	if err := s.passFactor(ctx, u, c.Code, c.From.Remote); err != nil {
		return Grant{}, err
	}
	return s.openSession(ctx, u, c.From, mark)
}

// Password proves a person who logs in over MQTT; it opens no session. Errors and throttles are those of Login, but that its failures count
// against an address apart. With a second factor it is always ErrSecondFactor: programs cannot show a code. An API token stands for the password
// and needs no code; to guess one is hopeless, so it is neither throttled nor waits.
func (s *Service) Password(ctx context.Context, login, password string, remote netip.Addr) (Principal, error) {
	if isAPIToken(password) {
		return s.bearer(password, login)
	}
	mark := s.revoked.mark()
	// Three devices nobody knows yet, which try for ever, must not lock the people of their address out of where they would adopt them.
	u, err := s.prove(ctx, login, password, "mqtt "+addressKey(remote))
	if err != nil {
		return Principal{}, err
	}
	if err := s.passFactor(ctx, u, "", remote); err != nil {
		return Principal{}, err
	}
	p := Principal{Kind: Person, UserID: u.ID, Username: u.Username, Role: u.Role, mark: mark}
	if !s.Live(p) {
		return Principal{}, errLogin
	}
	return p, nil
}

var errLogin = unauthenticated("wrong login or password")

// prove finds the person of a login and checks the password.
func (s *Service) prove(ctx context.Context, login, password, address string) (User, error) {
	g := guess{name: s.debtor(nameKey(login)), address: s.debtor(address)}
	if err := s.admit(g); err != nil { // before any work, the look-up included
		return User{}, err
	}
	u, err := s.userByLogin(ctx, login)
	if err != nil && !notFound(err) {
		return User{}, fmt.Errorf("find account: %w", err)
	}
	phc := u.PasswordHash
	if err != nil || u.Disabled {
		phc = nobodysHash
	}
	match, err := s.verify(ctx, g, password, phc)
	if err != nil {
		return User{}, err
	}
	if !match {
		return User{}, errLogin
	}
	s.counts.logins.Add(1)
	return u, nil
}

// userByLogin asks the store unless no account can have such a login.
func (s *Service) userByLogin(ctx context.Context, login string) (User, error) {
	if login == "" || len(login) > maxEmailBytes || strings.ContainsFunc(login, unprintable) {
		return User{}, telemetry.ErrNotFound
	}
	return s.accounts.UserByLogin(ctx, login)
}

// guess says for the throttles which login is tried from where. Logins count by the name as typed, not by the account, so that known and unknown
// names are throttled alike.
type guess struct {
	name    string // debtor of its nameKey
	address string // debtor of its addressKey; empty for who holds a session already
}

// verify compares a password with a hash, unless name or address has failed too often, and books the outcome: only failures count, and a
// success forgives the name.
func (s *Service) verify(ctx context.Context, g guess, password, phc string) (bool, error) {
	admit := func() error { return s.admit(g) }
	if err := admit(); err != nil {
		return false, err
	}
	match, err := s.hasher.verify(ctx, password, phc, admit)
	if err != nil {
		return false, err
	}
	if match {
		s.limits.names.clear(g.name)
		return true, nil
	}
	now := s.clock.now()
	s.limits.names.charge(g.name, now)
	if g.address != "" {
		s.limits.addresses.charge(g.address, now)
	}
	s.counts.loginFailures.Add(1)
	return false, nil
}

// forgive lets the account's failed logins be, by either name, for it has a new password.
func (s *Service) forgive(u User) {
	s.limits.names.clear(s.debtor(nameKey(u.Username)))
	s.limits.names.clear(s.debtor(nameKey(u.Email)))
}

// admit answers *RateError while name or address has failed too often.
func (s *Service) admit(g guess) error {
	now := s.clock.now()
	if wait := max(s.limits.names.wait(g.name, now), s.limits.addresses.wait(g.address, now)); wait > 0 {
		s.counts.loginsThrottled.Add(1)
		return &RateError{RetryAfter: wait}
	}
	return nil
}

// nameKey is the throttle's key for a login: the same for every spelling of it, and short.
func nameKey(login string) string {
	if len(login) > maxEmailBytes {
		login = login[:maxEmailBytes]
	}
	return strings.ToLower(login)
}

// addressKey is the throttle's key for an address: IPv6 by /64, because that is what one subscriber gets. Unknown addresses share one key.
func addressKey(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if net, err := a.Prefix(64); err == nil {
			a = net.Addr()
		}
	}
	return a.String()
}
