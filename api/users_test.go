package api

import (
	"net/http"
	"slices"
	"testing"

	"sensorcast/auth"
)

func TestUsers_AdminListsAndDisables(t *testing.T) {
	h := newHouse(t)
	admin, bob := h.person("ada"), h.person("bob")
	h.person("eve")
	h.sensor(bob, fields{"serial_no": "BOBS-1"})
	var page struct {
		List []fields `json:"items"`
		Next *string  `json:"next_cursor"`
	}
	names := func(path string) (names []string) {
		t.Helper()
		h.call("GET", path, admin.access, nil).want(http.StatusOK).into(&page)
		for _, u := range page.List {
			names = append(names, u["username"].(string))
		}
		return names
	}
	if got := names("/api/v1/users?limit=2"); !slices.Equal(got, []string{"ada", "bob"}) || page.Next == nil {
		t.Fatalf("first page: got %v, next %v, want ada, bob and more", got, page.Next)
	}
	b := page.List[1]
	if b["sensors"] != 1.0 || b["disabled"] != false || b["email_verified"] != false || b["role"] != "user" || b["email"] != "bob@example.org" || b["last_login_at"] == nil || b["password_hash"] != nil {
		t.Errorf("bob: got %v", b)
	}
	if got := names("/api/v1/users?limit=2&cursor=" + *page.Next); !slices.Equal(got, []string{"eve"}) || page.Next != nil {
		t.Errorf("second page: got %v, next %v, want eve and no more", got, page.Next)
	}
	if got := names("/api/v1/users?q=BOB"); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("search: got %v, want bob", got)
	}

	if got := h.call("PATCH", "/api/v1/users/bob", admin.access, fields{"disabled": true}).want(http.StatusOK).fields(); got["disabled"] != true {
		t.Errorf("disabled: got %v", got)
	}
	h.call("GET", "/api/v1/users/me", bob.access, nil).want(http.StatusUnauthorized)
	h.call("POST", "/api/v1/auth/refresh", "", fields{"refresh_token": bob.refresh}).want(http.StatusUnauthorized)
	disabled := h.call("POST", "/api/v1/auth/login", "", fields{"login": "bob", "password": goodPassword}).want(http.StatusUnauthorized)
	wrong := h.call("POST", "/api/v1/auth/login", "", fields{"login": "eve", "password": "not the password"}).want(http.StatusUnauthorized)
	if string(disabled.body) != string(wrong.body) {
		t.Errorf("disabled: got %s, wrong password: %s, want the same", disabled.body, wrong.body)
	}
	h.call("PATCH", "/api/v1/users/bob", admin.access, fields{"disabled": false, "role": "admin"}).want(http.StatusOK)
	h.call("GET", "/api/v1/users", h.loggedIn(bob).access, nil).want(http.StatusOK)
	h.call("PATCH", "/api/v1/users/nobody", admin.access, fields{"disabled": true}).wantProblem(http.StatusNotFound, "not-found")
	h.call("PATCH", "/api/v1/users/bob", admin.access, fields{"role": "root"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.role")
}

func TestUsers_LastAdminStays(t *testing.T) {
	h := newHouse(t)
	admin := h.person("ada")
	h.person("bob")
	h.call("PATCH", "/api/v1/users/ada", admin.access, fields{"disabled": true}).wantProblem(http.StatusConflict, "last-admin")
	h.call("PATCH", "/api/v1/users/ada", admin.access, fields{"role": "user"}).wantProblem(http.StatusConflict, "last-admin")
	h.call("DELETE", "/api/v1/users/me", admin.access, fields{"password": goodPassword}).wantProblem(http.StatusConflict, "last-admin")
	h.call("GET", "/api/v1/users/me", admin.access, nil).want(http.StatusOK)
}

func TestInvitations_FromTheAdminToTheAccount(t *testing.T) {
	h := newHouse(t, func(_ *Config, policy *auth.Config, _ *Deps) { policy.Registration = auth.RegistrationInvite })
	admin := h.person("ada")
	register := func(name, code string) answer {
		t.Helper()
		f := fields{"username": name, "email": name + "@example.org", "password": goodPassword}
		if code != "" {
			f["invitation"] = code
		}
		return h.call("POST", "/api/v1/auth/register", "", f)
	}
	register("bob", "").wantProblem(http.StatusForbidden, "invitation-required")
	register("bob", "inv_wrong").wantFault(http.StatusUnprocessableEntity, "invalid", "body.invitation")
	made := h.call("POST", "/api/v1/invitations", admin.access, fields{"email": "bob@example.org", "expires_in": 3600}).want(http.StatusCreated).fields()
	code := made["code"].(string)
	if made["mailed"] != true || h.code("bob@example.org") != code {
		t.Errorf("got %v, want the code mailed too", made)
	}
	register("eve", code).wantFault(http.StatusUnprocessableEntity, "invalid", "body.email")
	if user := register("bob", code).want(http.StatusCreated).fields()["user"].(map[string]any); user["role"] != "user" {
		t.Errorf("got %v, want a user", user)
	}
	register("bob2", code).want(http.StatusUnprocessableEntity)
	open := h.call("POST", "/api/v1/invitations", admin.access, fields{"role": "admin"}).want(http.StatusCreated).fields()
	list := h.call("GET", "/api/v1/invitations", admin.access, nil).want(http.StatusOK).fields()["items"].([]any)
	if len(list) != 2 || list[1].(map[string]any)["used_by"] != "bob" || list[0].(map[string]any)["used_at"] != nil || list[0].(map[string]any)["code"] != nil {
		t.Errorf("got %v, want two, one of them used by bob", list)
	}
	id := open["invitation"].(map[string]any)["id"].(string)
	h.call("DELETE", "/api/v1/invitations/"+id, admin.access, nil).want(http.StatusNoContent)
	h.call("DELETE", "/api/v1/invitations/"+id, admin.access, nil).wantProblem(http.StatusNotFound, "not-found")
	register("eve", open["code"].(string)).wantFault(http.StatusUnprocessableEntity, "invalid", "body.invitation")
}
