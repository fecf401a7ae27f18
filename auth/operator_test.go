package auth_test

import (
	"errors"
	"slices"
	"testing"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

func TestActFor_IsThePersonUntilTheirAuthorityEnds(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	mustRegister(t, f, "ada")
	bob := mustPrincipal(t, f, mustRegister(t, f, "bob"))
	p, err := f.Service.ActFor(t.Context(), "BOB@example.org")
	if err != nil || p.Kind != auth.Person || p.UserID != bob.UserID || p.Username != "bob" || p.Role != auth.RoleUser || p.SessionID != "" {
		t.Fatalf("got %+v, %v, want bob without a session", p, err)
	}
	if !f.Service.Live(p) || p.Administers() {
		t.Errorf("live %v, administers %v, want live and no more than bob is", f.Service.Live(p), p.Administers())
	}
	if err := f.Service.LogoutAll(t.Context(), bob.UserID); err != nil || f.Service.Live(p) {
		t.Errorf("after bob's logout of everything: %v, live %v, want dead", err, f.Service.Live(p))
	}
	if _, err := f.Service.ActFor(t.Context(), "nobody"); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("nobody: got %v, want ErrNotFound", err)
	}
}

func TestSetPassword_EndsWhatTheAccountHasOpen(t *testing.T) {
	f := authtest.New(t, auth.Config{LoginFailuresPerMinute: 1})
	changes := watch(f)
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	if _, err := f.Service.Login(t.Context(), logsIn("ada", "forgotten", afar)); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Fatalf("got %v, want ErrUnauthenticated", err)
	}
	const next = "marmalade-tractor-7"
	if err := f.Service.SetPassword(t.Context(), "ADA", next); err != nil {
		t.Fatal(err)
	}
	if got, want := changes.take(), []auth.Change{{Kind: auth.UserEnded, UserID: p.UserID}}; !slices.Equal(got, want) || f.Service.Live(p) {
		t.Errorf("got %+v, live %v, want %+v, dead", got, f.Service.Live(p), want)
	}
	if _, err := f.Service.Login(t.Context(), logsIn("ada", next, here)); err != nil {
		t.Errorf("login with the new password: %v; failures before must be forgiven", err)
	}
	for login, want := range map[string]error{"ada": telemetry.ErrInvalid, "nobody": telemetry.ErrNotFound} {
		if err := f.Service.SetPassword(t.Context(), login, "short"); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", login, err, want)
		}
	}
}

func TestDeleteUser_TakesAccountAndSensors(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	f.Directory.Put(auth.Device{SensorID: 1, Serial: "SN1", OwnerID: p.UserID})
	if err := f.Service.DeleteUser(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if f.Service.Live(p) || f.Directory.Len() != 0 {
		t.Errorf("live %v with %d sensors, want neither", f.Service.Live(p), f.Directory.Len())
	}
	if err := f.Service.DeleteUser(t.Context(), "ada"); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("again: got %v, want ErrNotFound", err)
	}
}

func TestOperator_AdministersAccountsAndSeesNoSensor(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	ada := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	mustRegister(t, f, "bob")
	operator := auth.Principal{Kind: auth.Operator}
	if u, err := f.Service.Administer(t.Context(), operator, "bob", auth.AccountChange{Disabled: new(true)}); err != nil || !u.Disabled {
		t.Errorf("got %v, %v, want bob disabled", u, err)
	}
	dev := auth.Device{SensorID: 1, Serial: "SN1", OwnerID: ada.UserID}
	for _, a := range []auth.Action{auth.View, auth.Publish, auth.Manage, auth.Own} {
		if auth.Allowed(operator, a, dev) {
			t.Errorf("action %d is allowed", a)
		}
	}
	if auth.MayRegister(operator) || !operator.Administers() {
		t.Errorf("may register %v, administers %v, want only the latter", auth.MayRegister(operator), operator.Administers())
	}
	if _, err := f.Service.Me(t.Context(), operator); !errors.Is(err, telemetry.ErrForbidden) {
		t.Errorf("its own account: got %v, want ErrForbidden", err)
	}
}

func TestLogout_WithATokenUsedBeforeSaysWhose(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	stolen := mustRegister(t, f, "ada")
	p := mustPrincipal(t, f, stolen)
	mustRefresh(t, f, mustRefresh(t, f, stolen.RefreshToken).RefreshToken)
	err := f.Service.Logout(t.Context(), stolen.RefreshToken)
	if reused, ok := errors.AsType[*auth.ReusedError](err); !ok || !errors.Is(err, auth.ErrReused) || reused.UserID != p.UserID {
		t.Errorf("got %v, want ErrReused of account %d", err, p.UserID)
	}
	if f.Service.Live(p) {
		t.Errorf("the session goes on")
	}
}
