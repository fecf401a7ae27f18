package authtest

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

func accountsAreListedInPages(t *testing.T, s Store) {
	var want []string
	for _, name := range []string{"carl", "Ada", "eve", "bob", "dora"} {
		mustCreate(t, s, name)
	}
	want = []string{"Ada", "bob", "carl", "dora", "eve"}
	for _, limit := range []int{1, 2, 5, 50} {
		var got []string
		q := auth.UserQuery{Limit: limit}
		for {
			items, next, err := s.ListUsers(t.Context(), q)
			if err != nil || len(items) > limit {
				t.Fatalf("ListUsers by %d: got %d items, %v", limit, len(items), err)
			}
			for _, u := range items {
				got = append(got, u.Username)
			}
			if q.After = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("ListUsers by %d: got %v, want %v", limit, got, want)
		}
	}
	for text, n := range map[string]int{"AD": 1, "o": 5, "example.org": 5, "dora@": 1, "%": 0, "first": 5, "nobody": 0} {
		if items, _, err := s.ListUsers(t.Context(), auth.UserQuery{Text: text, Limit: 50}); err != nil || len(items) != n {
			t.Errorf("ListUsers of %q: got %d, %v, want %d", text, len(items), err, n)
		}
	}
	u, err := s.UserByLogin(t.Context(), "eve")
	if err != nil {
		t.Fatal(err)
	}
	u.FirstName = "Зоя"
	if err := s.UpdateUser(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if items, _, err := s.ListUsers(t.Context(), auth.UserQuery{Text: "зО", Limit: 50}); err != nil || len(items) != 1 || items[0] != u {
		t.Errorf("ListUsers after a change: got %+v, %v, want %+v", items, err, u)
	}
}

func activeAdminsAreCounted(t *testing.T, s Store) {
	mustCreate(t, s, "ada") // the first is admin
	bob := mustCreate(t, s, "bob")
	count := func(want int) {
		t.Helper()
		if n, err := s.CountAdmins(t.Context()); n != want || err != nil {
			t.Errorf("CountAdmins: got %d, %v, want %d", n, err, want)
		}
	}
	count(1)
	bob.Role = auth.RoleAdmin
	if err := s.UpdateUser(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	count(2)
	bob.Disabled = true
	if err := s.UpdateUser(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	count(1)
}

func loginIsNoted(t *testing.T, s Store) {
	u := mustCreate(t, s, "ada")
	mustOpen(t, s, u.ID, "one")
	if got, err := s.UserByID(t.Context(), u.ID); err != nil || got.LastLoginAt != start {
		t.Errorf("LastLoginAt: got %v, %v, want %v", got.LastLoginAt, err, start)
	}
}

func letterTokensAreKept(t *testing.T, s Store) {
	u, other := mustCreate(t, s, "ada"), mustCreate(t, s, "bob")
	fill := func() {
		t.Helper()
		for _, id := range []int64{u.ID, other.ID} {
			for _, p := range []auth.Purpose{auth.VerifyEmail, auth.ResetPassword} {
				token := auth.LetterToken{Hash: fmt.Appendf(nil, "%s of %d", p, id), Purpose: p, UserID: id, Email: "a@example.org", ExpiresAt: expiry}
				if err := s.KeepLetterToken(t.Context(), token); err != nil {
					t.Fatalf("KeepLetterToken: %v", err)
				}
			}
		}
	}
	holds := func(what string, id int64, purpose auth.Purpose, want bool) {
		t.Helper()
		hash := fmt.Appendf(nil, "%s of %d", purpose, id)
		got, err := s.LetterToken(t.Context(), purpose, hash)
		if want != (err == nil) || err != nil && !errors.Is(err, telemetry.ErrNotFound) || err == nil && (got.UserID != id || got.Email != "a@example.org" || got.ExpiresAt != expiry) {
			t.Errorf("%s: %s of %d: got %+v, %v, want it there: %v", what, purpose, id, got, err, want)
		}
	}
	for _, c := range []struct {
		what           string
		change         func()
		email, passwrd bool
	}{
		{"a name", func() { u.FirstName = "A" }, true, true},
		{"the password", func() { u.PasswordHash = "$argon2id$other" }, true, false},
		{"the verification", func() { u.EmailVerifiedAt = start }, false, true},
		{"the address", func() { u.Email = "other@example.org" }, false, false},
	} {
		// Tokens of the last round that are still there are of the same hash.
		if err := s.DeleteUser(t.Context(), other.ID); err != nil {
			t.Fatal(err)
		}
		holds("after a deletion", other.ID, auth.ResetPassword, false)
		other = mustCreate(t, s, "bob")
		old := u
		if err := s.UpdateUser(t.Context(), auth.User{ID: u.ID, Email: "between@example.org", Role: u.Role}); err != nil {
			t.Fatal(err)
		}
		if err := s.UpdateUser(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		fill()
		holds("another purpose", u.ID, auth.VerifyEmail, true)
		if _, err := s.LetterToken(t.Context(), auth.ResetPassword, fmt.Appendf(nil, "%s of %d", auth.VerifyEmail, u.ID)); !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("token of another purpose: got %v, want ErrNotFound", err)
		}
		c.change()
		if err := s.UpdateUser(t.Context(), u); err != nil {
			t.Fatalf("UpdateUser: %v", err)
		}
		holds(c.what, u.ID, auth.VerifyEmail, c.email)
		holds(c.what, u.ID, auth.ResetPassword, c.passwrd)
		holds(c.what+" of somebody else", other.ID, auth.VerifyEmail, true)
		holds(c.what+" of somebody else", other.ID, auth.ResetPassword, true)
	}
	if got, err := s.UserByID(t.Context(), u.ID); err != nil || got != u {
		t.Errorf("the account: got %#v, %v, want %#v", got, err, u)
	}
	if err := s.KeepLetterToken(t.Context(), auth.LetterToken{Hash: []byte("x"), Purpose: auth.VerifyEmail, UserID: other.ID + 100, ExpiresAt: expiry}); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("token of nobody: got %v, want ErrNotFound", err)
	}
}

// invite stores an invitation whose hash is its name.
func invite(t *testing.T, s Store, by auth.User, name string) auth.Invitation {
	t.Helper()
	i := auth.Invitation{
		ID: name, Hash: []byte(name), Email: name + "@example.org", Role: auth.RoleAdmin, CreatedAt: start, InviterID: by.ID, Inviter: by.Username, ExpiresAt: expiry,
	}
	if err := s.CreateInvitation(t.Context(), i); err != nil {
		t.Fatalf("CreateInvitation: %v", err)
	}
	return i
}

func invitationMakesOneAccount(t *testing.T, s Store) {
	admin := mustCreate(t, s, "admin")
	i := invite(t, s, admin, "one")
	if got, err := s.OpenInvitation(t.Context(), i.Hash, start); err != nil || !sameInvitation(got, i) {
		t.Errorf("OpenInvitation: got %+v, %v, want %+v", got, err, i)
	}
	taken := newUser("ADMIN")
	wantConflict(t, "CreateInvited with a taken name", s.CreateInvited(t.Context(), &taken, i.Hash, start), "username")
	var made atomic.Int64
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			u := newUser(fmt.Sprintf("user%d", n))
			switch err := s.CreateInvited(t.Context(), &u, i.Hash, start); {
			case err == nil && u.ID != 0:
				made.Add(1)
			case !errors.Is(err, telemetry.ErrNotFound):
				t.Errorf("CreateInvited: got %v, want nil or ErrNotFound", err)
			}
		})
	}
	wg.Wait()
	if n, err := s.CountUsers(t.Context()); made.Load() != 1 || n != 2 || err != nil {
		t.Errorf("accounts of one invitation: got %d, %d in all, %v, want 1, 2", made.Load(), n, err)
	}
	items, _, err := s.ListInvitations(t.Context(), "", 10)
	if err != nil || len(items) != 1 || items[0].UsedAt != start || items[0].UsedBy == "" {
		t.Errorf("ListInvitations: got %+v, %v, want it used", items, err)
	}
	late := newUser("late")
	two := invite(t, s, admin, "two")
	for what, err := range map[string]error{
		"expired": s.CreateInvited(t.Context(), &late, two.Hash, expiry),
		"unknown": s.CreateInvited(t.Context(), &late, []byte("three"), start),
	} {
		if !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("CreateInvited, %s: got %v, want ErrNotFound", what, err)
		}
	}
}

