package auth_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

// satchel is a Courier that keeps errands until the test has them written.
type satchel struct {
	mu      sync.Mutex
	errands []func(context.Context) (auth.Letter, error)
}

func (s *satchel) Post(write func(context.Context) (auth.Letter, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errands = append(s.errands, write)
}

// open has what waits written, and returns the letters there were.
func (s *satchel) open(t testing.TB) (letters []auth.Letter) {
	t.Helper()
	s.mu.Lock()
	errands := s.errands
	s.errands = nil
	s.mu.Unlock()
	for _, write := range errands {
		l, err := write(t.Context())
		if err != nil {
			t.Errorf("write letter: %v", err)
		}
		if l != (auth.Letter{}) {
			letters = append(letters, l)
		}
	}
	return letters
}

// one returns the only letter there is to the address.
func (s *satchel) one(t testing.TB, to, subject string) auth.Letter {
	t.Helper()
	letters := s.open(t)
	if len(letters) != 1 || letters[0].To != to || !strings.Contains(letters[0].Subject, subject) {
		t.Fatalf("letters: got %+v, want one to %s about %q", letterHeads(letters), to, subject)
	}
	return letters[0]
}

func letterHeads(letters []auth.Letter) (heads []string) {
	for _, l := range letters {
		heads = append(heads, l.To+": "+l.Subject)
	}
	return heads
}

var codePattern = regexp.MustCompile(`(?:ev|pr|inv)_[A-Za-z0-9_-]{43}`)

func codeIn(t testing.TB, l auth.Letter) string {
	t.Helper()
	code := codePattern.FindString(l.Text)
	if code == "" {
		t.Fatalf("no code in\n%s", l.Text)
	}
	return code
}

// withMail is a Fixture that sends letters, with the admin ada and bob, both confirmed.
func withMail(t testing.TB, cfg auth.Config) (f *authtest.Fixture, mail *satchel, ada, bob auth.Principal) {
	t.Helper()
	mail = new(satchel)
	cfg.Courier = mail
	f = authtest.New(t, cfg)
	for _, p := range []struct {
		name string
		into *auth.Principal
	}{{"ada", &ada}, {"bob", &bob}} {
		*p.into = mustPrincipal(t, f, mustRegister(t, f, p.name))
		if err := errorOf(f.Service.ConfirmEmail(t.Context(), codeIn(t, mail.one(t, p.name+"@example.org", "Confirm")))); err != nil {
			t.Fatalf("confirm: %v", err)
		}
	}
	return f, mail, ada, bob
}

func wantInvalid(t testing.TB, what string, err error, field string) {
	t.Helper()
	if fe, ok := errors.AsType[*telemetry.FieldError](err); !ok || fe.Field != field || !errors.Is(err, telemetry.ErrInvalid) {
		t.Errorf("%s: got %v, want ErrInvalid that names %s", what, err, field)
	}
}

func TestConfirmEmail_WorksOnceForTheAddressItWasSentTo(t *testing.T) {
	f, mail, ada, _ := withMail(t, auth.Config{})
	if u, err := f.Service.Me(t.Context(), ada); err != nil || u.EmailVerifiedAt == 0 {
		t.Errorf("after the confirmation: got %v, %v, want it noted", u.EmailVerifiedAt, err)
	}
	if err := f.Service.SendVerification(t.Context(), ada, afar); !errors.Is(err, telemetry.ErrConflict) {
		t.Errorf("another letter for a confirmed address: got %v, want ErrConflict", err)
	}
	change := func(email string) {
		t.Helper()
		if _, err := f.Service.UpdateProfile(t.Context(), ada, auth.ProfileChange{Email: &email, Password: password}); err != nil {
			t.Fatalf("change address: %v", err)
		}
	}
	change("one@example.org")
	letters := mail.open(t)
	if got, want := letterHeads(letters), []string{"ada@example.org: Your e-mail address was changed", "one@example.org: Confirm your e-mail address"}; !slices.Equal(got, want) {
		t.Fatalf("letters: got %v, want %v", got, want)
	}
	if strings.Contains(letters[0].Text, "one@") {
		t.Errorf("who has the old address learns the new one:\n%s", letters[0].Text)
	}
	first := codeIn(t, letters[1])
	if u, _ := f.Service.Me(t.Context(), ada); u.EmailVerifiedAt != 0 {
		t.Error("a new address counts as confirmed")
	}
	change("two@example.org")
	second := codeIn(t, mail.open(t)[1])
	wantInvalid(t, "token for the address before", errorOf(f.Service.ConfirmEmail(t.Context(), first)), "token")
	if err := errorOf(f.Service.ConfirmEmail(t.Context(), second)); err != nil {
		t.Errorf("confirm: got %v, want nil", err)
	}
	wantInvalid(t, "token used before", errorOf(f.Service.ConfirmEmail(t.Context(), second)), "token")
	// A letter that was being written while the address changed.
	overtaken := "ev_" + strings.Repeat("x", 43)
	sum := sha256.Sum256([]byte(overtaken))
	stray := auth.LetterToken{Hash: sum[:], Purpose: auth.VerifyEmail, UserID: ada.UserID, Email: "one@example.org", ExpiresAt: telemetry.Now().Add(time.Hour)}
	if err := f.Store.KeepLetterToken(t.Context(), stray); err != nil {
		t.Fatal(err)
	}
	wantInvalid(t, "token for an address of before", errorOf(f.Service.ConfirmEmail(t.Context(), overtaken)), "token")
	for _, token := range []string{"", "ev_", "x", second[:len(second)-1], strings.Repeat("ev_", 1000), "pr_" + second[3:]} {
		wantInvalid(t, fmt.Sprintf("token %.10q", token), errorOf(f.Service.ConfirmEmail(t.Context(), token)), "token")
	}
}

func TestLetters_AreThrottledByRecipientAndByWhoAsksKnownAndUnknownAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, mail, _, _ := withMail(t, auth.Config{})
		for _, email := range []string{"bob@example.org", "nobody@example.org"} {
			for i := range 6 {
				err := f.Service.RequestReset(t.Context(), []string{email, strings.ToUpper(email)}[i%2], afar)
				if re, limited := errors.AsType[*auth.RateError](err); limited != (i == 5) || limited && re.RetryAfter != 12*time.Minute {
					t.Errorf("request %d for %s: got %v, want the sixth refused for 12 min", i+1, email, err)
				}
			}
		}
		if got := len(mail.open(t)); got != 5 {
			t.Errorf("letters: got %d, want 5", got)
		}
		limited := 0
		for i := range 40 {
			if err := f.Service.RequestReset(t.Context(), fmt.Sprintf("p%d@example.org", i), afar); errors.Is(err, telemetry.ErrTooMany) {
				limited++
			}
		}
		if limited != 20 {
			t.Errorf("refused of 40 more from one address: got %d, want 20", limited)
		}
		if err := f.Service.RequestReset(t.Context(), "p99@example.org", here); err != nil {
			t.Errorf("from elsewhere: got %v, want nil", err)
		}
	})
}

