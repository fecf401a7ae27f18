package auth_test

import (
	"crypto"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

// The masters of the forger's keys.json: he knows everything but may only succeed by being honest.
var (
	masterNew = []byte("a signing master for tests, 32 b+")
	masterOld = []byte("the signing master before that, 32")
)

func knownKeys(t testing.TB, masters ...map[string]any) *auth.Keys {
	t.Helper()
	dir := t.TempDir()
	text, err := json.Marshal(map[string]any{"signing": masters, "pepper": []byte("a pepper for tests of 32 bytes, yes")})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "keys.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := auth.LoadKeys(dir)
	if err != nil {
		t.Fatalf("load keys: %v", err)
	}
	return keys
}

func forgersKeys(t testing.TB) *auth.Keys {
	return knownKeys(t, map[string]any{"kid": "new", "secret": masterNew}, map[string]any{"kid": "old", "secret": masterOld})
}

func derive(t testing.TB, master []byte, label string) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, master, nil, label, 32)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// forge signs claims with full control of header and key.
func forge(t testing.TB, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func part(t testing.TB, token string, i int) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// with returns a copy of m with one entry changed, or removed when value is nil.
func with(m map[string]any, name string, value any) map[string]any {
	m = maps.Clone(m)
	if m[name] = value; value == nil {
		delete(m, name)
	}
	return m
}

// kindOfToken is a kind of token with the door that takes it.
type kindOfToken struct {
	name, label, token string
	open               func(string) error
	mint               func() string // a new one
}

func kindsOfToken(t testing.TB) []kindOfToken {
	t.Helper()
	f := authtest.Restart(t, auth.Config{}, forgersKeys(t), authtest.NewMemory())
	grant := mustRegister(t, f, "ada")
	p, err := f.Service.Authenticate(grant.AccessToken)
	if err != nil {
		t.Fatalf("authenticate: %v", err)
	}
	mint := func() string { // also called inside fuzz targets, where t must not be touched
		ticket, err := f.Service.MintTicket(p, nil, true)
		if err != nil {
			panic(err)
		}
		return ticket.Token
	}
	return []kindOfToken{
		{"access", "sensorcast access token v1", grant.AccessToken, func(s string) error { _, err := f.Service.Authenticate(s); return err }, func() string { return grant.AccessToken }},
		{"ticket", "sensorcast ticket v1", mint(), func(s string) error { _, err := f.Service.RedeemTicket(s); return err }, mint},
	}
}

func TestTokens_MatrixOfForgeries(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	kinds := kindsOfToken(t)
	for i, k := range kinds {
		key := derive(t, masterNew, k.label)
		otherKind := kinds[1-i]
		otherKey := derive(t, masterNew, otherKind.label)
		header, claims := part(t, k.token, 0), part(t, k.token, 1)
		hs := jwt.SigningMethodHS256
		now := float64(time.Now().UnixMilli()) / 1000
		for what, token := range map[string]string{
			"the other kind of token":         otherKind.token,
			"other kind's key":                forge(t, hs, otherKey, header, claims),
			"other kind's typ":                forge(t, hs, key, with(header, "typ", part(t, otherKind.token, 0)["typ"]), claims),
			"plain JWT typ":                   forge(t, hs, key, with(header, "typ", "JWT"), claims),
			"no typ":                          forge(t, hs, key, with(header, "typ", ""), claims),
			"typ in capitals":                 forge(t, hs, key, with(header, "typ", strings.ToUpper(header["typ"].(string))), claims),
			"other kind's audience":           forge(t, hs, key, header, with(claims, "aud", part(t, otherKind.token, 1)["aud"])),
			"both audiences":                  forge(t, hs, key, header, with(claims, "aud", []any{claims["aud"], "x"})),
			"no audience":                     forge(t, hs, key, header, with(claims, "aud", nil)),
			"other issuer":                    forge(t, hs, key, header, with(claims, "iss", "somebody")),
			"no issuer":                       forge(t, hs, key, header, with(claims, "iss", nil)),
			"no exp":                          forge(t, hs, key, header, with(claims, "exp", nil)),
			"exp null":                        forge(t, hs, key, header, with(claims, "exp", json.RawMessage("null"))),
			"exp zero":                        forge(t, hs, key, header, with(claims, "exp", 0)),
			"exp in the past":                 forge(t, hs, key, header, with(claims, "exp", now-0.001)),
			"exp as text":                     forge(t, hs, key, header, with(claims, "exp", "9999999999")),
			"exp beyond reason":               forge(t, hs, key, header, with(claims, "exp", 1e300)),
			"exp negative":                    forge(t, hs, key, header, with(claims, "exp", -1)),
			"no subject":                      forge(t, hs, key, header, with(with(claims, "sub", nil), "sid", nil)),
			"alg none":                        forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, withAlg(header, "none"), claims),
			"alg HS384":                       forge(t, jwt.SigningMethodHS384, key, withAlg(header, "HS384"), claims),
			"alg HS512":                       forge(t, jwt.SigningMethodHS512, key, withAlg(header, "HS512"), claims),
			"alg RS256":                       forge(t, jwt.SigningMethodRS256, rsaKey, withAlg(header, "RS256"), claims),
			"header says RS256, signed HS256": forge(t, hs, key, withAlg(header, "RS256"), claims),
			"header says none, signed HS256":  forge(t, hs, key, withAlg(header, "none"), claims),
			"header says hs256":               forge(t, hs, key, withAlg(header, "hs256"), claims),
			"unknown kid":                     forge(t, hs, key, with(header, "kid", "foreign"), claims),
			"no kid":                          forge(t, hs, key, with(header, "kid", ""), claims),
			"kid is a number":                 forge(t, hs, key, with(header, "kid", 1), claims),
			"kid of another key":              forge(t, hs, key, with(header, "kid", "old"), claims),
			"kid with a path":                 forge(t, hs, key, with(header, "kid", "../new"), claims),
			"foreign key with jwk":            forge(t, hs, []byte("attacker"), with(header, "jwk", map[string]any{"kty": "oct", "k": "YXR0YWNrZXI"}), claims),
			"foreign key with jku":            forge(t, hs, []byte("attacker"), with(header, "jku", "http://127.0.0.1/keys"), claims),
			"foreign key with x5u and no kid": forge(t, hs, []byte("attacker"), with(with(header, "x5u", "http://127.0.0.1/"), "kid", ""), claims),
			"the master itself as key":        forge(t, hs, masterNew, header, claims),
			"empty key":                       forge(t, hs, []byte{}, header, claims),
			"RSA key as HMAC secret":          forge(t, hs, rsaKey.PublicKey.N.Bytes(), header, claims),
			"no signature":                    k.token[:strings.LastIndexByte(k.token, '.')+1],
			"two parts":                       k.token[:strings.LastIndexByte(k.token, '.')],
			"four parts":                      k.token + ".x",
			"JSON serialisation":              `{"payload":"","signatures":[]}`,
			"white space":                     " " + k.token,
			"line feed at the end":            k.token + "\n",
			"line feed in the middle":         strings.Replace(k.token, ".", "\n.", 1),
			"padding":                         k.token + "=",
			"empty":                           "",
			"dots":                            "..",
			"huge":                            k.token + strings.Repeat("A", 1<<20),
			"refresh token":                   "rt_" + strings.Repeat("A", 43),
			"claims null":                     rawForge(key, header, "null"),
			"claims an array":                 rawForge(key, header, "[]"),
			"claims deeply nested":            rawForge(key, header, strings.Repeat("[", 5000)),
			"claims empty":                    rawForge(key, header, "{}"),
		} {
			if err := k.open(token); !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Errorf("%s with %s: got %v, want ErrUnauthenticated", k.name, what, err)
			}
		}
		// The forger's tools do work: the honest token, made with them, is accepted, also from the previous key.
		old := forge(t, hs, derive(t, masterOld, k.label), with(header, "kid", "old"), with(claims, "jti", "another"))
		for what, token := range map[string]string{"honest": forge(t, hs, key, header, claims), "previous key": old} {
			if err := k.open(token); err != nil {
				t.Errorf("%s, %s: got %v, want nil", k.name, what, err)
			}
		}
	}
}

