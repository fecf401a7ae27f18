package auth

import (
	"slices"
	"strings"
	"unicode/utf8"

	"sensorcast/telemetry"
)

const (
	minPasswordRunes = 10
	maxPasswordBytes = 128 // argon2 reads all of it; a body may hold megabytes
	minPasswordKinds = 4   // different characters
)

// checkPassword refuses what guessers try first. Length does the rest: no rules about digits and capitals, which make passwords worse.
func checkPassword(field, password, username, email string) error {
	switch {
	case !utf8.ValidString(password):
		return telemetry.Invalid(field, "must be valid UTF-8")
	case utf8.RuneCountInString(password) < minPasswordRunes:
		return telemetry.Invalid(field, "must be at least %d characters long", minPasswordRunes)
	case len(password) > maxPasswordBytes:
		return telemetry.Invalid(field, "must be at most %d bytes long", maxPasswordBytes)
	case isAPIToken(password):
		return telemetry.Invalid(field, "must not begin with %s, as API tokens do", apiTokenPrefix)
	case strings.EqualFold(password, username), strings.EqualFold(password, email):
		return telemetry.Invalid(field, "must not be the username or e-mail address")
	case distinct(password) < minPasswordKinds, common(strings.ToLower(password)):
		return telemetry.Invalid(field, "is one of the first that would be guessed")
	}
	return nil
}

func distinct(s string) int {
	seen := make(map[rune]struct{})
	for _, r := range s {
		seen[r] = struct{}{}
	}
	return len(seen)
}

// common reports whether a lower-case password is a well-known one, one of those with a short tail of digits and signs, or a run along
// the keyboard, the alphabet or the digits.
func common(password string) bool {
	stem := strings.TrimRight(password, "0123456789!?.-_*#$@+")
	if slices.Contains(commonPasswords, password) || len(password)-len(stem) <= 4 && slices.Contains(commonPasswords, stem) {
		return true
	}
	return slices.ContainsFunc(keyboardRuns, func(run string) bool { return strings.Contains(run, password) })
}

// keyboardRuns are each written twice or backwards where people go round.
var keyboardRuns = []string{
	"01234567890123456789", "98765432109876543210", "abcdefghijklmnopqrstuvwxyz", "zyxwvutsrqponmlkjihgfedcba",
	"qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "azertyuiopqsdfghjklmwxcvbn", "poiuytrewqlkjhgfdsamnbvcxz",
	"1qaz2wsx3edc4rfv5tgb6yhn7ujm", "1q2w3e4r5t6y7u8i9o0p", "qazwsxedcrfvtgbyhnujmikolp", "q1w2e3r4t5y6u7i8o9p0", "zaq12wsxcde34rfvbgt5",
}

// commonPasswords are lower-case; shorter ones are caught with their tail or by the minimum length.
var commonPasswords = []string{
	"password", "passw0rd", "p@ssword", "p@ssw0rd", "pa55word", "passwort", "motdepasse", "contraseña", "contrasena", "password1234",
	"passwordpassword", "mypassword", "newpassword", "thepassword", "testpassword", "adminpassword", "administrator", "adminadmin",
	"admin123admin", "rootroot", "superuser", "letmein", "letmeinnow", "letmeinplease", "welcome", "welcomehome", "welcome2",
	"iloveyou", "iloveyousomuch", "ilovemyself", "iloveyou12", "princess", "sunshine", "football", "baseball", "basketball",
	"volleyball", "superman", "spiderman", "batman", "pokemon", "starwars", "whatever", "trustno1", "dragon", "monkey", "shadow", "master", "michael",
	"jennifer", "charlie", "computer", "internet", "samsung", "liverpool", "manchester", "barcelona", "juventus", "chelsea", "arsenal",
	"changeme", "changemenow", "changeit", "changethis", "default", "defaultpassword", "secret", "secretsecret", "topsecret",
	"qwerty", "qwerty123456", "qwertyqwerty", "asdfasdf", "asdfghjkl", "asdfasdfasdf", "abcd1234abcd", "abc123abc123", "abcabcabcabc",
	"aaaabbbbcccc", "1234512345", "123456123456", "123123123123", "1234qwerasdf", "12345qwert", "123456qwerty", "123qweasdzxc",
	"q1w2e3r4t5", "1q2w3e4r5t", "zxcvbnm123", "temporary", "guestguest", "testtest", "testtesttest", "test1234test",
	"mosquitto", "raspberry", "raspberrypi", "arduino", "sensorcast", "homeassistant", "thingsboard", "tasmota",
}
