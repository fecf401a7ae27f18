package api

import (
	"net/http"
	"strings"
	"testing"
)

type loginFixture struct {
	ID         string  `json:"id"`
	Current    bool    `json:"current"`
	Address    *string `json:"address"`
	Client     *string `json:"client"`
	CreatedAt  string  `json:"created_at"`
	LastUsedAt string  `json:"last_used_at"`
	ExpiresAt  string  `json:"expires_at"`
}

func (h *house) sessions(p personFixture) (items []loginFixture) {
	h.t.Helper()
	path := "/api/v1/users/me/sessions?limit=2"
	for {
		var page struct {
			Items []loginFixture `json:"items"`
			Next  string         `json:"next_cursor"`
		}
		h.call("GET", path, p.access, nil).want(http.StatusOK).into(&page)
		items = append(items, page.Items...)
		if page.Next == "" {
			return items
		}
		path = "/api/v1/users/me/sessions?limit=2&cursor=" + page.Next
	}
}

func TestSessions_SayFromWhereAndWhichIsThisOne(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	for i, agent := range []string{"Phone/1.0 \u202e(evil)", strings.Repeat("ü", 10_000), "", "Laptop"} {
		f := h.call("POST", "/api/v1/auth/login", "", fields{"login": "ada", "password": goodPassword}, "User-Agent: "+agent).want(http.StatusOK).fields()
		if i == 3 {
			h.call("POST", "/api/v1/auth/refresh", "", fields{"refresh_token": f["refresh_token"]}, "User-Agent: Laptop/2.0").want(http.StatusOK)
		}
	}
	got := h.sessions(p)
	if len(got) != 5 {
		t.Fatalf("got %d sessions, want the registration and four logins", len(got))
	}
	for i, want := range []string{"Laptop/2.0", "", strings.Repeat("ü", 200), "Phone/1.0 (evil)", "Go-http-client/1.1"} {
		s := got[i]
		client := ""
		if s.Client != nil {
			client = *s.Client
		}
		if client != want || s.Address == nil || *s.Address != "127.0.0.1" || s.Current != (i == 4) || len(s.ID) != 26 {
			t.Errorf("session %d: got %+v by %.20q, want it by %.20q from 127.0.0.1, the last one current", i, s, client, want)
		}
		if !isTimestamp(s.CreatedAt) || s.LastUsedAt < s.CreatedAt || s.ExpiresAt <= s.LastUsedAt {
			t.Errorf("session %d: got times %+v", i, s)
		}
	}
	for _, cursor := range []string{"x", "%21", "LjEu", "YWJj"} {
		h.call("GET", "/api/v1/users/me/sessions?cursor="+cursor, p.access, nil).wantFault(http.StatusUnprocessableEntity, "invalid", "query.cursor")
	}
}

func TestSessions_EndAllButTheOneThatAsks(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.person("ada"), h.person("bob")
	var lost []fields
	for range 3 {
		lost = append(lost, h.call("POST", "/api/v1/auth/login", "", fields{"login": "ada", "password": goodPassword}).want(http.StatusOK).fields())
	}
	for range 2 { // none being left is no error
		h.call("DELETE", "/api/v1/users/me/sessions", ada.access, nil).want(http.StatusNoContent)
	}
	for _, grant := range lost {
		h.call("GET", "/api/v1/users/me", grant["access_token"].(string), nil).want(http.StatusUnauthorized)
		h.call("POST", "/api/v1/auth/refresh", "", fields{"refresh_token": grant["refresh_token"]}).want(http.StatusUnauthorized)
	}
	if left := h.sessions(ada); len(left) != 1 || !left[0].Current {
		t.Errorf("sessions left: got %+v, want the one that asks", left)
	}
	if left := h.sessions(bob); len(left) != 1 {
		t.Errorf("bob's sessions: got %+v, want the one untouched", left)
	}
}

func TestSessions_EndOneAndOnlyOnesOwn(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.person("ada"), h.person("bob")
	lost := h.call("POST", "/api/v1/auth/login", "", fields{"login": "ada", "password": goodPassword}).want(http.StatusOK).fields()
	id := h.sessions(ada)[0].ID
	foreign := h.call("DELETE", "/api/v1/users/me/sessions/"+id, bob.access, nil).want(http.StatusNotFound)
	unknown := h.call("DELETE", "/api/v1/users/me/sessions/"+strings.Repeat("x", 26), bob.access, nil).want(http.StatusNotFound)
	if string(foreign.body) != string(unknown.body) {
		t.Errorf("somebody else's: got %s, an unknown one %s, want the same", foreign.body, unknown.body)
	}
	h.call("GET", "/api/v1/users/me", lost["access_token"].(string), nil).want(http.StatusOK)
	h.call("DELETE", "/api/v1/users/me/sessions/"+id, ada.access, nil).want(http.StatusNoContent)
	h.call("GET", "/api/v1/users/me", lost["access_token"].(string), nil).want(http.StatusUnauthorized)
	h.call("POST", "/api/v1/auth/refresh", "", fields{"refresh_token": lost["refresh_token"]}).want(http.StatusUnauthorized)
	h.call("DELETE", "/api/v1/users/me/sessions/"+id, ada.access, nil).want(http.StatusNotFound)
	if left := h.sessions(ada); len(left) != 1 || !left[0].Current {
		t.Errorf("sessions left: got %+v, want the one that asks", left)
	}
	h.call("DELETE", "/api/v1/users/me/sessions/"+h.sessions(ada)[0].ID, ada.access, nil).want(http.StatusNoContent)
	h.call("GET", "/api/v1/users/me", ada.access, nil).want(http.StatusUnauthorized)
	if h.sessions(bob)[0].Current != true {
		t.Error("bob's session: got it ended, want it untouched")
	}
}
