package auth_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

const newPassword = "another-otter-cherry-43"

func TestChangePassword_EndsTheOtherSessions(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	mine := mustRegister(t, f, "ada")
	theirs, err := f.Service.Login(t.Context(), logsIn("ada", password, afar))
	if err != nil {
		t.Fatal(err)
	}
	overMQTT, err := f.Service.Password(t.Context(), "ada", password, afar)
	if err != nil {
		t.Fatal(err)
	}
	p := mustPrincipal(t, f, mine)
	changes := watch(f)
	if err := f.Service.ChangePassword(t.Context(), p, password, newPassword); err != nil {
		t.Fatalf("ChangePassword: got %v, want nil", err)
	}
	if got := changes.take(); !slices.Equal(got, []auth.Change{{Kind: auth.UserEnded, UserID: p.UserID, SessionID: p.SessionID}}) {
		t.Errorf("changes: got %+v, want UserEnded but for %s", got, p.SessionID)
	}
	wantOver(t, f, theirs)
	if f.Service.Live(overMQTT) {
		t.Error("MQTT login with the old password: got live, want dead")
	}
	mustRefresh(t, f, mine.RefreshToken)
	if _, err := f.Service.Login(t.Context(), logsIn("ada", password, afar)); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("old password: got %v, want ErrUnauthenticated", err)
	}
	if _, err := f.Service.Login(t.Context(), logsIn("ada", newPassword, afar)); err != nil {
		t.Errorf("new password: got %v, want nil", err)
	}
}

func TestChangePassword_Refuses(t *testing.T) {
	f := authtest.New(t, auth.Config{LoginFailuresPerMinute: 3})
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	for _, c := range []struct {
		current, next, field string
	}{
		{password, "short", "new_password"}, {password, "password123", "new_password"}, {password, "ada@example.org", "new_password"},
		{"wrong-password", newPassword, "current_password"}, {"", newPassword, "current_password"}, {strings.Repeat("x", 1000), newPassword, "current_password"},
	} {
		err := f.Service.ChangePassword(t.Context(), p, c.current, c.next)
		if fe, ok := errors.AsType[*telemetry.FieldError](err); !ok || fe.Field != c.field || !errors.Is(err, telemetry.ErrInvalid) {
			t.Errorf("%.10q → %.10q: got %v, want ErrInvalid that names %s", c.current, c.next, err, c.field)
		}
	}
	if err := f.Service.ChangePassword(t.Context(), p, password, newPassword); !errors.Is(err, telemetry.ErrTooMany) {
		t.Errorf("after three wrong guesses: got %v, want ErrTooMany", err)
	}
	if err := f.Service.ChangePassword(t.Context(), sensor, password, newPassword); !errors.Is(err, telemetry.ErrForbidden) {
		t.Errorf("by a sensor: got %v, want ErrForbidden", err)
	}
}

// TestAccount_ChangesDoNotOverwriteEachOther: a profile edit that read the account before a password change must not write the old hash back.
func TestAccount_ChangesDoNotOverwriteEachOther(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Service.ChangePassword(t.Context(), p, password, newPassword); err != nil {
			t.Errorf("ChangePassword: got %v, want nil", err)
		}
	})
	for i := range 400 {
		wg.Go(func() {
			if _, err := f.Service.UpdateProfile(t.Context(), p, auth.ProfileChange{FirstName: new(fmt.Sprint("A", i))}); err != nil {
				t.Errorf("UpdateProfile: got %v, want nil", err)
			}
		})
	}
	wg.Wait()
	if _, err := f.Service.Login(t.Context(), logsIn("ada", newPassword, afar)); err != nil {
		t.Errorf("new password after 400 profile edits: got %v, want nil", err)
	}
}

func TestUpdateProfile_ChangesWhatIsGiven(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	p := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	mustRegister(t, f, "bob")
	u, err := f.Service.UpdateProfile(t.Context(), p, auth.ProfileChange{FirstName: new("Ada"), Email: new("ada@new.example.org"), Password: password})
	if err != nil || u.FirstName != "Ada" || u.LastName != "" || u.Email != "ada@new.example.org" {
		t.Errorf("UpdateProfile: got %#v, %v", u, err)
	}
	if me, err := f.Service.Me(t.Context(), p); err != nil || me != u {
		t.Errorf("Me: got %+v, %v, want %+v", me, err, u)
	}
	for _, wrong := range []string{"", "wrong-password"} {
		_, err := f.Service.UpdateProfile(t.Context(), p, auth.ProfileChange{Email: new("eve@example.org"), Password: wrong})
		if fe, ok := errors.AsType[*telemetry.FieldError](err); !ok || fe.Field != "current_password" || !errors.Is(err, telemetry.ErrInvalid) {
			t.Errorf("another address with password %q: got %v, want ErrInvalid that names current_password", wrong, err)
		}
	}
	if _, err := f.Service.UpdateProfile(t.Context(), p, auth.ProfileChange{Email: new("BOB@example.org"), Password: password}); !errors.Is(err, telemetry.ErrConflict) {
		t.Errorf("taken e-mail: got %v, want ErrConflict", err)
	}
	_, err = f.Service.UpdateProfile(t.Context(), p, auth.ProfileChange{FirstName: new("a\x00"), LastName: new("b\x00"), Email: new("nobody")})
	if many, ok := errors.AsType[auth.FieldErrors](err); !ok || len(many) != 3 {
		t.Errorf("three mistakes: got %v, want three FieldErrors", err)
	}
}

