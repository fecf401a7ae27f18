package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

// app is an authenticator app.
type app struct {
	t      *testing.T
	secret string
}

func (a app) code() string { return authtest.Code(a.t, a.secret) }

func mustEnrol(t *testing.T, f *authtest.Fixture, p auth.Principal) app {
	t.Helper()
	e, err := f.Service.EnrolSecondFactor(t.Context(), p, password)
	if err != nil {
		t.Fatalf("enrol: %v", err)
	}
	if !strings.Contains(e.URI, e.Secret) || strings.Contains(fmt.Sprintf("%v %+v %#v", e, e, e), e.Secret) {
		t.Fatalf("enrolment: want the secret in the URI and not printed")
	}
	return app{t, e.Secret}
}

func mustProtect(t *testing.T, f *authtest.Fixture, p auth.Principal) (a app, recovery []string) {
	t.Helper()
	a = mustEnrol(t, f, p)
	recovery, err := f.Service.ConfirmSecondFactor(t.Context(), p, a.code())
	if err != nil {
		t.Fatalf("confirm: %v", err)
	}
	return a, recovery
}

// withCode logs in as ada.
func withCode(f *authtest.Fixture, code string) (auth.Grant, error) {
	c := logsIn("ada", password, afar)
	c.Code = code
	return f.Service.Login(context.Background(), c)
}

func TestSecondFactor_IsAskedForOnceConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{})
		mine := mustRegister(t, f, "ada")
		p := mustPrincipal(t, f, mine)
		theirs, err := withCode(f, "")
		if err != nil {
			t.Fatal(err)
		}
		overMQTT, err := f.Service.Password(t.Context(), "ada", password, afar)
		if err != nil {
			t.Fatal(err)
		}
		a := mustEnrol(t, f, p)
		if on, _, err := f.Service.SecondFactor(t.Context(), p); on || err != nil {
			t.Errorf("before a code was seen: got on %v, %v, want off", on, err)
		}
		if _, err := withCode(f, ""); err != nil {
			t.Errorf("login before a code was seen: got %v, want nil", err)
		}
		changes := watch(f)
		recovery, err := f.Service.ConfirmSecondFactor(t.Context(), p, a.code())
		if err != nil || len(recovery) != 10 || len(slices.Compact(slices.Sorted(slices.Values(recovery)))) != 10 {
			t.Fatalf("confirm: got %d recovery codes, %v, want ten different ones", len(recovery), err)
		}
		if got := changes.take(); !slices.Equal(got, []auth.Change{{Kind: auth.UserEnded, UserID: p.UserID, SessionID: p.SessionID}}) {
			t.Errorf("changes: got %+v, want UserEnded but for the session that did it", got)
		}
		wantOver(t, f, theirs)
		mustPrincipal(t, f, mine)
		if f.Service.Live(overMQTT) {
			t.Error("login over MQTT by password: got it live, want over")
		}
		if on, left, err := f.Service.SecondFactor(t.Context(), p); !on || left != 10 || err != nil {
			t.Errorf("afterwards: got on %v, %d codes, %v, want on, 10", on, left, err)
		}
		if _, err := withCode(f, ""); !errors.Is(err, auth.ErrSecondFactor) || !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Errorf("without a code: got %v, want ErrSecondFactor", err)
		}
		if _, err := f.Service.Password(t.Context(), "ada", password, afar); !errors.Is(err, auth.ErrSecondFactor) {
			t.Errorf("over MQTT: got %v, want ErrSecondFactor", err)
		}
		if _, err := f.Service.Login(t.Context(), auth.Credentials{Login: "ada", Password: "wrong-password", Code: a.code()}); !errors.Is(err, telemetry.ErrUnauthenticated) || errors.Is(err, auth.ErrSecondFactor) {
			t.Errorf("wrong password: got %v, want what it is without a second factor", err)
		}
		if _, err := withCode(f, a.code()); !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Errorf("the code that confirmed it: got %v, want it refused as used", err)
		}
		time.Sleep(30 * time.Second)
		if _, err := withCode(f, a.code()); err != nil {
			t.Errorf("the next code: got %v, want nil", err)
		}
		if _, err := f.Service.EnrolSecondFactor(t.Context(), p, password); !errors.Is(err, telemetry.ErrConflict) {
			t.Errorf("enrol again: got %v, want ErrConflict", err)
		}
		if _, err := f.Service.ConfirmSecondFactor(t.Context(), p, a.code()); !errors.Is(err, telemetry.ErrConflict) {
			t.Errorf("confirm again: got %v, want ErrConflict", err)
		}
	})
}

