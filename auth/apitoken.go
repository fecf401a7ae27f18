package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"sensorcast/telemetry"
)

const (
	apiTokenPrefix = "sct_" // lets secret scanners and people recognise one
	apiTokenLength = len(apiTokenPrefix) + 43

	// MaxAPITokens is how many an account has at once, expired ones included: all of them are held in memory.
	MaxAPITokens = 50

	// MaxTokenSerials is how many sensors one token may be for: each delivery to who came with it looks among them.
	MaxTokenSerials = 100
)

// The scopes of API tokens, as clients spell them.
const (
	ScopeRead  = "read"  // see sensors, their readings and commands
	ScopeWrite = "write" // read, and change, command, register and delete sensors
)

// APIToken is a key to part of what its account may do, for programs. It is kept by its hash: the token itself is shown once. A fast hash is
// enough because tokens are random.
type APIToken struct {
	ID         string // 26 lower-case letters and digits, random; no secret
	UserID     int64
	Name       string
	Hash       [32]byte `json:"-"` // SHA-256
	Write      bool     // it has ScopeWrite; each has ScopeRead
	Serials    []string // ascending: for these sensors only; nil: for all its account has access to, now and later
	CreatedAt  telemetry.Millis
	ExpiresAt  telemetry.Millis // zero: never
	LastUsedAt telemetry.Millis // zero: never; the store may be a minute behind
}

// String names the token without its hash.
func (t APIToken) String() string { return "API token " + t.ID }

// GoString is String.
func (t APIToken) GoString() string { return t.String() }

// LogValue is String.
func (t APIToken) LogValue() slog.Value { return slog.StringValue(t.String()) }

// APITokens is what package auth needs of the store for API tokens. All methods are safe for concurrent use, atomic, and durable when they
// return nil. An account's tokens go with it.
type APITokens interface {
	// CreateAPIToken stores t. telemetry.ErrNotFound when there is no such account.
	CreateAPIToken(ctx context.Context, t APIToken) error
	// EveryAPIToken returns every token of every account, each account's in the order they were made.
	EveryAPIToken(ctx context.Context) ([]APIToken, error)
	// UseAPITokens notes when tokens were last used, by id. One that is gone is no error.
	UseAPITokens(ctx context.Context, at map[string]telemetry.Millis) error
	// DeleteAPIToken forgets a token; telemetry.ErrNotFound.
	DeleteAPIToken(ctx context.Context, id string) error
}

// newAPIToken returns "sct_" and 43 base64url characters, 256 random bits, and what is kept of them.
func newAPIToken() (token string, hash [32]byte) {
	token = apiTokenPrefix + base64.RawURLEncoding.EncodeToString(randomBytes(32))
	return token, sha256.Sum256([]byte(token))
}

// isAPIToken reports whether s is meant to be one: no access token and no password begins like this.
func isAPIToken(s string) bool { return strings.HasPrefix(s, apiTokenPrefix) }

// TokenDraft is what a person asks of a new token.
type TokenDraft struct {
	Name      string
	Scopes    []string         // of ScopeRead and ScopeWrite
	Serials   []string         // nil: every sensor
	ExpiresAt telemetry.Millis // zero: never
}

// writes reports whether the scopes hold ScopeWrite.
func (d TokenDraft) writes() bool { return slices.Contains(d.Scopes, ScopeWrite) }

// check names every mistake. A serial that does not exist and one that p may not view are the same.
func (s *Service) check(p Principal, d TokenDraft) error {
	return join(
		checkTokenName(d.Name),
		checkScopes(d.Scopes),
		s.checkSerials(p, d.Serials),
		checkEnd(d.ExpiresAt),
	)
}

func checkTokenName(name string) error {
	if strings.TrimSpace(name) == "" {
		return telemetry.Invalid("name", "must say what the token is for")
	}
	return checkName("name", name)
}

func checkScopes(scopes []string) error {
	if len(scopes) == 0 {
		return telemetry.Invalid("scopes", "must name at least one of %s and %s", ScopeRead, ScopeWrite)
	}
	for i, scope := range scopes {
		if scope != ScopeRead && scope != ScopeWrite {
			return telemetry.Invalid(fmt.Sprintf("scopes[%d]", i), "must be %s or %s", ScopeRead, ScopeWrite)
		}
	}
	return nil
}

func (s *Service) checkSerials(p Principal, serials []string) error {
	switch {
	case serials == nil:
		return nil
	case len(serials) == 0:
		return telemetry.Invalid("serial_nos", "must name at least one sensor, or be null for all")
	case len(serials) > MaxTokenSerials:
		return telemetry.Invalid("serial_nos", "at most %d sensors; null is for all", MaxTokenSerials)
	}
	for i, serial := range serials {
		if !s.dir.Can(p, View, serial) {
			return telemetry.Invalid(fmt.Sprintf("serial_nos[%d]", i), "is no sensor of yours to see")
		}
	}
	return nil
}

func checkEnd(at telemetry.Millis) error {
	if at != 0 && at <= telemetry.Now() {
		return telemetry.Invalid("expires_at", "must be in the future, or null for never")
	}
	return nil
}

// sorted returns the serials once each, ascending; nil stays nil.
func sorted(serials []string) []string {
	serials = slices.Clone(serials)
	slices.Sort(serials)
	return slices.Compact(serials)
}