func sameInvitation(a, b auth.Invitation) bool {
	return slices.Equal(a.Hash, b.Hash) && a.ID == b.ID && a.Email == b.Email && a.Role == b.Role && a.CreatedAt == b.CreatedAt &&
		a.InviterID == b.InviterID && a.Inviter == b.Inviter && a.ExpiresAt == b.ExpiresAt && a.UsedAt == b.UsedAt && a.UsedBy == b.UsedBy
}

func invitationIsOpenWhileItsInviterIsAdmin(t *testing.T, s Store) {
	admin := mustCreate(t, s, "admin")
	i := invite(t, s, admin, "one")
	open := func(what string, want bool) {
		t.Helper()
		if _, err := s.OpenInvitation(t.Context(), i.Hash, start); (err == nil) != want || err != nil && !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("%s: got %v, want it open: %v", what, err, want)
		}
		if !want {
			u := newUser("eve")
			if err := s.CreateInvited(t.Context(), &u, i.Hash, start); !errors.Is(err, telemetry.ErrNotFound) {
				t.Errorf("%s: CreateInvited: got %v, want ErrNotFound", what, err)
			}
		}
	}
	open("at first", true)
	admin.Disabled = true
	_ = s.UpdateUser(t.Context(), admin)
	open("disabled", false)
	admin.Disabled, admin.Role = false, auth.RoleUser
	_ = s.UpdateUser(t.Context(), admin)
	open("demoted", false)
	admin.Role = auth.RoleAdmin
	_ = s.UpdateUser(t.Context(), admin)
	open("admin again", true)
	if err := s.DeleteUser(t.Context(), admin.ID); err != nil {
		t.Fatal(err)
	}
	open("deleted", false)
}