func TestSecondFactor_RecoveryCodeIsGoodOnceAlsoOverARestart(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	_, recovery := mustProtect(t, f, p)
	if _, err := withCode(f, recovery[0]); err != nil {
		t.Errorf("first use: got %v, want nil", err)
	}
	f = authtest.Restart(t, auth.Config{}, f.Keys, f.Store)
	if _, err := withCode(f, recovery[0]); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("after a restart: got %v, want it refused", err)
	}
	if _, err := withCode(f, strings.ToUpper(strings.ReplaceAll(recovery[1], "-", " "))); err != nil {
		t.Errorf("another, typed otherwise: got %v, want nil", err)
	}
	if _, left, err := f.Service.SecondFactor(t.Context(), p); left != 8 || err != nil {
		t.Errorf("codes left: got %d, %v, want 8", left, err)
	}
}

// TestSecondFactor_OneCodeDoesNotLetTwoIn: the second comes after the first was found good and before it is written down as used.
func TestSecondFactor_OneCodeDoesNotLetTwoIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, store := withInterruptions(t)
		_, recovery := mustProtect(t, f, mustPrincipal(t, f, mustRegister(t, f, "ada")))
		second := make(chan error, 1)
		store.beforeFactor = func() {
			go func() { // ends with the login
				_, err := withCode(f, recovery[0])
				second <- err
			}()
			time.Sleep(time.Second) // it gets as far as it can
		}
		if _, err := withCode(f, recovery[0]); err != nil {
			t.Errorf("first: got %v, want nil", err)
		}
		if err := <-second; !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Errorf("second: got %v, want it refused", err)
		}
	})
}

func TestSecondFactor_CodeOfTheAppIsGoodOnceAlsoOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{})
		a, _ := mustProtect(t, f, mustPrincipal(t, f, mustRegister(t, f, "ada")))
		time.Sleep(30 * time.Second)
		code := a.code()
		if _, err := withCode(f, code); err != nil {
			t.Errorf("first use: got %v, want nil", err)
		}
		for range 4 { // 30 s either way it would be good
			f = authtest.Restart(t, auth.Config{}, f.Keys, f.Store)
			if _, err := withCode(f, code); !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Errorf("again: got %v, want it refused", err)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

// TestSecondFactor_GuessesAreFewWhateverIsRightBetween: who guesses at codes knows the password, and may log in with it as often as they like.
func TestSecondFactor_GuessesAreFewWhateverIsRightBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := authtest.New(t, auth.Config{LoginFailuresPerMinute: 10})
		p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
		a, _ := mustProtect(t, f, p)
		time.Sleep(time.Minute)
		started, guesses := time.Now(), 0
		for time.Since(started) < 3*time.Hour {
			_, err := withCode(f, "no-code")
			rate, throttled := errors.AsType[*auth.RateError](err)
			if throttled {
				time.Sleep(rate.RetryAfter)
			} else if guesses++; !errors.Is(err, telemetry.ErrUnauthenticated) {
				t.Fatalf("guess %d: got %v, want ErrUnauthenticated", guesses, err)
			}
			if _, err := withCode(f, ""); !errors.Is(err, auth.ErrSecondFactor) {
				if _, throttled := errors.AsType[*auth.RateError](err); !throttled {
					t.Fatalf("without a code: got %v, want ErrSecondFactor", err)
				}
			}
			_ = f.Service.DisableSecondFactor(t.Context(), p, password, "no-code")
		}
		if guesses > 10+3*10 {
			t.Errorf("guesses in three hours: got %d, want at most 40 of a million", guesses)
		}
		if _, err := withCode(f, a.code()); !errors.Is(err, telemetry.ErrTooMany) {
			t.Errorf("right code meanwhile: got %v, want ErrTooMany", err)
		}
		time.Sleep(time.Hour)
		if _, err := withCode(f, a.code()); err != nil {
			t.Errorf("right code later: got %v, want nil: nobody is locked out", err)
		}
	})
}

