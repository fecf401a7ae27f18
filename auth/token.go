package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	issuer        = "sensorcast"
	maxTokenBytes = 16 << 10 // a ticket for 100 of the longest serials is 10 KiB; more is not worth decoding
)

var (
	errTokenType = errors.New("token of another type")
	errTokenKey  = errors.New("token of an unknown key")
)

// seal signs and opens the tokens of one kind. Kinds differ in key, type and audience, any of which alone would keep them apart
// (RFC 8725 §3.8, §3.11, §3.12).
type seal struct {
	typ      string // header typ
	audience string
	keys     keyring
	clock    clock
	parser   *jwt.Parser
}

func newSeal(typ, audience string, keys keyring, c clock) *seal {
	return &seal{typ: typ, audience: audience, keys: keys, clock: c, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), // RFC 8725 §3.1; also keeps "none" out
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
		jwt.WithLeeway(0), // issuer and verifier are one process with one clock
		jwt.WithStrictDecoding(),
		jwt.WithTimeFunc(c.now),
	)}
}

// registered are the claims every token has.
type registered struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	ID       string `json:"jti"` // 128 random bits or more
	IssuedAt stamp  `json:"iat"`
	Expires  stamp  `json:"exp"`
}

// claim starts the claims of a token for the subject that lives for ttl.
func (s *seal) claim(subject int64, ttl time.Duration) registered {
	now := s.clock.now()
	return registered{
		Issuer: issuer, Audience: s.audience, Subject: strconv.FormatInt(subject, 10), ID: strings.ToLower(rand.Text()),
		IssuedAt: stamp(now.UnixMilli()), Expires: stamp(now.Add(ttl).UnixMilli()),
	}
}

// sign returns the compact token.
func (s *seal) sign(claims jwt.Claims) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	token.Header["typ"] = s.typ
	token.Header["kid"] = s.keys.active
	text, err := token.SignedString(s.keys.byID[s.keys.active])
	if err != nil {
		return "", fmt.Errorf("sign %s: %w", s.typ, err)
	}
	return text, nil
}

// open verifies the token and fills claims, which must not be looked at when it fails. Headers that point to keys (jku, jwk, x5u, x5c) are
// never read: the key comes from the ring, by kid, or not at all.
func (s *seal) open(token string, claims jwt.Claims) error {
	// The decoder skips line ends, with which one token could be written in many ways.
	if len(token) > maxTokenBytes || strings.ContainsAny(token, "\r\n") {
		return jwt.ErrTokenMalformed
	}
	_, err := s.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		if t.Header["typ"] != s.typ {
			return nil, errTokenType
		}
		kid, _ := t.Header["kid"].(string)
		key, ok := s.keys.byID[kid]
		if !ok {
			return nil, errTokenKey
		}
		return key, nil
	})
	return err
}

// subject returns the number in sub; 0 when it is none.
func (r *registered) subject() int64 {
	id, err := strconv.ParseInt(r.Subject, 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// GetExpirationTime and the others implement jwt.Claims.
func (r *registered) GetExpirationTime() (*jwt.NumericDate, error) { return r.Expires.date(), nil }

// GetIssuedAt implements jwt.Claims.
func (r *registered) GetIssuedAt() (*jwt.NumericDate, error) { return r.IssuedAt.date(), nil }

// GetNotBefore implements jwt.Claims; our tokens are good at once.
func (r *registered) GetNotBefore() (*jwt.NumericDate, error) { return nil, nil }

// GetIssuer implements jwt.Claims.
func (r *registered) GetIssuer() (string, error) { return r.Issuer, nil }

// GetSubject implements jwt.Claims.
func (r *registered) GetSubject() (string, error) { return r.Subject, nil }

// GetAudience implements jwt.Claims.
func (r *registered) GetAudience() (jwt.ClaimStrings, error) {
	return jwt.ClaimStrings{r.Audience}, nil
}

// stamp is an instant in Unix milliseconds, written as seconds with three decimals (RFC 7519 NumericDate). The library's own type cuts off
// the fraction unless a package variable is changed for the whole program, and a ticket may live for 300 ms.
type stamp int64

// MarshalJSON writes seconds with three decimals.
func (m stamp) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%d.%03d", int64(m)/1000, int64(m)%1000), nil
}

const maxStampSeconds = 1 << 40 // a float64 still tells its milliseconds apart

// UnmarshalJSON reads a non-negative number of seconds.
func (m *stamp) UnmarshalJSON(b []byte) error {
	seconds, err := strconv.ParseFloat(string(b), 64)
	if err != nil || !(seconds >= 0 && seconds < maxStampSeconds) {
		return errors.New("not an instant")
	}
	*m = stamp(math.Round(seconds * 1000))
	return nil
}

// date returns nil for the zero stamp, which is what an absent claim leaves behind.
func (m stamp) date() *jwt.NumericDate {
	if m == 0 {
		return nil
	}
	return &jwt.NumericDate{Time: time.UnixMilli(int64(m))}
}
