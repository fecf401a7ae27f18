package authtest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func newUser(name string) auth.User {
	return auth.User{
		UID: fmt.Sprintf("%026s", name), Username: name, Email: name + "@example.org", FirstName: "First", LastName: "Last",
		Role: auth.RoleUser, PasswordHash: "$argon2id$" + name, CreatedAt: start, UpdatedAt: start,
	}
}

func mustCreate(t *testing.T, s Store, name string) auth.User {
	t.Helper()
	u := newUser(name)
	if err := s.CreateUser(t.Context(), &u); err != nil {
		t.Fatalf("CreateUser(%s): got %v, want nil", name, err)
	}
	return u
}

func firstAccountIsAdmin(t *testing.T, s Store) {
	if n, err := s.CountUsers(t.Context()); n != 0 || err != nil {
		t.Errorf("CountUsers of an empty store: got %d, %v, want 0, nil", n, err)
	}
	first, second := mustCreate(t, s, "first"), mustCreate(t, s, "second")
	if first.ID == 0 || first.ID == second.ID {
		t.Errorf("ids: got %d and %d, want different ones that are not 0", first.ID, second.ID)
	}
	for _, want := range []struct {
		u    auth.User
		role auth.Role
	}{{first, auth.RoleAdmin}, {second, auth.RoleUser}} {
		got, err := s.UserByID(t.Context(), want.u.ID)
		if err != nil || got != want.u || got.Role != want.role {
			t.Errorf("UserByID(%d): got %#v role %s, %v, want %#v role %s", want.u.ID, got, got.Role, err, want.u, want.role)
		}
	}
	if n, err := s.CountUsers(t.Context()); n != 2 || err != nil {
		t.Errorf("CountUsers: got %d, %v, want 2, nil", n, err)
	}
}

func concurrentFirstAccountsMakeOneAdmin(t *testing.T, s Store) {
	var admins atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			u := newUser(fmt.Sprintf("user%d", i))
			if err := s.CreateUser(t.Context(), &u); err != nil {
				t.Errorf("CreateUser: got %v, want nil", err)
			}
			if u.Role == auth.RoleAdmin {
				admins.Add(1)
			}
		})
	}
	wg.Wait()
	if admins.Load() != 1 {
		t.Errorf("admins among 8 accounts made at once: got %d, want 1", admins.Load())
	}
}

func accountIsFoundByEitherLogin(t *testing.T, s Store) {
	u := mustCreate(t, s, "Ada")
	for _, login := range []string{"Ada", "ada", "ADA", "Ada@example.org", "ada@EXAMPLE.org"} {
		got, err := s.UserByLogin(t.Context(), login)
		if err != nil || got != u {
			t.Errorf("UserByLogin(%q): got %#v, %v, want %#v, nil", login, got, err, u)
		}
	}
	for _, login := range []string{"", "ad", "adaa", "%", "a_a", "ada@example", "ada "} {
		if got, err := s.UserByLogin(t.Context(), login); !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("UserByLogin(%q): got %#v, %v, want ErrNotFound", login, got, err)
		}
	}
}

func takenNamesConflict(t *testing.T, s Store) {
	ada, bob := mustCreate(t, s, "ada"), mustCreate(t, s, "bob")
	sameName, sameEmail := newUser("ADA"), newUser("eve")
	sameName.Email = "other@example.org"
	sameEmail.Email = "Ada@Example.org"
	bob.Email = ada.Email
	for field, err := range map[string]error{
		"username": s.CreateUser(t.Context(), &sameName),
		"email":    s.CreateUser(t.Context(), &sameEmail),
	} {
		wantConflict(t, "CreateUser with a taken "+field, err, field)
	}
	wantConflict(t, "UpdateUser with a taken email", s.UpdateUser(t.Context(), bob), "email")
}

func wantConflict(t *testing.T, what string, err error, field string) {
	t.Helper()
	if fe, ok := errors.AsType[*telemetry.FieldError](err); !ok || fe.Field != field || !errors.Is(err, telemetry.ErrConflict) {
		t.Errorf("%s: got %v, want a conflict that names %s", what, err, field)
	}
}

func updateWritesWhatMayChange(t *testing.T, s Store) {
	u := mustCreate(t, s, "ada")
	other := mustCreate(t, s, "bob")
	u.FirstName, u.LastName, u.Email, u.PasswordHash = "A", "", "new@example.org", "$argon2id$new"
	u.Role, u.Disabled, u.UpdatedAt = auth.RoleUser, true, start+1
	if err := s.UpdateUser(t.Context(), u); err != nil {
		t.Fatalf("UpdateUser: got %v, want nil", err)
	}
	if got, err := s.UserByLogin(t.Context(), "new@example.org"); err != nil || got != u {
		t.Errorf("after UpdateUser: got %#v, %v, want %#v", got, err, u)
	}
	if _, err := s.UserByLogin(t.Context(), "ada@example.org"); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("UserByLogin with the old e-mail: got %v, want ErrNotFound", err)
	}
	if got, err := s.UserByID(t.Context(), other.ID); err != nil || got != other {
		t.Errorf("another account after UpdateUser: got %#v, %v, want %#v", got, err, other)
	}
	u.ID += 1000
	u.Email = "third@example.org"
	if err := s.UpdateUser(t.Context(), u); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("UpdateUser of an unknown account: got %v, want ErrNotFound", err)
	}
}

func deletedAccountIsGone(t *testing.T, s Store) {
	u := mustCreate(t, s, "ada")
	open, ended := mustOpen(t, s, u.ID, "open"), mustOpen(t, s, u.ID, "ended")
	if err := s.EndSession(t.Context(), ended.ID, start+second); err != nil {
		t.Fatalf("EndSession: got %v, want nil", err)
	}
	if err := s.DeleteUser(t.Context(), u.ID); err != nil {
		t.Fatalf("DeleteUser: got %v, want nil", err)
	}
	for what, err := range map[string]error{
		"UserByID":         errorOf(s.UserByID(t.Context(), u.ID)),
		"UserByLogin":      errorOf(s.UserByLogin(t.Context(), "ada")),
		"DeleteUser again": s.DeleteUser(t.Context(), u.ID),
	} {
		if !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("%s after DeleteUser: got %v, want ErrNotFound", what, err)
		}
	}
	wantRefused(t, s, open.ID, 2*second)
	if got, err := s.EndedSince(t.Context(), start); err != nil || got[ended.ID] != start+second {
		t.Errorf("EndedSince after DeleteUser: got %v, %v, want %s still ended at %d", got, err, ended.ID, start+second)
	}
	if again := mustCreate(t, s, "ada"); again.ID == u.ID {
		t.Errorf("id of a new account: got %d again, want one never used", again.ID)
	}
}

// errorOf drops a result, for tables of errors.
func errorOf(_ auth.User, err error) error { return err }
