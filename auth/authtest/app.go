package authtest

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// Code is what an authenticator app with that secret shows now. It is written here once more, so that package auth is not its own judge.
func Code(t testing.TB, secret string) string {
	t.Helper()
	var step [8]byte
	binary.BigEndian.PutUint64(step[:], uint64(time.Now().Unix()/30))
	mac := hmac.New(sha1.New, Key(t, secret))
	mac.Write(step[:])
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[sha1.Size-1]&15:])&(1<<31-1)%1_000_000)
}

// Key is what a secret of a second factor spells.
func Key(t testing.TB, secret string) []byte {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil || len(key) != sha1.Size {
		t.Fatalf("secret of a second factor: got %d bytes, %v, want %d in base32", len(key), err, sha1.Size)
	}
	return key
}
