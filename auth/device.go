package auth

import (
	"cmp"
	"encoding/base64"
	"log/slog"
	"slices"

	"sensorcast/telemetry"
)

const (
	minDeviceSecret = 16
	maxDeviceSecret = 128 // hashing is linear; a client may send 64 KiB as its password
)

// Device is what the doors need to know of a sensor, kept in memory. Its slices are shared: never write to them, put a new Device instead.
type Device struct {
	SensorID int64
	Serial   string
	OwnerID  int64
	Secrets  []Secret // two while a rotation is in its grace
	Shares   []Share  // by UserID, ascending; at most MaxShares
}

// MaxShares is with how many people a sensor may be shared. Each delivery of its messages looks among them.
const MaxShares = 100

// Share lets somebody else see a sensor or manage it.
type Share struct {
	UserID int64
	Access Access // ViewerAccess or ManagerAccess
}

// Shared is a share as people see it.
type Shared struct {
	Share
	Username string
	Since    telemetry.Millis // when the access was given, or last changed
}

// AccessOf is what the person of that number is to the sensor. It allocates nothing.
func (d Device) AccessOf(userID int64) Access {
	if userID == 0 {
		return NoAccess
	}
	if userID == d.OwnerID {
		return OwnerAccess
	}
	if i, shared := slices.BinarySearchFunc(d.Shares, userID, Share.compare); shared {
		return d.Shares[i].Access
	}
	return NoAccess
}

func (s Share) compare(userID int64) int { return cmp.Compare(s.UserID, userID) }

// SharedWith returns the shares with the person's set to access; NoAccess takes it away. The result is the caller's.
func (d Device) SharedWith(userID int64, access Access) []Share {
	i, shared := slices.BinarySearchFunc(d.Shares, userID, Share.compare)
	shares := slices.Clone(d.Shares)
	switch {
	case shared && access == NoAccess:
		return slices.Delete(shares, i, i+1)
	case shared:
		shares[i].Access = access
	case access != NoAccess:
		return slices.Insert(shares, i, Share{UserID: userID, Access: access})
	}
	return shares
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
func NewDeviceSecret() string {
	return deviceSecretPrefix + base64.RawURLEncoding.EncodeToString(randomBytes(32))
}

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
