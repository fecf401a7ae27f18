package auth

import (
	"encoding/base64"
	"log/slog"

	"sensorcast/telemetry"
)

const (
	minDeviceSecret = 16
	maxDeviceSecret = 128 // hashing is linear; a client may send 64 KiB as its password
)

// Device is what the doors need to know of a sensor, kept in memory. Secrets is shared: never write to it, put a new Device instead.
type Device struct {
	SensorID int64
	Serial   string
	OwnerID  int64
	Secrets  []Secret // two while a rotation is in its grace
}

// MaxDeviceSecrets is how many secrets a sensor has at once: the present one and, in its grace, the one before.
const MaxDeviceSecrets = 2

// Secret is a device secret as it is kept: its digest under the pepper, never the secret itself. A fast hash is enough because secrets
// are random; 10,000 sensors that reconnect at once then cost milliseconds.
type Secret struct {
	Hash       [32]byte         `json:"-"` // HMAC-SHA256(pepper, secret)
	ValidUntil telemetry.Millis // zero: for ever
}

// live reports whether the secret is good at now.
func (s *Secret) live(now telemetry.Millis) bool { return s.ValidUntil == 0 || now < s.ValidUntil }

// String hides the digest.
func (s Secret) String() string { return "[secret]" }

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// NewDeviceSecret returns "sdk_" and 43 base64url characters: 256 random bits.
func NewDeviceSecret() string { return "sdk_" + base64.RawURLEncoding.EncodeToString(randomBytes(32)) }

// CheckDeviceSecret reports whether an owner may choose s as a device secret: 16 to 128 printable ASCII characters without spaces, so that
// every firmware and shell can carry it. The error names the field secret_key.
func CheckDeviceSecret(s string) error {
	if len(s) < minDeviceSecret || len(s) > maxDeviceSecret {
		return telemetry.Invalid("secret_key", "must be %d to %d characters long", minDeviceSecret, maxDeviceSecret)
	}
	same := true
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return telemetry.Invalid("secret_key", "may hold printable ASCII characters without spaces")
		}
		same = same && s[i] == s[0]
	}
	if same {
		return telemetry.Invalid("secret_key", "must not be one character repeated")
	}
	return nil
}
