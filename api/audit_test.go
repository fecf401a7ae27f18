package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/audit"
	"sensorcast/auth"
	"sensorcast/telemetry"
)

// entry is an audit entry as clients see it.
type entry struct {
	Action, Outcome                                  string
	Count                                            int64
	Actor, Via, Via_ID, Address, Serial_No, Username string
	Detail                                           map[string]any
}

// trail is what the audit shows to who has the token, oldest first.
func (h *house) trail(token, query string) []entry {
	h.t.Helper()
	var page struct{ Items []entry }
	h.call("GET", "/api/v1/audit?"+query, token, nil).want(http.StatusOK).into(&page)
	slices.Reverse(page.Items)
	return page.Items
}

func (e entry) String() string {
	return strings.Join([]string{e.Actor, e.Action, e.Outcome, e.Serial_No, e.Username}, " ")
}

func strs(entries []entry) (out []string) {
	for _, e := range entries {
		out = append(out, strings.TrimSpace(e.String()))
	}
	return out
}

// What changes something is audited. Exempt are these, each with its reason; a new one stands here, or leaves entries.
func TestAudit_EveryOperationThatWritesIsAuditedOrHasAReason(t *testing.T) {
	exempt := []string{"create-device-ticket", "create-ticket", "logout", "preview-rule", "refresh", "send-telemetry", "verify"}
	var got []string
	operations(New(Config{}, Deps{}), func(op *huma.Operation) {
		writes := op.Method != http.MethodGet && op.Method != http.MethodHead
		if writes && !isAudited(op) {
			got = append(got, op.OperationID)
		}
		if !writes && isAudited(op) {
			t.Errorf("%s only reads and leaves entries", op.OperationID)
		}
	})
	if slices.Sort(got); !slices.Equal(got, exempt) {
		t.Errorf("got %v exempt, want %v", got, exempt)
	}
}

func TestHandle_RefusesAnExemptionWithoutAReason(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Errorf("an operation that is not audited for no reason was registered")
		}
	}()
	handle(New(Config{}, Deps{}), huma.Operation{
		OperationID: "secretive", Method: "POST", Path: "/secretive", Security: public(), Metadata: unaudited(""),
	}, (&API{}).healthy)
}

func TestAudit_TellsWhatWasDoneBeforeItIsAnswered(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	h.sensor(ada, fields{"serial_no": "SN1"})
	h.call("PATCH", "/api/v1/sensors/SN1", ada.access, fields{"name": "Attic", "tags": []string{"a"}}).want(http.StatusOK)
	h.call("PATCH", "/api/v1/sensors/SN1", ada.access, fields{"silence_after": nil}).want(http.StatusOK)
	h.call("PATCH", "/api/v1/sensors/SN1", ada.access, fields{"silence_after": -1}).want(http.StatusUnprocessableEntity)
	h.call("POST", "/api/v1/sensors/SN1/secret", ada.access, nil).want(http.StatusOK)
	h.call("POST", "/api/v1/sensors/SN1/commands", ada.access, fields{"name": "reboot"}).want(http.StatusAccepted)
	h.call("DELETE", "/api/v1/sensors/SN1", ada.access, nil).want(http.StatusNoContent)
	h.call("DELETE", "/api/v1/sensors/SN1", ada.access, nil).want(http.StatusNotFound)
	h.call("PATCH", "/api/v1/users/me", ada.access, fields{"first_name": "Ada"}).want(http.StatusOK)
	h.call("POST", "/api/v1/users/me/password", ada.access, fields{"current_password": "not it", "new_password": "another good one"}).want(http.StatusUnprocessableEntity)
	h.call("POST", "/api/v1/users/me/password", ada.access, fields{"current_password": goodPassword, "new_password": "another good one"}).want(http.StatusNoContent)
	got := h.trail(ada.access, "")
	want := []string{
		"ada register done", "ada create-sensor done SN1", "ada update-sensor done SN1", "ada update-sensor done SN1", "ada rotate-secret done SN1",
		"ada create-command done SN1", "ada delete-sensor done SN1", "ada update-me done", "ada change-password refused", "ada change-password done",
	}
	if !slices.Equal(strs(got), want) {
		t.Fatalf("got %q, want %q", strs(got), want)
	}
	for i, detail := range map[int]map[string]any{
		2: {"fields": []any{"name", "tags"}}, 3: {"fields": []any{"silence_after"}}, 5: {"name": "reboot"}, 6: nil, 7: {"fields": []any{"first_name"}},
	} {
		if !maps.EqualFunc(got[i].Detail, detail, func(a, b any) bool { return asText(a) == asText(b) }) {
			t.Errorf("%s: got detail %v, want %v", got[i], got[i].Detail, detail)
		}
	}
	for i, e := range got {
		if via := map[bool]string{true: "", false: "session"}[i == 0]; e.Via != via || e.Address != "127.0.0.1" || e.Count != 1 || (e.Via_ID == "") != (i == 0) {
			t.Errorf("%s: got via %q %q from %q, %d times", e, e.Via, e.Via_ID, e.Address, e.Count)
		}
	}
	if got := strs(h.trail(ada.access, "action=rotate-secret&actor=ada&serial_no=SN1&from=2020-01-01T00:00:00Z")); len(got) != 1 {
		t.Errorf("filtered: got %q, want the rotation", got)
	}
	if got := h.trail(ada.access, "to=2020-01-01T00:00:00Z"); len(got) != 0 {
		t.Errorf("got %q of long ago, want nothing", strs(got))
	}
}