func TestDeleteAccount_TakesSensorsAndSocketsAlong(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	if _, err := f.Service.Administer(t.Context(), ada, "bob", auth.AccountChange{Role: new(auth.RoleAdmin)}); err != nil {
		t.Fatal(err)
	}
	bob := mustLogin(t, f, "bob")
	g, err := f.Service.Login(t.Context(), logsIn("ada", password, afar))
	if err != nil {
		t.Fatal(err)
	}
	device, err := f.Directory.Authenticate("SN1", "secret-of-SN1")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Service.DeleteAccount(t.Context(), ada, "wrong-password"); !errors.Is(err, telemetry.ErrInvalid) {
		t.Errorf("wrong password: got %v, want ErrInvalid", err)
	}
	shared, _ := f.Directory.Lookup("X1")
	shared.Shares = shared.SharedWith(ada.UserID, auth.ViewerAccess)
	f.Directory.Put(shared)
	changes := watch(f)
	if err := f.Service.DeleteAccount(t.Context(), ada, password); err != nil {
		t.Fatalf("DeleteAccount: got %v, want nil", err)
	}
	f.Directory.Put(shared) // a change of it that lost the race
	if dev, _ := f.Directory.Lookup("X1"); len(dev.Shares) > 0 || f.Directory.Can(ada, auth.View, "X1") {
		t.Errorf("what was shared with it: got %+v, want no share", dev.Shares)
	}
	for _, want := range []auth.Change{
		{Kind: auth.UserEnded, UserID: ada.UserID},
		{Kind: auth.SensorRemoved, Serial: "SN1", SensorID: 11, UserID: ada.UserID},
		{Kind: auth.SensorRemoved, Serial: "SN2", SensorID: 12, UserID: ada.UserID},
		{Kind: auth.ShareRemoved, Serial: "X1", SensorID: 21, UserID: ada.UserID},
	} {
		if !slices.Contains(changes.seen, want) {
			t.Errorf("changes: got %+v, want %+v among them", changes.seen, want)
		}
	}
	wantOver(t, f, g)
	if _, err := f.Directory.Authenticate("SN1", "secret-of-SN1"); err == nil || f.Service.Live(device) || f.Service.Live(ada) {
		t.Errorf("its sensor: got %v, live %v; itself live %v; want dead", err, f.Service.Live(device), f.Service.Live(ada))
	}
	f.Directory.Put(auth.Device{SensorID: 13, Serial: "SN3", OwnerID: ada.UserID}) // a registration that lost the race
	if _, ok := f.Directory.Lookup("SN3"); ok || f.Directory.Len() != 1 || !f.Service.Live(bob) {
		t.Errorf("directory: got %d sensors, bob live %v, want bob's one, true", f.Directory.Len(), f.Service.Live(bob))
	}
	if _, err := f.Service.Me(t.Context(), ada); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("Me: got %v, want ErrNotFound", err)
	}
	if _, err := f.Service.Login(t.Context(), logsIn("ada", password, afar)); !errors.Is(err, telemetry.ErrUnauthenticated) {
		t.Errorf("login: got %v, want ErrUnauthenticated", err)
	}
}

func mustLogin(t *testing.T, f *authtest.Fixture, name string) auth.Principal {
	t.Helper()
	g, err := f.Service.Login(t.Context(), logsIn(name, password, afar))
	if err != nil {
		t.Fatalf("login %s: %v", name, err)
	}
	return mustPrincipal(t, f, g)
}

