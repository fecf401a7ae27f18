package api

import (
	"net/http"
	"strings"
	"testing"

	"sensorcast/auth/authtest"
)

const factorPath = "/api/v1/users/me/second-factor"

func TestSecondFactor_FromEnrolmentToItsEnd(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	login := fields{"login": "ada", "password": goodPassword}
	if f := h.call("GET", factorPath, p.access, nil).want(http.StatusOK).fields(); f["enabled"] != false || f["recovery_codes_left"] != 0.0 {
		t.Errorf("at first: got %v, want it off", f)
	}
	h.call("POST", factorPath, p.access, fields{"password": "not the password"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.password")
	begun := h.call("POST", factorPath, p.access, fields{"password": goodPassword}).want(http.StatusOK).fields()
	secret := begun["secret"].(string)
	if uri := begun["uri"].(string); !strings.HasPrefix(uri, "otpauth://totp/Sensorcast:ada?") {
		t.Errorf("got uri %q, want one for apps", uri)
	}
	h.call("POST", factorPath+"/confirm", p.access, fields{"code": "12345"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.code")
	var recovery struct {
		Codes []string `json:"recovery_codes"`
	}
	h.call("POST", factorPath+"/confirm", p.access, fields{"code": authtest.Code(t, secret)}).want(http.StatusOK).into(&recovery)
	if len(recovery.Codes) != 10 {
		t.Fatalf("got %d recovery codes, want 10", len(recovery.Codes))
	}
	h.call("POST", factorPath, p.access, fields{"password": goodPassword}).wantProblem(http.StatusConflict, "conflict")

	h.call("POST", "/api/v1/auth/login", "", login).wantProblem(http.StatusUnauthorized, "second-factor-required")
	wrong := h.call("POST", "/api/v1/auth/login", "", fields{"login": "ada", "password": "not the password"})
	wrong.wantProblem(http.StatusUnauthorized, "unauthenticated")
	login["code"] = "000-000"
	if bad := h.call("POST", "/api/v1/auth/login", "", login).want(http.StatusUnauthorized); string(bad.body) != string(wrong.body) {
		t.Errorf("wrong code: got %s, want what a wrong password gets", bad.body)
	}
	login["code"] = recovery.Codes[0]
	h.call("POST", "/api/v1/auth/login", "", login).want(http.StatusOK)
	h.call("POST", "/api/v1/auth/login", "", login).wantProblem(http.StatusUnauthorized, "unauthenticated")

	if f := h.call("GET", factorPath, p.access, nil).want(http.StatusOK).fields(); f["enabled"] != true || f["recovery_codes_left"] != 9.0 || len(f) != 2 {
		t.Errorf("got %v, want it on with nine codes and nothing else", f)
	}
	off := fields{"password": goodPassword, "code": recovery.Codes[0]}
	h.call("DELETE", factorPath, p.access, off).wantFault(http.StatusUnprocessableEntity, "invalid", "body.code")
	off["code"] = recovery.Codes[1]
	h.call("DELETE", factorPath, p.access, off).want(http.StatusNoContent)
	h.call("DELETE", factorPath, p.access, off).want(http.StatusNotFound)
	delete(login, "code")
	h.call("POST", "/api/v1/auth/login", "", login).want(http.StatusOK)
	for _, secret := range append(recovery.Codes, secret) {
		if strings.Contains(h.logs.String(), secret) {
			t.Error("the log holds a secret of the second factor")
		}
	}
}

// A6: who reads the database must not come by what logs in.
func TestSecondFactor_DatabaseHoldsNoSecretOfIt(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	secret := h.call("POST", factorPath, p.access, fields{"password": goodPassword}).want(http.StatusOK).fields()["secret"].(string)
	var recovery struct {
		Codes []string `json:"recovery_codes"`
	}
	h.call("POST", factorPath+"/confirm", p.access, fields{"code": authtest.Code(t, secret)}).want(http.StatusOK).into(&recovery)
	user, err := h.db.UserByLogin(t.Context(), "ada")
	must(t, err)
	f, err := h.db.SecondFactor(t.Context(), user.ID)
	must(t, err)
	if key := authtest.Key(t, secret); strings.Contains(string(f.Sealed), string(key)) || strings.Contains(string(f.Sealed), secret) {
		t.Error("the store keeps the app's secret in the clear")
	}
	for _, code := range recovery.Codes {
		for _, hash := range f.Recovery {
			if strings.Contains(string(hash[:]), strings.ReplaceAll(code, "-", "")) {
				t.Error("the store keeps a recovery code in the clear")
			}
		}
	}
}