// asText spells a value the same whatever decoded it.
func asText(v any) string {
	b, _ := json.Marshal(v) // it was JSON before
	return string(b)
}

func TestAudit_ListIsPaged(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	for range 4 {
		h.sensor(ada, fields{})
	}
	var all []entry
	for next, pages := "", 0; ; pages++ {
		var page struct {
			Items []entry
			Next  *string `json:"next_cursor"`
		}
		h.call("GET", "/api/v1/audit?limit=2&cursor="+next, ada.access, nil).want(http.StatusOK).into(&page)
		all = append(all, page.Items...)
		if page.Next == nil {
			if pages != 2 || len(all) != 5 {
				t.Errorf("got %d entries on %d pages, want 5 on 3", len(all), pages+1)
			}
			break
		}
		next = *page.Next
	}
	h.call("GET", "/api/v1/audit?cursor=nonsense", ada.access, nil).wantFault(http.StatusUnprocessableEntity, "invalid", "query.cursor")
	h.call("GET", "/api/v1/audit?from=yesterday", ada.access, nil).wantFault(http.StatusUnprocessableEntity, "invalid", "query.from")
}

// share makes somebody a manager of the sensor, or a viewer, as package auth knows it.
func (h *house) share(serial string, with int64, access auth.Access) {
	h.t.Helper()
	dev, known := h.dir.Lookup(serial)
	if !known {
		h.t.Fatalf("no sensor %s", serial)
	}
	dev.Shares = dev.SharedWith(with, access)
	h.dir.Put(dev)
}

func (h *house) id(p personFixture) int64 {
	h.t.Helper()
	who, err := h.auth.Authenticate(p.access)
	must(h.t, err)
	return who.UserID
}

func TestAudit_PeopleSeeWhatConcernsThem(t *testing.T) {
	h := newHouse(t)
	admin, owner, manager, viewer := h.person("admin"), h.person("owner"), h.person("manager"), h.person("viewer")
	h.sensor(owner, fields{"serial_no": "SN1"})
	h.share("SN1", h.id(manager), auth.ManagerAccess)
	h.share("SN1", h.id(viewer), auth.ViewerAccess)
	h.call("POST", "/api/v1/sensors/SN1/secret", manager.access, nil).want(http.StatusOK)
	h.call("POST", "/api/v1/sensors/SN1/commands", viewer.access, fields{"name": "open"}).want(http.StatusForbidden)

	registered, rotated, refused := "owner register done", "manager rotate-secret done SN1", "viewer create-command refused SN1"
	for who, tc := range map[string]struct {
		token string
		want  []string
	}{
		"owner":   {owner.access, []string{registered, "owner create-sensor done SN1", rotated, refused}},
		"manager": {manager.access, []string{"manager register done", rotated}},
		"viewer":  {viewer.access, []string{"viewer register done", refused}},
		"admin": {admin.access, []string{
			"admin register done", registered, "manager register done", "viewer register done", "owner create-sensor done SN1", rotated, refused,
		}},
	} {
		if got := strs(h.trail(tc.token, "")); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", who, got, tc.want)
		}
	}
	for who, tc := range map[string]struct {
		token string
		told  bool
	}{"owner": {owner.access, false}, "manager": {manager.access, true}, "admin": {admin.access, true}} {
		e := h.trail(tc.token, "action=rotate-secret")[0]
		if told := e.Address != "" || e.Via_ID != ""; told != tc.told {
			t.Errorf("%s: got address %q and session %q of the manager, want told %v", who, e.Address, e.Via_ID, tc.told)
		}
	}
}

func TestAudit_TrailFollowsTheSensorAndNotItsSerial(t *testing.T) {
	h := newHouse(t)
	admin, bob, carl := h.person("admin"), h.person("bob"), h.person("carl")
	h.sensor(bob, fields{"serial_no": "SN1"})
	h.call("POST", "/api/v1/sensors/SN1/secret", bob.access, nil).want(http.StatusOK)
	h.call("DELETE", "/api/v1/sensors/SN1", bob.access, nil).want(http.StatusNoContent)
	before := []string{"bob create-sensor done SN1", "bob rotate-secret done SN1", "bob delete-sensor done SN1"}
	if got := strs(h.trail(bob.access, "serial_no=SN1")); !slices.Equal(got, before) {
		t.Errorf("who had it: got %q, want %q", got, before)
	}
	h.sensor(carl, fields{"serial_no": "SN1"})
	if got, want := strs(h.trail(carl.access, "serial_no=SN1")), []string{"carl create-sensor done SN1"}; !slices.Equal(got, want) {
		t.Errorf("who has the serial now: got %q, want %q", got, want)
	}
	if got := strs(h.trail(bob.access, "serial_no=SN1")); !slices.Equal(got, before) {
		t.Errorf("who had it, afterwards: got %q, want %q", got, before)
	}
	h.call("DELETE", "/api/v1/sensors/SN1", carl.access, nil).want(http.StatusNoContent)
	h.sensor(bob, fields{"serial_no": "SN1"})
	if got, want := strs(h.trail(bob.access, "serial_no=SN1")), before[:1]; !slices.Equal(got, want) {
		t.Errorf("who has it again: got %q, want %q of the new one only", got, want)
	}
	if got := h.trail(admin.access, "serial_no=SN1"); len(got) != 6 {
		t.Errorf("admin: got %q, want all six", strs(got))
	}
}