func invitationsAreListed(t *testing.T, s Store) {
	admin := mustCreate(t, s, "admin")
	for _, name := range []string{"one", "two", "three"} {
		invite(t, s, admin, name)
	}
	var got []string
	cursor := ""
	for {
		items, next, err := s.ListInvitations(t.Context(), cursor, 2)
		if err != nil {
			t.Fatalf("ListInvitations: %v", err)
		}
		for _, i := range items {
			got = append(got, i.ID)
		}
		if cursor = next; next == "" {
			break
		}
	}
	if want := []string{"three", "two", "one"}; !slices.Equal(got, want) {
		t.Errorf("ListInvitations: got %v, want %v", got, want)
	}
	if _, _, err := s.ListInvitations(t.Context(), "garbage", 2); !errors.Is(err, telemetry.ErrInvalid) {
		t.Errorf("ListInvitations with a made-up cursor: got %v, want ErrInvalid", err)
	}
	if err := s.DeleteInvitation(t.Context(), "two"); err != nil {
		t.Errorf("DeleteInvitation: got %v, want nil", err)
	}
	if err := s.DeleteInvitation(t.Context(), "two"); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("DeleteInvitation again: got %v, want ErrNotFound", err)
	}
	if _, err := s.OpenInvitation(t.Context(), []byte("two"), start); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("OpenInvitation of a deleted one: got %v, want ErrNotFound", err)
	}
}
