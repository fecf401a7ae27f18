package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sensorcast/telemetry"
)

// ErrNoMail says that something needs a letter and this server sends none.
var ErrNoMail = fmt.Errorf("this server sends no mail: %w", telemetry.ErrForbidden)

// Letter is what is written to a person. Its text may hold a token.
type Letter struct {
	To      string // a bare address
	Subject string // one line
	Text    string `json:"-"`
}

// String hides the text and the address.
func (l Letter) String() string { return "letter" }

// GoString is String.
func (l Letter) GoString() string { return l.String() }

// LogValue is String.
func (l Letter) LogValue() slog.Value { return slog.StringValue(l.String()) }

// Courier sends letters later, or never: whether one arrives nobody is told. Post must not block.
type Courier interface {
	// Post calls write once, from another goroutine, and sends what it returns; no letter for the zero Letter or an error. So what
	// depends on who exists is found out after the answer, and the answer takes equally long for everybody.
	Post(write func(ctx context.Context) (Letter, error))
}

// Purpose is what a token that went out by letter is good for.
type Purpose string

// The purposes.
const (
	VerifyEmail   Purpose = "email"
	ResetPassword Purpose = "password"
)

// LetterToken is such a token as it is kept. Whoever has it has read the letter to Email.
type LetterToken struct {
	Hash      []byte // SHA-256
	Purpose   Purpose
	UserID    int64
	Email     string // the address the letter went to
	ExpiresAt telemetry.Millis
}

// LetterTokens is what package auth needs of the store for tokens sent by letter.
type LetterTokens interface {
	// KeepLetterToken stores t. telemetry.ErrNotFound when the account is gone, with which its tokens go.
	KeepLetterToken(ctx context.Context, t LetterToken) error
	// LetterToken finds the token of that purpose and hash; telemetry.ErrNotFound. It may be forgotten once it has expired.
	LetterToken(ctx context.Context, purpose Purpose, hash []byte) (LetterToken, error)
}

const (
	verificationTTL = 24 * time.Hour
	resetTTL        = time.Hour
	lettersPerHour  = 5 // to one account or address at a stranger's wish; more is a nuisance and helps nobody
	lettersPerPeer  = 6 // times as many at the wish of one network address: an office shares one
)

// letterPrefixes tell people and secret scanners what they look at.
var letterPrefixes = map[Purpose]string{VerifyEmail: "ev_", ResetPassword: "pr_"}

// newCode returns the prefix and 256 random bits, and what is stored of both.
func newCode(prefix string) (code string, hash []byte) {
	code = prefix + base64.RawURLEncoding.EncodeToString(randomBytes(32))
	return code, codeHash(code)
}

func codeHash(code string) []byte {
	sum := sha256.Sum256([]byte(code))
	return sum[:]
}

// isCode reports whether a code may be one of ours, so that the store is not asked about what cannot.
func isCode(prefix, code string) bool {
	return len(code) == len(prefix)+43 && strings.HasPrefix(code, prefix)
}

// issue makes a token for u's address and returns it.
func (s *Service) issue(ctx context.Context, purpose Purpose, u User, ttl time.Duration) (string, error) {
	token, hash := newCode(letterPrefixes[purpose])
	t := LetterToken{Hash: hash, Purpose: purpose, UserID: u.ID, Email: u.Email, ExpiresAt: telemetry.Now().Add(ttl)}
	if err := s.accounts.KeepLetterToken(ctx, t); err != nil {
		return "", fmt.Errorf("keep letter token: %w", err)
	}
	return token, nil
}

// bearerOf returns the account whose token it is. Unknown, used, expired, of another purpose, sent to an address the account no longer has
// and of a disabled account are one and the same telemetry.ErrInvalid.
func (s *Service) bearerOf(ctx context.Context, purpose Purpose, token string) (User, error) {
	if !isCode(letterPrefixes[purpose], token) {
		return User{}, errLetterToken
	}
	t, err := s.accounts.LetterToken(ctx, purpose, codeHash(token))
	if err == nil && telemetry.Now() >= t.ExpiresAt {
		err = telemetry.ErrNotFound
	}
	var u User
	if err == nil {
		u, err = s.accounts.UserByID(ctx, t.UserID)
	}
	switch {
	case notFound(err), err == nil && (u.Disabled || u.Email != t.Email):
		return User{}, errLetterToken
	case err != nil:
		return User{}, fmt.Errorf("find letter token: %w", err)
	}
	return u, nil
}

var errLetterToken = telemetry.Invalid("token", "is wrong, was used before or has expired")

// post hands an errand to the courier; without one nothing happens.
func (s *Service) post(write func(ctx context.Context) (Letter, error)) {
	if s.cfg.Courier != nil {
		s.cfg.Courier.Post(write)
	}
}

// tell sends an account what it should know of.
func (s *Service) tell(to string, l Letter) {
	l.To = to
	s.post(func(context.Context) (Letter, error) { return l, nil })
}

// mayWrite books one letter for each key and answers *RateError while there were too many for one. ErrNoMail where there are none.
func (s *Service) mayWrite(recipient, address string) error {
	if s.cfg.Courier == nil {
		return ErrNoMail
	}
	now := s.clock.now()
	wait := s.limits.letterPeers.wait(address, now)
	if wait == 0 {
		wait = s.limits.letters.take(recipient, now)
	}
	if wait > 0 {
		s.counts.lettersThrottled.Add(1)
		return &RateError{RetryAfter: wait}
	}
	s.limits.letterPeers.charge(address, now)
	return nil
}

// withoutAccount turns "no such account" into "no letter".
func withoutAccount(err error) error {
	if errors.Is(err, telemetry.ErrNotFound) {
		return nil
	}
	return err
}
