package auth

import (
	"net/url"
	"testing"
	"time"
)

// TestTOTP_IsThatOfRFC6238 has the SHA-1 rows of its appendix B, whose codes of eight digits end in ours of six.
func TestTOTP_IsThatOfRFC6238(t *testing.T) {
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		if got := totp([]byte("12345678901234567890"), totpStep(time.Unix(at, 0))); got != want {
			t.Errorf("code at %d: got %s, want %s", at, got, want)
		}
	}
}

func TestTOTP_TakesACodeOneStepOffAndNoneTwice(t *testing.T) {
	secret, now := randomBytes(totpSecret), time.Unix(1_800_000_000, 0)
	for off := int64(-3); off <= 3; off++ {
		code := totp(secret, totpStep(now)+off)
		step, ok := totpMatch(secret, code, now, 0)
		if want := off >= -1 && off <= 1; ok != want || ok && step != totpStep(now)+off {
			t.Errorf("code %+d steps off: got %d, %v, want %v", off, step, ok, want)
		}
		if _, ok := totpMatch(secret, code, now, totpStep(now)+off); ok {
			t.Errorf("code %+d steps off, again: got it accepted, want refused", off)
		}
	}
	if _, ok := totpMatch(secret, totp(secret, totpStep(now)-1), now, totpStep(now)); ok {
		t.Error("older than one that was used: got it accepted, want refused")
	}
	for _, code := range []string{"", "12345", "1234567", "abcdef", "      "} {
		if _, ok := totpMatch(secret, code, now, 0); ok {
			t.Errorf("%q: got it accepted", code)
		}
	}
}

func TestTOTP_URIIsWhatAppsRead(t *testing.T) {
	u, err := url.Parse(totpURI("ada.l-o_v", []byte("12345678901234567890")))
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Sensorcast:ada.l-o_v" {
		t.Errorf("got %v, %v", u, err)
	}
	if q := u.Query(); q.Get("secret") != "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" || q.Get("issuer") != "Sensorcast" {
		t.Errorf("query: got %v", q)
	}
}

func TestKeys_SealedFactorOpensForItsAccountAndKeysOnly(t *testing.T) {
	keys, err := LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	secret := randomBytes(totpSecret)
	sealed := keys.sealFactor(1, secret)
	if got, err := keys.openFactor(1, sealed); err != nil || string(got) != string(secret) {
		t.Errorf("its own: got %x, %v, want %x", got, err, secret)
	}
	if _, err := keys.openFactor(2, sealed); err == nil {
		t.Error("moved to another account: got it opened")
	}
	if _, err := other.openFactor(1, sealed); err == nil {
		t.Error("under other keys: got it opened")
	}
	if string(keys.sealFactor(1, secret)) == string(sealed) {
		t.Error("sealed twice: got the same, want another nonce")
	}
}
