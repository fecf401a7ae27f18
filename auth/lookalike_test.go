package auth_test

import (
	"regexp"
	"strings"
	"testing"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
)

func TestHoldsSecret_KnowsThoseWeHandOut(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	ada := mustRegister(t, f, "ada")
	p := mustPrincipal(t, f, ada)
	_, token, err := f.Service.CreateToken(t.Context(), p, auth.TokenDraft{Name: "a script", Scopes: []string{auth.ScopeRead}})
	if err != nil {
		t.Fatal(err)
	}
	_, code, _, err := f.Service.Invite(t.Context(), p, "", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{auth.NewDeviceSecret(), f.Directory.SecretOf(f.Directory.NewOnce(1, "key", nil)), ada.RefreshToken, token, code} {
		kind := regexp.MustCompile(`^[a-z]+_`).FindString(secret)
		for _, s := range []string{secret, "mqttjs_" + secret, secret + "\n"} {
			if !auth.HoldsSecret(s) {
				t.Errorf("one of %s…: got false, want true", kind)
			}
		}
		for _, s := range []string{secret[:len(secret)-1], strings.TrimPrefix(secret, kind), kind, "SN1", ""} {
			if auth.HoldsSecret(s) {
				t.Errorf("%q: got true, want false", s)
			}
		}
	}
}