func TestAudit_FailedLoginsShareAnEntryOfTheirAccount(t *testing.T) {
	h := newHouse(t)
	ada, bob := h.person("ada"), h.person("bob")
	try := func(login, password string, want int) {
		t.Helper()
		h.call("POST", "/api/v1/auth/login", "", fields{"login": login, "password": password}).want(want)
	}
	for range 3 {
		try("bob", "not the password", 401)
	}
	try("BOB@example.org", "not the password", 401)
	try(canary, "not the password", 401) // somebody typed it into the wrong field
	try("bob", goodPassword, 200)
	got := h.trail(bob.access, "")
	if want := []string{"bob register done", "login refused  bob", "bob login done"}; !slices.Equal(slices.Compact(strs(got)), want) || len(got) > 4 {
		t.Fatalf("got %q, want %q", strs(got), want)
	}
	failures := int64(0)
	for _, e := range got[1 : len(got)-1] { // two when a minute ended in between
		failures += e.Count
		if e.Address != "127.0.0.1" {
			t.Errorf("got failures from %q, want them from 127.0.0.1", e.Address)
		}
	}
	if failures != 4 {
		t.Errorf("got %d failures, want 4", failures)
	}
	all := h.call("GET", "/api/v1/audit?action=login", ada.access, nil).want(http.StatusOK)
	if strings.Contains(string(all.body), canary) {
		t.Errorf("the trail repeats what was typed as a login: %s", all.body)
	}
	if got := strs(h.trail(ada.access, "action=login")); !slices.Contains(got, "login refused") {
		t.Errorf("admin: got %q, want a refusal of nobody's account among them", got)
	}
}

func TestAudit_TokenThatComesAgainIsToldToItsAccount(t *testing.T) {
	h := newHouse(t)
	h.person("admin")
	for _, by := range []string{"refresh", "logout"} {
		p := h.person(by)
		stolen := p.refresh
		for range 2 { // so that what is stolen is older than what is let pass again
			p.refresh = h.call("POST", "/api/v1/auth/refresh", "", fields{"refresh_token": p.refresh}).want(http.StatusOK).fields()["refresh_token"].(string)
		}
		h.call("POST", "/api/v1/auth/"+by, "", fields{"refresh_token": stolen}).want(map[string]int{"refresh": 401, "logout": 204}[by])
		p = h.loggedIn(p)
		got := h.trail(p.access, "")
		if want := []string{by + " register done", by + " refused  " + by, by + " login done"}; !slices.Equal(strs(got), want) {
			t.Errorf("%s: got %q, want %q", by, strs(got), want)
		}
	}
}

func TestAudit_HoldsNoSecret(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	_, secret := h.sensor(ada, fields{"serial_no": "SN1", "secret_key": canary})
	rotated := h.call("POST", "/api/v1/sensors/SN1/secret", ada.access, nil).want(http.StatusOK).fields()["secret_key"].(string)
	h.call("POST", "/api/v1/users/me/password", ada.access, fields{"current_password": goodPassword, "new_password": canary + "-new"}).want(http.StatusNoContent)
	text := string(h.call("GET", "/api/v1/audit", ada.access, nil).want(http.StatusOK).body)
	for what, s := range map[string]string{"password": goodPassword, "secret": secret, "new secret": rotated, "access token": ada.access, "refresh token": ada.refresh} {
		if strings.Contains(text, s) {
			t.Errorf("the trail holds the %s", what)
		}
	}
}

// brokenTrail keeps nothing.
type brokenTrail struct{ audit.Keeper }

func (brokenTrail) AppendEntry(context.Context, audit.Entry, string) error {
	return telemetry.ErrUnavailable
}

func TestAudit_WhatIsDoneStandsWhenItsEntryIsLost(t *testing.T) {
	var trail *audit.Trail
	h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) {
		trail = audit.New(brokenTrail{}, deps.Log)
		deps.Audit = trail
	})
	h.sensor(h.person("ada"), fields{"serial_no": "SN1"})
	if got := trail.Stats().Lost; got != 2 || !strings.Contains(h.logs.String(), "audit entry lost") {
		t.Errorf("got %d lost, want 2, in the log too", got)
	}
}
