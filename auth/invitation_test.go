package auth_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
	"sensorcast/telemetry"
)

// founded is a Fixture by invitation only, with its admin.
func founded(t testing.TB) (*authtest.Fixture, auth.Principal) {
	t.Helper()
	f := authtest.New(t, auth.Config{Registration: auth.RegistrationInvite, SetupToken: "setup"})
	return f, mustPrincipal(t, f, mustRegister(t, f, "admin"))
}

func mustInvite(t testing.TB, f *authtest.Fixture, by auth.Principal, email string, role auth.Role) string {
	t.Helper()
	_, code, _, err := f.Service.Invite(t.Context(), by, email, role, 0)
	if err != nil {
		t.Fatalf("invite: %v", err)
	}
	return code
}

func invitedAs(name, code string) auth.Registration {
	r := registration(name)
	r.Remote, r.Invitation = afar, code
	return r
}

func TestRegister_ByInvitationOnly(t *testing.T) {
	f, admin := founded(t)
	code := mustInvite(t, f, admin, "", auth.RoleAdmin)
	for what, r := range map[string]auth.Registration{"from afar": invitedAs("bob", ""), "from this machine": registration("bob"), "with the set-up token": {
		Username: "bob", Email: "bob@example.org", Password: password, Remote: afar, SetupToken: "setup"}} {
		if _, err := f.Service.Register(t.Context(), r); !errors.Is(err, auth.ErrInvitation) {
			t.Errorf("%s, without an invitation: got %v, want ErrInvitation", what, err)
		}
	}
	// Who holds no invitation does not learn which names are taken either.
	if _, err := f.Service.Register(t.Context(), invitedAs("admin", "")); !errors.Is(err, auth.ErrInvitation) {
		t.Errorf("a taken name: got %v, want ErrInvitation", err)
	}
	for _, wrong := range []string{"inv_", "x", code[:20], code + "x", "ev_" + code[4:], "inv_0000000000000000000000000000000000000000000"} {
		_, err := f.Service.Register(t.Context(), invitedAs("admin", wrong))
		wantInvalid(t, fmt.Sprintf("invitation %q", wrong), err, "invitation")
	}
	if _, err := f.Service.Register(t.Context(), invitedAs("ADMIN", code)); !errors.Is(err, telemetry.ErrConflict) {
		t.Errorf("a taken name with the invitation: got %v, want ErrConflict", err)
	}
	g, err := f.Service.Register(t.Context(), invitedAs("bob", code))
	if err != nil || g.User.Role != auth.RoleAdmin {
		t.Fatalf("with the invitation: got %v, role %s, want an admin", err, g.User.Role)
	}
	_, err = f.Service.Register(t.Context(), invitedAs("eve", code))
	wantInvalid(t, "used invitation", err, "invitation")
	list, _, err := f.Service.Invitations(t.Context(), admin, "", 10)
	if err != nil || len(list) != 1 || list[0].UsedBy != "bob" || list[0].Inviter != "admin" {
		t.Errorf("Invitations: got %+v, %v", list, err)
	}
}

func TestRegister_FirstAccountByInvitationModeNeedsTheSetupToken(t *testing.T) {
	f := authtest.New(t, auth.Config{Registration: auth.RegistrationInvite, SetupToken: "setup"})
	r := invitedAs("ada", "")
	if _, err := f.Service.Register(t.Context(), r); !errors.Is(err, auth.ErrSetupToken) {
		t.Errorf("without it: got %v, want ErrSetupToken", err)
	}
	r.SetupToken = "setup"
	if g, err := f.Service.Register(t.Context(), r); err != nil || g.User.Role != auth.RoleAdmin {
		t.Errorf("with it: got %v, role %s, want an admin", err, g.User.Role)
	}
}

func TestRegister_InvitationIsBoundToItsAddress(t *testing.T) {
	f, admin := founded(t)
	code := mustInvite(t, f, admin, "bob@example.org", "")
	_, err := f.Service.Register(t.Context(), invitedAs("eve", code))
	wantInvalid(t, "another address", err, "email")
	r := invitedAs("bob", code)
	r.Email = "Bob@Example.org"
	if g, err := f.Service.Register(t.Context(), r); err != nil || g.User.Role != auth.RoleUser {
		t.Errorf("its address: got %v, role %s, want a user", err, g.User.Role)
	}
}

