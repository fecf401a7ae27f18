package auth_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func TestResetPassword_EndsEverythingAndWorksOnce(t *testing.T) {
	f, mail, _, bob := withMail(t, auth.Config{LoginFailuresPerMinute: 2})
	over, err := f.Service.Password(t.Context(), "bob", password, afar)
	if err != nil {
		t.Fatal(err)
	}
	reset := func() string {
		t.Helper()
		if err := f.Service.RequestReset(t.Context(), "BOB@example.org", afar); err != nil {
			t.Fatalf("RequestReset: %v", err)
		}
		return codeIn(t, mail.one(t, "bob@example.org", "new password"))
	}
	token, other := reset(), reset()
	for range 2 { // somebody guesses meanwhile
		_, _ = f.Service.Login(t.Context(), logsIn("bob", "wrong-password", here))
	}
	wantInvalid(t, "weak password", errorOf(f.Service.ResetPassword(t.Context(), token, "password123", afar)), "new_password")
	changes := watch(f)
	if err := errorOf(f.Service.ResetPassword(t.Context(), token, newPassword, afar)); err != nil {
		t.Fatalf("ResetPassword: got %v, want nil", err)
	}
	if got := changes.take(); !slices.Equal(got, []auth.Change{{Kind: auth.UserEnded, UserID: bob.UserID}}) || f.Service.Live(bob) || f.Service.Live(over) {
		t.Errorf("after it: got changes %+v, live %v, %v, want everything ended", got, f.Service.Live(bob), f.Service.Live(over))
	}
	if _, err := f.Service.Login(t.Context(), logsIn("bob", newPassword, afar)); err != nil {
		t.Errorf("new password, after guesses of others: got %v, want nil", err)
	}
	mail.one(t, "bob@example.org", "was changed")
	wantInvalid(t, "used token", errorOf(f.Service.ResetPassword(t.Context(), token, newPassword, noAddr)), "token")
	wantInvalid(t, "token of before", errorOf(f.Service.ResetPassword(t.Context(), other, newPassword, noAddr)), "token")
	if err := errorOf(f.Service.ResetPassword(t.Context(), token, newPassword, noAddr)); !errors.Is(err, telemetry.ErrInvalid) {
		t.Errorf("third: got %v", err)
	}
}

func TestResetPassword_TokenIsVoidAfterAChangeAndWhenDisabled(t *testing.T) {
	f, mail, ada, bob := withMail(t, auth.Config{})
	token := func() string {
		t.Helper()
		if err := f.Service.RequestReset(t.Context(), "bob@example.org", afar); err != nil {
			t.Fatal(err)
		}
		return codeIn(t, mail.one(t, "bob@example.org", "new password"))
	}
	before := token()
	if err := f.Service.ChangePassword(t.Context(), bob, password, newPassword); err != nil {
		t.Fatal(err)
	}
	mail.open(t)
	wantInvalid(t, "after a password change", errorOf(f.Service.ResetPassword(t.Context(), before, password, afar)), "token")
	before = token()
	if _, err := f.Service.Administer(t.Context(), ada, "bob", auth.AccountChange{Disabled: new(true)}); err != nil {
		t.Fatal(err)
	}
	wantInvalid(t, "of a disabled account", errorOf(f.Service.ResetPassword(t.Context(), before, password, afar)), "token")
}

func TestResetPassword_OfManyAtOnceOneWins(t *testing.T) {
	f, mail, _, _ := withMail(t, auth.Config{})
	if err := f.Service.RequestReset(t.Context(), "bob@example.org", afar); err != nil {
		t.Fatal(err)
	}
	token := codeIn(t, mail.one(t, "bob@example.org", "new password"))
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			switch err := errorOf(f.Service.ResetPassword(t.Context(), token, fmt.Sprintf("a-new-password-%d", i), noAddr)); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, telemetry.ErrInvalid) && !errors.Is(err, telemetry.ErrUnavailable):
				t.Errorf("got %v, want nil or ErrInvalid", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("resets by one token: got %d, want 1", won.Load())
	}
}

// Whoever asks learns nothing: the answer is given before anybody is looked up, and there is no letter for who is not there, disabled, or has
// not confirmed the address.
func TestRequestReset_AnswersAlikeAndOnlyConfirmedAddressesAreWrittenTo(t *testing.T) {
	f, mail, ada, _ := withMail(t, auth.Config{})
	mustRegister(t, f, "eve") // not confirmed
	mustRegister(t, f, "off")
	if err := errorOf(f.Service.ConfirmEmail(t.Context(), codeIn(t, mail.open(t)[1]))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Service.Administer(t.Context(), ada, "off", auth.AccountChange{Disabled: new(true)}); err != nil {
		t.Fatal(err)
	}
	f.Store.Fail(errors.New("nobody is to be asked yet"))
	for _, email := range []string{"nobody@example.org", "eve@example.org", "off@example.org", "bob@example.org"} {
		if err := f.Service.RequestReset(t.Context(), email, afar); err != nil {
			t.Errorf("%s: got %v, want nil", email, err)
		}
	}
	f.Store.Fail(nil)
	mail.one(t, "bob@example.org", "new password")
	for _, email := range []string{"", "bob", "bob@example.org\r\nBcc: eve@example.org", "Bob <bob@example.org>"} {
		wantInvalid(t, fmt.Sprintf("%q", email), f.Service.RequestReset(t.Context(), email, afar), "email")
	}
}