func TestAdministration_LastActiveAdminStays(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	mustRegister(t, f, "eve")
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, auth.ErrLastAdmin) || !errors.Is(err, telemetry.ErrConflict) {
			t.Errorf("%s: got %v, want ErrLastAdmin", what, err)
		}
	}
	administer := func(c auth.AccountChange) error {
		_, err := f.Service.Administer(t.Context(), ada, "ada", c)
		return err
	}
	refused("disabling", administer(auth.AccountChange{Disabled: new(true)}))
	refused("demotion", administer(auth.AccountChange{Role: new(auth.RoleUser)}))
	refused("deletion", f.Service.DeleteAccount(t.Context(), ada, password))
	if !f.Service.Live(ada) {
		t.Fatal("what was refused ended the session")
	}
	if _, err := f.Service.Administer(t.Context(), ada, "bob", auth.AccountChange{Role: new(auth.RoleAdmin), Disabled: new(true)}); err != nil {
		t.Fatal(err)
	}
	refused("demotion beside a disabled admin", administer(auth.AccountChange{Role: new(auth.RoleUser)}))
	if _, err := f.Service.Administer(t.Context(), ada, "bob", auth.AccountChange{Disabled: new(false)}); err != nil {
		t.Fatal(err)
	}
	bob := mustLogin(t, f, "bob")

	// Two who leave at once do not both get away.
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, p := range []auth.Principal{ada, bob} {
		wg.Go(func() { errs[i] = f.Service.DeleteAccount(t.Context(), p, password) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("two admins leaving at once: got %v, want one of them refused", errs)
	}
}

func TestDeleteAccount_TheOnlyAccountMayGo(t *testing.T) {
	f := authtest.New(t, auth.Config{})
	if err := f.Service.DeleteAccount(t.Context(), mustPrincipal(t, f, mustRegister(t, f, "ada")), password); err != nil {
		t.Errorf("got %v, want nil: nobody is left behind", err)
	}
}

// TestDeleteAccount_EndsALoginThatCameBetween: the session was opened after the others had been ended, before the account was gone.
func TestDeleteAccount_EndsALoginThatCameBetween(t *testing.T) {
	f, store := withInterruptions(t)
	mustRegister(t, f, "admin")
	ada := mustPrincipal(t, f, mustRegister(t, f, "ada"))
	var late auth.Grant
	store.beforeDelete = func() {
		var err error
		if late, err = f.Service.Login(t.Context(), logsIn("ada", password, afar)); err != nil {
			t.Errorf("login in between: got %v, want nil", err)
		}
	}
	if err := f.Service.DeleteAccount(t.Context(), ada, password); err != nil {
		t.Fatalf("DeleteAccount: got %v, want nil", err)
	}
	wantOver(t, f, late)
}

func TestAdminister_DisablesAndPromotesOthersOnly(t *testing.T) {
	f, admin, bob := withSensors(t, auth.Config{})
	g, err := f.Service.Login(t.Context(), logsIn("bob", password, afar))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		by     auth.Principal
		name   string
		change auth.AccountChange
		want   error
	}{
		"by a user":       {bob, "ada", auth.AccountChange{Disabled: new(true)}, telemetry.ErrForbidden},
		"by a sensor":     {sensor, "bob", auth.AccountChange{Disabled: new(true)}, telemetry.ErrForbidden},
		"by e-mail":       {admin, "bob@example.org", auth.AccountChange{}, telemetry.ErrNotFound},
		"of nobody":       {admin, "nobody", auth.AccountChange{}, telemetry.ErrNotFound},
		"an unknown role": {admin, "bob", auth.AccountChange{Role: new(auth.Role("root"))}, telemetry.ErrInvalid},
		"claimed role":    {auth.Principal{Kind: auth.Person, UserID: bob.UserID, Role: auth.RoleAdmin}, "ada", auth.AccountChange{}, telemetry.ErrForbidden},
	} {
		if _, err := f.Service.Administer(t.Context(), c.by, c.name, c.change); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
	}
	changes := watch(f)
	u, err := f.Service.Administer(t.Context(), admin, "bob", auth.AccountChange{Disabled: new(true)})
	if err != nil || !u.Disabled || u.Role != auth.RoleUser {
		t.Errorf("disable: got %+v, %v", u, err)
	}
	if got := changes.take(); !slices.Equal(got, []auth.Change{{Kind: auth.UserEnded, UserID: bob.UserID}}) {
		t.Errorf("changes: got %+v, want UserEnded", got)
	}
	wantOver(t, f, g)
	if _, err := f.Service.Administer(t.Context(), admin, "bob", auth.AccountChange{Disabled: new(false), Role: new(auth.RoleAdmin)}); err != nil {
		t.Errorf("enable and promote: got %v, want nil", err)
	}
	again, err := f.Service.Login(t.Context(), logsIn("bob", password, afar))
	if err != nil || mustPrincipal(t, f, again).Role != auth.RoleAdmin {
		t.Errorf("login afterwards: got %v, want an admin", err)
	}
}