func withAlg(header map[string]any, alg string) map[string]any { return with(header, "alg", alg) }

// rawForge signs a payload that no library would make.
func rawForge(key []byte, header map[string]any, payload string) string {
	h, _ := json.Marshal(header)
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sig, err := (&jwt.SigningMethodHMAC{Name: "HS256", Hash: crypto.SHA256}).Sign(text, key)
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestTokens_CarryWhatTheContractNames(t *testing.T) {
	kinds := kindsOfToken(t)
	for i, want := range []struct{ typ, aud string }{{"at+jwt", "sensorcast/api"}, {"ticket+jwt", "sensorcast/ws"}} {
		header, claims := part(t, kinds[i].token, 0), part(t, kinds[i].token, 1)
		if header["typ"] != want.typ || header["alg"] != "HS256" || header["kid"] != "new" {
			t.Errorf("header of %s: got %v, want typ %s, HS256, kid new", kinds[i].name, header, want.typ)
		}
		if claims["aud"] != want.aud || claims["iss"] != "sensorcast" || claims["sub"] != "1" || claims["sid"] == nil || len(claims["jti"].(string)) < 22 {
			t.Errorf("claims of %s: got %v", kinds[i].name, claims)
		}
	}
	if c := part(t, kinds[1].token, 1); c["type"] != "user" {
		t.Errorf("ticket's type: got %v, want user", c["type"])
	}
}

func TestTokens_ExpireToTheMillisecond(t *testing.T) {
	for _, ttl := range []time.Duration{time.Millisecond, 300 * time.Millisecond, 5 * time.Second, 30 * time.Second} {
		for _, late := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(123456789 * time.Nanosecond) // so that nothing falls on a full second by luck
				f := authtest.New(t, auth.Config{TicketTTL: ttl, AccessTTL: ttl})
				grant := mustRegister(t, f, "ada")
				p, err := f.Service.Authenticate(grant.AccessToken)
				if err != nil {
					t.Fatalf("access token at once: got %v, want nil", err)
				}
				ticket := mustMintAll(t, f, p)
				wait := time.Until(ticket.ExpiresAt)
				if wait <= ttl-time.Millisecond || wait > ttl {
					t.Errorf("life of a ticket: got %v, want %v", wait, ttl)
				}
				if !late {
					wait -= time.Nanosecond
				}
				time.Sleep(wait)
				_, err = f.Service.RedeemTicket(ticket.Token)
				_, aerr := f.Service.Authenticate(grant.AccessToken)
				for what, err := range map[string]error{"ticket": err, "access token": aerr} {
					if late != errors.Is(err, telemetry.ErrUnauthenticated) || !late && err != nil {
						t.Errorf("%s of %v, at its end %v: got %v", what, ttl, late, err)
					}
				}
			})
		}
	}
}

