package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// Once makes the creation of a sensor the same however often a client asks for it, not knowing whether it was heard. What is kept of it tells
// neither key nor body, and the secret of the sensor is not kept at all: it is made anew, of Key, Salt and a key outside the database.
type Once struct {
	Key  [32]byte // which creation it is: HMAC of the account and its Idempotency-Key
	Body [32]byte // what was asked for: HMAC, since a secret of the client's own may be part of it
	Salt [16]byte // random, so that a key that is used again when it is forgotten makes another secret
}

// NewOnce returns the Once of a person's key and body.
func (d *Directory) NewOnce(userID int64, key string, body []byte) Once {
	o := Once{
		Key:  d.derive("key", binary.BigEndian.AppendUint64(nil, uint64(userID)), []byte(key)),
		Body: d.derive("body", body),
	}
	copy(o.Salt[:], randomBytes(len(o.Salt)))
	return o
}

// SecretOf returns the device secret that belongs to o, in the form of NewDeviceSecret.
func (d *Directory) SecretOf(o Once) string {
	secret := d.derive("secret", o.Key[:], o.Salt[:])
	return deviceSecretPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
}

// derive is HMAC-SHA256 of its parts under the key for creations. purpose keeps results apart, and only the last part varies in length.
func (d *Directory) derive(purpose string, parts ...[]byte) (sum [32]byte) {
	mac := hmac.New(sha256.New, d.creation)
	mac.Write([]byte(purpose + "\x00"))
	for _, part := range parts {
		mac.Write(part)
	}
	mac.Sum(sum[:0])
	return sum
}
