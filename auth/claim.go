package auth

import (
	"net/netip"
	"strings"

	"sensorcast/telemetry"
)

// A claim code is what an owner hands over together with a sensor: whoever claims with it becomes the owner. It is typed from a label or a
// letter, so it is short; 59 bits are more than can be tried at claimsPerMinute before the code has expired.
const (
	claimCodeGroups = 3
	claimCodeGroup  = 4  // characters
	claimsPerMinute = 20 // of one account; three times as many of one address
)

// NewClaimCode returns a code such as K7QP-4M2D-9XWA.
func NewClaimCode() string {
	groups := make([]string, claimCodeGroups)
	for i := range groups {
		groups[i] = Unambiguous(claimCodeGroup)
	}
	return strings.Join(groups, "-")
}

// HashClaimCode returns what is stored of a claim code. Lower case, blanks and missing hyphens are forgiven.
func (d *Directory) HashClaimCode(code string) [32]byte {
	if len(code) > maxDeviceSecret {
		code = "" // no code is that long, and none is empty
	}
	plain := strings.NewReplacer("-", "", " ", "").Replace(strings.ToUpper(code))
	return d.HashSecret("claim code " + plain) // a device secret has no blanks, so the hash is never that of one
}

// AdmitClaim books one attempt to claim a sensor, whatever comes of it. *RateError when the account or address has made too many.
func (s *Service) AdmitClaim(p Principal, remote netip.Addr) error {
	now := s.clock.now()
	wait := s.limits.claims.accounts.take(p.Scope(), now)
	if wait == 0 {
		wait = s.limits.claims.addresses.take(addressKey(remote), now)
	}
	if wait > 0 {
		s.counts.claimsThrottled.Add(1)
		return &RateError{RetryAfter: wait}
	}
	return nil
}

// Transfer is a sensor's open offer to whoever has its claim code.
type Transfer struct {
	Code      [32]byte `json:"-"` // what HashClaimCode returns
	Username  string   // who alone may claim; empty: anybody
	ExpiresAt telemetry.Millis
}

// Unambiguous returns n random letters and digits, none of which is mistaken for another when read from a label.
func Unambiguous(n int) string {
	const alphabet = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
	const unbiased = 256 - 256%len(alphabet) // bytes from here on would favour the first characters
	text := make([]byte, 0, n)
	for len(text) < n {
		for _, c := range randomBytes(n) {
			if int(c) < unbiased && len(text) < n {
				text = append(text, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return string(text)
}