func TestKeys_RotationKeepsTokensAndDroppedKeyEndsThem(t *testing.T) {
	store := authtest.NewMemory()
	before := authtest.Restart(t, auth.Config{}, knownKeys(t, map[string]any{"kid": "old", "secret": masterOld}), store)
	token := mustRegister(t, before, "ada").AccessToken
	during := authtest.Restart(t, auth.Config{}, forgersKeys(t), store)
	if _, err := during.Service.Authenticate(token); err != nil {
		t.Errorf("after a new key was put in front: got %v, want nil", err)
	}
	after := authtest.Restart(t, auth.Config{}, knownKeys(t, map[string]any{"kid": "new", "secret": masterNew}), store)
	if _, err := after.Service.Authenticate(token); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("after the old key was dropped: got %v, want ErrUnauthenticated", err)
	}
}

func FuzzRedeemTicket(f *testing.F) { fuzzTokens(f, 1) }
func FuzzAuthenticate(f *testing.F) { fuzzTokens(f, 0) }

// fuzzTokens replaces a piece of an honest token: nothing but the token itself is ever accepted, and nothing panics.
func fuzzTokens(f *testing.F, kind int) {
	f.Add(0, 1, []byte("e"))
	f.Add(100, 3, []byte("x.y"))
	f.Add(5000, 0, []byte("=="))
	k := kindsOfToken(f)[kind]
	f.Fuzz(func(t *testing.T, at, cut int, insert []byte) {
		token := k.mint()
		at = min(max(at, 0), len(token))
		end := min(at+min(max(cut, 0), len(token)), len(token))
		mutant := token[:at] + string(insert) + token[end:]
		if err := k.open(mutant); (err == nil) != (mutant == token) {
			t.Errorf("%q, mutated from %q: got %v", mutant, token, err)
		}
	})
}
