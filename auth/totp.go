package auth

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"
)

// Time-based one-time passwords (RFC 6238) as every authenticator app makes them: SHA-1, six digits, steps of 30 s.
const (
	totpPeriod = 30 * time.Second
	totpDigits = 6
	totpSecret = 20 // bytes, as long as the digest (RFC 4226 §4 R6)
	totpSlack  = 1  // steps a phone's clock may be off, either way
)

// totpStep is the step an instant lies in. Phones go by the wall clock, so this is it and not Service.clock.
func totpStep(now time.Time) int64 { return now.Unix() / int64(totpPeriod/time.Second) }

// totp is the code of a step (RFC 4226 §5.3).
func totp(secret []byte, step int64) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash takes everything
	sum := mac.Sum(nil)
	truncated := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0xf:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", totpDigits, truncated%1_000_000)
}

// totpMatch finds the step about now, later than after, whose code it is.
func totpMatch(secret []byte, code string, now time.Time, after int64) (step int64, ok bool) {
	for at := totpStep(now) - totpSlack; at <= totpStep(now)+totpSlack; at++ {
		if subtle.ConstantTimeCompare([]byte(totp(secret, at)), []byte(code)) == 1 && at > after {
			step, ok = at, true
		}
	}
	return step, ok
}

// totpText is the secret as people type it into an app.
func totpText(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// totpURI is the secret as apps read it from a QR code.
func totpURI(username string, secret []byte) string {
	const name = "Sensorcast"
	query := url.Values{"secret": {totpText(secret)}, "issuer": {name}}
	return (&url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + name + ":" + username, RawQuery: query.Encode()}).String()
}
