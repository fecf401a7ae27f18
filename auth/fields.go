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

// checkEmail wants a bare address of what can be seen. Equality with what was parsed keeps out display names, comments and anything that
// would break a mail header.
func checkEmail(s string) error {
	if len(s) > maxEmailBytes {
		return telemetry.Invalid("email", "must be at most %d characters long", maxEmailBytes)
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
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
		return telemetry.Invalid(field, "must not contain control or invisible characters")
	}
	return nil
}

// unprintable are control characters, ends of lines and paragraphs, and what is not seen itself but changes how others look or compare: marks
// of direction, zero-width spaces, tags. Two joiners are let be, which some scripts and emoji are written with.
func unprintable(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && r != nonJoiner && r != joiner
}
