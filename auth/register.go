package auth

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/netip"

	"sensorcast/telemetry"
)

// Registration is what a new account is made of.
type Registration struct {
	Username   string
	Email      string
	Password   string `json:"-"`
	FirstName  string // may be empty
	LastName   string // may be empty
	SetupToken string `json:"-"` // needed for the first account from another machine
	Invitation string `json:"-"` // needed for the others where registration is by invitation; anywhere it gives the account its role
	Remote     netip.Addr
	Client     string // Origin.Client of the session it opens
}

// String hides password, set-up token and invitation.
func (r Registration) String() string { return "registration of " + r.Username }

// GoString is String.
func (r Registration) GoString() string { return r.String() }

// LogValue is String.
func (r Registration) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Register makes an account and logs it in. The first account becomes admin. Errors: telemetry.ErrForbidden when registration is closed;
// telemetry.ErrInvalid with every wrong field (FieldErrors when several); *RateError; ErrSetupToken; ErrInvitation; telemetry.ErrConflict for a
// taken username or e-mail; telemetry.ErrUnavailable when too many passwords are being hashed.
func (s *Service) Register(ctx context.Context, r Registration) (Grant, error) {
	if s.cfg.Registration == RegistrationClosed {
		return Grant{}, fmt.Errorf("registration is closed: %w", telemetry.ErrForbidden)
	}
	if err := r.check(); err != nil {
		return Grant{}, err
	}
	// Counted before it can succeed or conflict, which also limits asking for names and guessing at the set-up token.
	if wait := s.limits.registrations.take(s.debtor(addressKey(r.Remote)), s.clock.now()); wait > 0 {
		s.counts.registrationsThrottled.Add(1)
		return Grant{}, &RateError{RetryAfter: wait}
	}
	mark := s.revoked.mark()
	mayFound := s.mayFound(r)
	role, err := s.admitted(ctx, r, mayFound) // before names are compared and the password is hashed for a stranger
	if err != nil {
		return Grant{}, err
	}
	u, err := s.create(ctx, r, role, func(u *User) error {
		// In the same turn as the creation, so that nobody becomes admin because the last account went in between.
		if _, err := s.admitted(ctx, r, mayFound); err != nil {
			return err
		}
		if r.Invitation == "" {
			return s.accounts.CreateUser(ctx, u)
		}
		err := s.accounts.CreateInvited(ctx, u, codeHash(r.Invitation), telemetry.Now())
		if notFound(err) {
			return errInvitationCode
		}
		return err
	})
	if err != nil {
		return Grant{}, err
	}
	s.counts.registrations.Add(1)
	s.log.Info("account registered", "user", u.ID, "role", u.Role)
	s.postVerification(u.ID)
	return s.openSession(ctx, u, Origin{r.Remote, r.Client}, mark)
}

// admitted reports whether the account may be made: the first by who may found, the others by everybody or with an invitation. It returns their role.
func (s *Service) admitted(ctx context.Context, r Registration, mayFound bool) (Role, error) {
	if r.Invitation != "" {
		i, err := s.invited(ctx, r)
		return i.Role, err
	}
	if mayFound && s.cfg.Registration == RegistrationOpen {
		return RoleUser, nil // the first as well as the others
	}
	switch n, err := s.accounts.CountUsers(ctx); {
	case err != nil:
		return "", fmt.Errorf("count accounts: %w", err)
	case n == 0 && !mayFound:
		return "", ErrSetupToken
	case n > 0 && s.cfg.Registration == RegistrationInvite:
		return "", ErrInvitation
	}
	return RoleUser, nil
}

// CreateUser makes an account on the word of whoever runs the shell: no throttle, no registration policy, no set-up token. The first becomes admin.
// Errors are those of Register that remain.
func (s *Service) CreateUser(ctx context.Context, r Registration) (User, error) {
	if err := r.check(); err != nil {
		return User{}, err
	}
	return s.create(ctx, r, RoleUser, func(u *User) error { return s.accounts.CreateUser(ctx, u) })
}

// create hashes the password and has store keep the account, in a turn of its own.
func (s *Service) create(ctx context.Context, r Registration, role Role, store func(u *User) error) (User, error) {
	if _, taken := s.dir.Lookup(r.Username); taken {
		// Over MQTT the name would be taken for the sensor's.
		return User{}, telemetry.Conflict("username", "is taken")
	}
	hash, err := s.hasher.hash(ctx, r.Password)
	if err != nil {
		return User{}, err
	}
	now := telemetry.Now()
	u := User{
		UID: newID(), Username: r.Username, Email: r.Email, FirstName: r.FirstName, LastName: r.LastName,
		Role: role, PasswordHash: hash, CreatedAt: now, UpdatedAt: now,
	}
	if err := s.exclusively(ctx, func() error { return store(&u) }); err != nil {
		return User{}, fmt.Errorf("create account: %w", err)
	}
	return u, nil
}

// mayFound reports whether the caller may make the first account: from this machine, or with the set-up token.
func (s *Service) mayFound(r Registration) bool {
	if r.Remote.Unmap().IsLoopback() {
		return true
	}
	return s.cfg.SetupToken != "" && subtle.ConstantTimeCompare([]byte(s.cfg.SetupToken), []byte(r.SetupToken)) == 1
}

func (r Registration) check() error {
	return join(
		checkUsername(r.Username),
		checkEmail(r.Email),
		checkPassword("password", r.Password, r.Username, r.Email),
		checkName("first_name", r.FirstName),
		checkName("last_name", r.LastName),
	)
}
