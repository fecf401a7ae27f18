package auth_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

func TestClaimCode_IsReadable(t *testing.T) {
	form := regexp.MustCompile(`^[2-9A-HJKMNP-Z]{4}(-[2-9A-HJKMNP-Z]{4}){2}$`)
	seen := map[string]bool{}
	for range 1000 {
		code := auth.NewClaimCode()
		if !form.MatchString(code) || seen[code] {
			t.Fatalf("got %q, want a new one like K7QP-4M2D-9XWA", code)
		}
		seen[code] = true
	}
}

func TestClaimCode_IsTheSameHoweverItIsTyped(t *testing.T) {
	d := authtest.New(t, auth.Config{}).Directory
	code := "K7QP-4M2D-9XWA"
	want := d.HashClaimCode(code)
	for _, typed := range []string{"k7qp-4m2d-9xwa", "K7QP4M2D9XWA", " K7QP 4M2D 9XWA "} {
		if d.HashClaimCode(typed) != want {
			t.Errorf("%q: got another hash than %q", typed, code)
		}
	}
	for _, other := range []string{"K7QP-4M2D-9XWB", "", strings.Repeat("-", 1<<16)} {
		if d.HashClaimCode(other) == want {
			t.Errorf("%q: got the hash of %q", other, code)
		}
	}
	if d.HashSecret(code) == want || d.HashSecret("K7QP4M2D9XWA") == want {
		t.Error("a device secret has the hash of a claim code")
	}
}

func TestAdmitClaim_BoundsGuessesPerAccountAndAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := authtest.New(t, auth.Config{}).Service
		admitted := func(p auth.Principal) (n int) {
			for range 100 {
				err := s.AdmitClaim(p, afar)
				if _, ok := errors.AsType[*auth.RateError](err); ok && errors.Is(err, telemetry.ErrTooMany) {
					continue
				} else if err != nil {
					t.Fatal(err)
				}
				n++
			}
			return n
		}
		person := func(id int64) auth.Principal { return auth.Principal{Kind: auth.Person, UserID: id} }
		if got := admitted(person(1)); got != 20 {
			t.Errorf("one account: got %d attempts, want 20", got)
		}
		total := 20
		for id := range int64(5) {
			total += admitted(person(2 + id))
		}
		if total != 60 {
			t.Errorf("one address: got %d attempts, want 60", total)
		}
		time.Sleep(time.Minute)
		if got := admitted(person(1)); got != 20 {
			t.Errorf("a minute later: got %d attempts, want 20", got)
		}
	})
}
