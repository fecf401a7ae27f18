package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
)

// Sealer encrypts what has to be read again and yet must not lie open in the database, such as the addresses of people's chats, which hold
// tokens. Its key comes from the pepper: what is sealed must outlive the rotation of signing keys. Immutable, safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// Sealer returns the one for a purpose; what one purpose sealed no other opens.
func (k *Keys) Sealer(purpose string) *Sealer {
	key, err := hkdf.Expand(sha256.New, k.seal, "sensorcast seal v1 "+purpose, minKeyBytes)
	if err != nil {
		panic(fmt.Sprintf("derive a key: %v", err)) // only a length out of bounds fails
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(fmt.Sprintf("AES: %v", err)) // as above
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(fmt.Sprintf("GCM: %v", err)) // as above
	}
	return &Sealer{aead}
}

// Seal encrypts text for the owner, without whose name it cannot be opened: a row copied to another place in the database is worthless.
func (s *Sealer) Seal(owner string, text []byte) []byte {
	return s.aead.Seal(nil, nil, text, []byte(owner))
}

var errSealed = errors.New("cannot be unsealed: it was sealed with other keys, or changed")

// Open returns what Seal was given. The error says nothing of the text.
func (s *Sealer) Open(owner string, sealed []byte) ([]byte, error) {
	text, err := s.aead.Open(nil, nil, sealed, []byte(owner))
	if err != nil {
		return nil, errSealed
	}
	return text, nil
}

// String hides everything.
func (s *Sealer) String() string { return "[sealer]" }

// GoString is String.
func (s *Sealer) GoString() string { return s.String() }

// LogValue is String.
func (s *Sealer) LogValue() slog.Value { return slog.StringValue(s.String()) }
