package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SecondFactor is the authenticator app that somebody logs in with beside the password, as it is kept.
type SecondFactor struct {
	Sealed   []byte     `json:"-"` // what is shared with the app, encrypted under a key outside the database
	On       bool       // false until the app has shown a code
	LastStep int64      // of the newest code that was accepted: neither it nor an older one is again
	Recovery [][32]byte `json:"-"` // hashes of the recovery codes not used yet, under a key outside the database
}

// String hides everything.
func (f SecondFactor) String() string { return "[second factor]" }

// GoString is String.
func (f SecondFactor) GoString() string { return f.String() }

// LogValue is String.
func (f SecondFactor) LogValue() slog.Value { return slog.StringValue(f.String()) }

// SecondFactors is what package auth needs of the store for second factors, beside Accounts and under the same turn. All methods are safe for
// concurrent use and durable when they return nil.
type SecondFactors interface {
	// SecondFactor returns the account's; telemetry.ErrNotFound when it has none.
	SecondFactor(ctx context.Context, userID int64) (SecondFactor, error)
	// PutSecondFactor gives the account this one in place of any it has. telemetry.ErrNotFound when there is no such account.
	PutSecondFactor(ctx context.Context, userID int64, f SecondFactor) error
	// DeleteSecondFactor takes the account's away; having none is no error.
	DeleteSecondFactor(ctx context.Context, userID int64) error
}

const (
	recoveryCodes  = 10
	recoveryLength = 16 // base32: 80 bits, far beyond what the throttles let anybody try
	recoveryGroup  = 4
)

// sealFactors is the purpose of the key that secrets of second factors are sealed with.
const sealFactors = "second factors"

// sealFactor encrypts the secret of an account's second factor; openFactor decrypts it for no other account.
func (k *Keys) sealFactor(userID int64, secret []byte) []byte {
	return k.Sealer(sealFactors).Seal(strconv.FormatInt(userID, 10), secret)
}

func (k *Keys) openFactor(userID int64, sealed []byte) ([]byte, error) {
	secret, err := k.Sealer(sealFactors).Open(strconv.FormatInt(userID, 10), sealed)
	if err != nil {
		return nil, fmt.Errorf("open second factor, was %s replaced? %w", KeyFile, err)
	}
	return secret, nil
}

// newRecoveryCodes returns codes to be written down, in groups of four, and what is stored of them.
func (k *Keys) newRecoveryCodes() (codes []string, hashes [][32]byte) {
	for range recoveryCodes {
		code := strings.ToLower(rand.Text()[:recoveryLength])
		hashes = append(hashes, k.hashRecovery(code))
		groups := slices.Collect(slices.Chunk([]byte(code), recoveryGroup))
		codes = append(codes, fmt.Sprintf("%s-%s-%s-%s", groups[0], groups[1], groups[2], groups[3]))
	}
	return codes, hashes
}

// hashRecovery hashes a code however it was typed. A fast hash is enough because codes are random and the key is not in the database.
func (k *Keys) hashRecovery(code string) [32]byte {
	mac := hmac.New(sha256.New, k.recovery)
	mac.Write([]byte(strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(code))))
	return [32]byte(mac.Sum(nil))
}

// spend returns f without the code, which is the app's or a recovery code, if it is one that was not used before.
func (k *Keys) spend(userID int64, f SecondFactor, code string, now time.Time) (left SecondFactor, ok bool, err error) {
	if len(code) == totpDigits {
		secret, err := k.openFactor(userID, f.Sealed)
		if err != nil {
			return f, false, err
		}
		step, ok := totpMatch(secret, code, now, f.LastStep)
		if ok {
			f.LastStep = step
		}
		return f, ok, nil
	}
	at := slices.Index(f.Recovery, k.hashRecovery(code))
	if at < 0 {
		return f, false, nil
	}
	f.Recovery = slices.Delete(slices.Clone(f.Recovery), at, at+1)
	return f, true, nil
}