func TestLetterTokens_Expire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, mail, _, _ := withMail(t, auth.Config{})
		if err := f.Service.RequestReset(t.Context(), "bob@example.org", afar); err != nil {
			t.Fatal(err)
		}
		reset := codeIn(t, mail.one(t, "bob@example.org", "new password"))
		if _, err := f.Service.UpdateProfile(t.Context(), mustPrincipal(t, f, mustRegister(t, f, "eve")), auth.ProfileChange{}); err != nil {
			t.Fatal(err)
		}
		verify := codeIn(t, mail.one(t, "eve@example.org", "Confirm"))
		time.Sleep(time.Hour)
		wantInvalid(t, "reset after an hour", errorOf(f.Service.ResetPassword(t.Context(), reset, newPassword, afar)), "token")
		time.Sleep(23 * time.Hour)
		wantInvalid(t, "verification after a day", errorOf(f.Service.ConfirmEmail(t.Context(), verify)), "token")
	})
}

func TestLetters_WithoutMailEverythingElseWorks(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	for what, err := range map[string]error{
		"verification": f.Service.SendVerification(t.Context(), p, afar),
		"reset":        f.Service.RequestReset(t.Context(), "ada@example.org", afar),
	} {
		if !errors.Is(err, auth.ErrNoMail) {
			t.Errorf("%s: got %v, want ErrNoMail", what, err)
		}
	}
	if _, _, mailed, err := f.Service.Invite(t.Context(), p, "bob@example.org", "", 0); err != nil || mailed {
		t.Errorf("Invite: got mailed %v, %v, want the code alone", mailed, err)
	}
}

// Links are made from the operator's setting only; without one there is none. No stranger's words are in a letter.
func TestLetters_HoldALinkOrACodeAndNobodysFreeText(t *testing.T) {
	for _, public := range []string{"", "https://sensors.example.org/cast"} {
		mail := new(satchel)
		f := authtest.New(t, auth.Config{Courier: mail, PublicURL: public})
		r := registration("ada")
		r.FirstName, r.LastName = "Visit http://evil.example", "now"
		g, err := f.Service.Register(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		p := mustPrincipal(t, f, g)
		letters := mail.open(t)
		if err := errorOf(f.Service.ConfirmEmail(t.Context(), codeIn(t, letters[0]))); err != nil {
			t.Fatal(err)
		}
		if err := f.Service.RequestReset(t.Context(), "ada@example.org", afar); err != nil {
			t.Fatal(err)
		}
		if _, _, mailed, err := f.Service.Invite(t.Context(), p, "bob@example.org", "", 0); err != nil || !mailed {
			t.Fatalf("Invite: got mailed %v, %v", mailed, err)
		}
		for i, l := range append(letters, mail.open(t)...) {
			page := []string{"/confirm-email#", "/reset-password#", "/register#"}[i]
			if link := "\n    " + public + page + codeIn(t, l) + "\n"; strings.Contains(l.Text, link) != (public != "") || strings.Contains(l.Text, "://") != (public != "") {
				t.Errorf("public URL %q: got\n%s", public, l.Text)
			}
			if strings.Contains(l.Text, "evil") || strings.ContainsAny(l.Subject, "\r\n") {
				t.Errorf("a stranger's words: got %q\n%s", l.Subject, l.Text)
			}
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", auth.Letter{Text: "secret", To: "ada@"}, auth.Letter{Text: "secret", To: "ada@"}, auth.Letter{Text: "secret", To: "ada@"}); strings.Contains(text, "secret") || strings.Contains(text, "ada@") {
		t.Errorf("printed: %s", text)
	}
}
