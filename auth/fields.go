package auth

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"sensorcast/telemetry"
)

const (
	minUsername   = 3
	maxUsername   = 32
	maxEmailBytes = 254 // RFC 5321 §4.5.3.1.3, less the angle brackets
	maxNameRunes  = 100
)

// checkUsername: ^[A-Za-z0-9][A-Za-z0-9._-]{2,31}$. Without an "@" it cannot be taken for an e-mail address.
func checkUsername(s string) error {
	if len(s) < minUsername || len(s) > maxUsername {
		return telemetry.Invalid("username", "must be %d to %d characters long", minUsername, maxUsername)
	}
	for i := range len(s) {
		if !usernameByte(s[i], i == 0) {
			return telemetry.Invalid("username", "may hold letters, digits and . _ - and must start with a letter or digit")
		}
	}
	return nil
}

func usernameByte(c byte, first bool) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	case c == '.', c == '_', c == '-':
		return !first
	}
	return false
}

// checkEmail wants a bare address. Equality with what was parsed keeps out display names, comments and anything that would break a mail header.
func checkEmail(s string) error {
	if len(s) > maxEmailBytes {
		return telemetry.Invalid("email", "must be at most %d characters long", maxEmailBytes)
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || strings.ContainsFunc(s, unprintable) {
		return telemetry.Invalid("email", "must be an e-mail address such as name@example.org")
	}
	return nil
}

// checkName checks first_name and last_name; both may be empty.
func checkName(field, s string) error {
	switch {
	case !utf8.ValidString(s):
		return telemetry.Invalid(field, "must be valid UTF-8")
	case utf8.RuneCountInString(s) > maxNameRunes:
		return telemetry.Invalid(field, "must be at most %d characters", maxNameRunes)
	case strings.ContainsFunc(s, unprintable):
		return telemetry.Invalid(field, "must not contain control characters")
	}
	return nil
}

// unprintable are control characters and those that turn the direction of text, with which one name can look like another.
func unprintable(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