func TestSecondFactor_WrongCodeCountsForTheAddress(t *testing.T) {
	f := authtest.New(t, auth.Config{LoginFailuresPerMinute: 1}) // three an address
	mustProtect(t, f, mustPrincipal(t, f, mustRegister(t, f, "ada")))
	mustRegister(t, f, "bob")
	for i := range 2 {
		if _, err := f.Service.Login(t.Context(), logsIn(fmt.Sprint("nobody", i), password, afar)); !errors.Is(err, telemetry.ErrUnauthenticated) {
			t.Errorf("unknown login: got %v, want ErrUnauthenticated", err)
		}
	}
	if _, err := withCode(f, "wrong"); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("wrong code: got %v, want ErrUnauthenticated", err)
	}
	if _, err := f.Service.Login(t.Context(), logsIn("bob", password, afar)); !errors.Is(err, telemetry.ErrTooMany) {
		t.Errorf("from the same address: got %v, want ErrTooMany", err)
	}
}

func TestSecondFactor_TurningItOffNeedsBothAndEndsTheOthers(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	if err := f.Service.DisableSecondFactor(t.Context(), p, password, "123456"); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("when it is off: got %v, want ErrNotFound", err)
	}
	_, recovery := mustProtect(t, f, p)
	other, err := withCode(f, recovery[0])
	if err != nil {
		t.Fatal(err)
	}
	for field, err := range map[string]error{
		"password": f.Service.DisableSecondFactor(t.Context(), p, "wrong-password", recovery[1]),
		"code":     f.Service.DisableSecondFactor(t.Context(), p, password, recovery[0]),
	} {
		if fe, ok := errors.AsType[*telemetry.FieldError](err); !ok || fe.Field != field || !errors.Is(err, telemetry.ErrInvalid) {
			t.Errorf("wrong %s: got %v, want ErrInvalid that names it", field, err)
		}
	}
	if err := f.Service.DisableSecondFactor(t.Context(), p, password, recovery[1]); err != nil {
		t.Fatalf("both right: got %v, want nil", err)
	}
	wantOver(t, f, other)
	if _, err := withCode(f, ""); err != nil || !f.Service.Live(p) {
		t.Errorf("login afterwards: got %v, own session live %v, want nil, true", err, f.Service.Live(p))
	}
}

func TestRemoveSecondFactor_IsForWhoHasLostIt(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	mustProtect(t, f, p)
	bob := mustPrincipal(t, f, mustRegister(t, f, "bob"))
	if err := f.Service.RemoveSecondFactor(t.Context(), bob, "ada"); !errors.Is(err, telemetry.ErrForbidden) || !f.Service.Live(p) {
		t.Errorf("by a user: got %v, want ErrForbidden", err)
	}
	if err := f.Service.RemoveSecondFactor(t.Context(), auth.Principal{Kind: auth.Operator}, "nobody"); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("of nobody: got %v, want ErrNotFound", err)
	}
	if err := f.Service.RemoveSecondFactor(t.Context(), auth.Principal{Kind: auth.Operator}, "ada"); err != nil || f.Service.Live(p) {
		t.Errorf("got %v, session live %v, want nil, over", err, f.Service.Live(p))
	}
	if _, err := withCode(f, ""); err != nil {
		t.Errorf("login afterwards: got %v, want nil", err)
	}
}

func TestSecondFactor_IsForPeopleAndNeedsThePassword(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	_, err := f.Service.EnrolSecondFactor(t.Context(), p, "wrong-password")
	if fe, ok := errors.AsType[*telemetry.FieldError](err); !ok || fe.Field != "password" {
		t.Errorf("wrong password: got %v, want one that names password", err)
	}
	if _, err := f.Service.ConfirmSecondFactor(t.Context(), p, "123456"); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("nothing begun: got %v, want ErrNotFound", err)
	}
	for what, err := range map[string]error{
		"enrol":   second(f.Service.EnrolSecondFactor(t.Context(), sensor, password)),
		"confirm": second(f.Service.ConfirmSecondFactor(t.Context(), sensor, "123456")),
		"disable": f.Service.DisableSecondFactor(t.Context(), sensor, password, "123456"),
	} {
		if !errors.Is(err, telemetry.ErrForbidden) {
			t.Errorf("%s by a sensor: got %v, want ErrForbidden", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