func TestRegister_OfTwoWithOneInvitationOneWins(t *testing.T) {
	f, admin := founded(t)
	code := mustInvite(t, f, admin, "", "")
	var made atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			switch _, err := f.Service.Register(t.Context(), invitedAs(fmt.Sprintf("user%d", i), code)); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, telemetry.ErrInvalid):
				t.Errorf("got %v, want nil or ErrInvalid", err)
			}
		})
	}
	wg.Wait()
	if n, _ := f.Store.CountUsers(t.Context()); made.Load() != 1 || n != 2 {
		t.Errorf("accounts by one invitation: got %d, %d in all, want 1, 2", made.Load(), n)
	}
}

func TestRegister_InvitationInOtherModes(t *testing.T) {
	open := authtest.New(t, auth.Config{})
	admin := mustPrincipal(t, open, mustRegister(t, open, "admin"))
	if g, err := open.Service.Register(t.Context(), invitedAs("bob", mustInvite(t, open, admin, "", auth.RoleAdmin))); err != nil || g.User.Role != auth.RoleAdmin {
		t.Errorf("open: got %v, role %s, want the invitation's", err, g.User.Role)
	}
	closed := authtest.New(t, auth.Config{Registration: auth.RegistrationClosed})
	if _, err := closed.Service.CreateUser(t.Context(), registration("admin")); err != nil {
		t.Fatal(err)
	}
	code := mustInvite(t, closed, mustLogin(t, closed, "admin"), "", "")
	if _, err := closed.Service.Register(t.Context(), invitedAs("bob", code)); !errors.Is(err, telemetry.ErrForbidden) {
		t.Errorf("closed: got %v, want ErrForbidden", err)
	}
}

func TestInvite_IsForAdminsAndChecksItsFields(t *testing.T) {
	f, admin := founded(t)
	g, err := f.Service.Register(t.Context(), invitedAs("bob", mustInvite(t, f, admin, "", "")))
	if err != nil {
		t.Fatal(err)
	}
	bob := mustPrincipal(t, f, g)
	bob.Role = auth.RoleAdmin // as an access token might claim
	for what, err := range map[string]error{
		"Invite":      func() error { _, _, _, err := f.Service.Invite(t.Context(), bob, "", "", 0); return err }(),
		"Invitations": func() error { _, _, err := f.Service.Invitations(t.Context(), bob, "", 10); return err }(),
		"Uninvite":    f.Service.Uninvite(t.Context(), bob, "x"),
		"Users":       func() error { _, _, err := f.Service.Users(t.Context(), bob, auth.UserQuery{Limit: 1}); return err }(),
	} {
		if !errors.Is(err, telemetry.ErrForbidden) {
			t.Errorf("%s by who is no admin: got %v, want ErrForbidden", what, err)
		}
	}
	for field, invite := range map[string]func() error{
		"email":      func() error { _, _, _, err := f.Service.Invite(t.Context(), admin, "x\r\nBcc: y", "", 0); return err },
		"role":       func() error { _, _, _, err := f.Service.Invite(t.Context(), admin, "", "root", 0); return err },
		"expires_in": func() error { _, _, _, err := f.Service.Invite(t.Context(), admin, "", "", time.Second); return err },
	} {
		wantInvalid(t, field, invite(), field)
	}
}

func TestInvitation_EndsByTimeByWithdrawalAndWithItsInviter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, admin := founded(t)
		other, err := f.Service.Register(t.Context(), invitedAs("other", mustInvite(t, f, admin, "", auth.RoleAdmin)))
		if err != nil {
			t.Fatal(err)
		}
		refused := func(what, code string) {
			t.Helper()
			_, err := f.Service.Register(t.Context(), invitedAs("bob", code))
			wantInvalid(t, what, err, "invitation")
		}
		i, code, _, err := f.Service.Invite(t.Context(), admin, "", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Service.Uninvite(t.Context(), admin, i.ID); err != nil {
			t.Errorf("Uninvite: got %v, want nil", err)
		}
		refused("withdrawn", code)
		if err := f.Service.Uninvite(t.Context(), admin, i.ID); !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("Uninvite again: got %v, want ErrNotFound", err)
		}
		code = mustInvite(t, f, mustPrincipal(t, f, other), "", auth.RoleAdmin)
		if _, err := f.Service.Administer(t.Context(), admin, "other", auth.AccountChange{Role: new(auth.RoleUser)}); err != nil {
			t.Fatal(err)
		}
		refused("of who is no admin any more", code)
		code = mustInvite(t, f, admin, "", "")
		time.Sleep(auth.DefaultInvitationTTL)
		refused("expired", code)
	})
}
