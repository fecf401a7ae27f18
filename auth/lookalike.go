package auth

import (
	"regexp"
	"strings"
)

const deviceSecretPrefix = "sdk_"

// secretForm is that of all random secrets this server hands out to be typed or pasted: what it is for, and 256 bits in base64url.
var secretForm = regexp.MustCompile("(?:" + strings.Join([]string{
	deviceSecretPrefix, apiTokenPrefix, refreshPrefix, invitationPrefix, letterPrefixes[VerifyEmail], letterPrefixes[ResetPassword],
}, "|") + ")[A-Za-z0-9_-]{43}")

// HoldsSecret reports whether there is what looks like a secret of ours in s, whoever's it is. People put them where a name belongs, and names
// are kept and shown.
func HoldsSecret(s string) bool { return secretForm.MatchString(s) }
