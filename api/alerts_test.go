package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// silence makes a sensor silent that has sent something, and returns the id of its alert.
func (h *house) silence(serial string) string {
	h.t.Helper()
	s, err := h.db.SensorBySerial(h.t.Context(), serial)
	must(h.t, err)
	_, steps, err := h.db.Silence(h.t.Context(), []telemetry.Liveness{{SensorID: s.ID, LastSeenAt: s.Status.LastSeenAt}}, telemetry.Opening{
		At:      telemetry.Now(),
		Explain: func(*telemetry.Liveness) (telemetry.Cause, string) { return telemetry.CauseLost, "canary silence" },
	})
	must(h.t, err)
	if len(steps) != 1 {
		h.t.Fatalf("silence of %s: got %+v, want one alert", serial, steps)
	}
	return steps[0].ID
}

type alertAnswer struct {
	Items []fields `json:"items"`
	Next  *string  `json:"next_cursor"`
}

func TestAlerts_LifeOfOneAsItsOwnerSeesIt(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, secret := h.sensor(p, fields{"serial_no": "SN1", "name": "Kitchen"})
	h.send("SN1", secret, `{"t":1}`)
	id := h.silence("SN1")
	var open alertAnswer
	h.call("GET", "/api/v1/alerts?state=open", p.access, nil).want(http.StatusOK).into(&open)
	if len(open.Items) != 1 || open.Items[0]["id"] != id || open.Items[0]["name"] != "Kitchen" || open.Items[0]["cause"] != "connection_lost" ||
		open.Items[0]["acknowledged_by"] != nil || open.Items[0]["resolved_at"] != nil {
		t.Fatalf("got %v, want the one", open.Items)
	}
	for range 2 {
		if f := h.call("POST", "/api/v1/alerts/"+id+"/ack", p.access, nil).want(http.StatusOK).fields(); f["acknowledged_by"] != "ada" || f["state"] != "open" {
			t.Errorf("got %v, want it acknowledged by ada", f)
		}
	}
	if s := h.watch.Stats(); s.AlertsAcknowledged != 1 {
		t.Errorf("got %d acknowledgements told, want 1", s.AlertsAcknowledged)
	}
	h.send("SN1", secret, `{"t":2}`)
	dev, _ := h.dir.Lookup("SN1")
	_, _, err := h.db.Returned(t.Context(), []telemetry.Return{{SensorID: dev.SensorID, At: telemetry.Now()}}, telemetry.Now(), telemetry.Etiquette{})
	must(t, err)
	if f := h.call("GET", "/api/v1/alerts/"+id, p.access, nil).want(http.StatusOK).fields(); f["state"] != "resolved" || f["resolved_at"] == nil {
		t.Errorf("got %v, want it resolved", f)
	}
	var timeline alertAnswer
	h.call("GET", "/api/v1/sensors/SN1/timeline", p.access, nil).want(http.StatusOK).into(&timeline)
	var events []string
	for _, e := range timeline.Items {
		events = append(events, e["event"].(string))
	}
	if want := []string{"online", "acknowledged", "silent", "created"}; !slices.Equal(events, want) {
		t.Errorf("timeline: got %q, want %q", events, want)
	}
}

func TestAlerts_PagesAndFilters(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	var ids []string
	for _, serial := range []string{"A", "B", "C"} {
		_, secret := h.sensor(p, fields{"serial_no": serial})
		h.send(serial, secret, `{"t":1}`)
		ids = append([]string{h.silence(serial)}, ids...)
	}
	for _, path := range []string{"/api/v1/alerts?limit=2", "/api/v1/sensors/B/timeline?limit=1"} {
		total := 0
		for cursor := ""; ; {
			var page alertAnswer
			h.call("GET", path+"&cursor="+url.QueryEscape(cursor), p.access, nil).want(http.StatusOK).into(&page)
			for _, item := range page.Items {
				if item["id"] != nil && item["id"] != ids[total] {
					t.Errorf("place %d: got %v, want %s", total, item["id"], ids[total])
				}
				total++
			}
			if page.Next == nil {
				break
			}
			cursor = *page.Next
		}
		if want := map[bool]int{true: 3, false: 2}[path[:15] == "/api/v1/alerts?"]; total != want {
			t.Errorf("%s: got %d, want %d", path, total, want)
		}
	}
	var one alertAnswer
	h.call("GET", "/api/v1/alerts?serial_no=B", p.access, nil).want(http.StatusOK).into(&one)
	if len(one.Items) != 1 || one.Items[0]["serial_no"] != "B" {
		t.Errorf("of B: got %v", one.Items)
	}
	h.call("GET", "/api/v1/alerts?serial_no=Z", p.access, nil).wantProblem(http.StatusNotFound, "not-found")
	h.call("GET", "/api/v1/alerts?state=closed", p.access, nil).want(http.StatusUnprocessableEntity)
	h.call("GET", "/api/v1/alerts?cursor=x", p.access, nil).wantFault(http.StatusUnprocessableEntity, "invalid", "query.cursor")
	future := url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339))
	h.call("GET", "/api/v1/sensors/B/timeline?from="+future, p.access, nil).want(http.StatusOK).into(&one)
	if len(one.Items) != 0 {
		t.Errorf("from an hour ahead: got %v", one.Items)
	}
}

// Who was let watch a sensor sees its alerts; to acknowledge one takes more.
func TestAlerts_ViewersSeeAndManagersAcknowledge(t *testing.T) {
	h := newHouse(t)
	p, friend := h.person("ada"), h.person("bob")
	_, secret := h.sensor(p, fields{"serial_no": "SN1"})
	h.send("SN1", secret, `{"t":1}`)
	id := h.silence("SN1")
	dev, _ := h.dir.Lookup("SN1")
	bob, err := h.auth.Authenticate(friend.access)
	must(t, err)
	for access, want := range map[auth.Access]int{auth.ViewerAccess: http.StatusForbidden, auth.ManagerAccess: http.StatusOK} {
		dev.Shares = []auth.Share{{UserID: bob.UserID, Access: access}}
		h.dir.Put(dev)
		var page alertAnswer
		h.call("GET", "/api/v1/alerts", friend.access, nil).want(http.StatusOK).into(&page)
		if len(page.Items) != 1 {
			t.Errorf("%s: got %v, want the alert", access, page.Items)
		}
		h.call("GET", "/api/v1/sensors/SN1/timeline", friend.access, nil).want(http.StatusOK)
		h.call("POST", "/api/v1/alerts/"+id+"/ack", friend.access, nil).want(want)
	}
}

// REST, frames, messages and notices tell an alert in the same words.
func TestAlerts_AreToldEverywhereAlike(t *testing.T) {
	a := telemetry.Alert{
		ID: "x", Serial: "S", Name: "n", Kind: telemetry.AlertSilent, Cause: telemetry.CauseWill, Severity: telemetry.SeverityWarning, Message: "<m>",
		OpenedAt: 1, AcknowledgedAt: 2, AcknowledgedBy: "ada", Episodes: 4, Flapping: true,
	}
	for range 2 {
		var here, there any
		for v, into := range map[any]*any{a: &there, alertOf(a): &here} {
			b, err := json.Marshal(v)
			must(t, err)
			must(t, json.Unmarshal(b, into))
		}
		if !reflect.DeepEqual(here, there) {
			t.Errorf("REST %v, elsewhere %v", here, there)
		}
		a.AcknowledgedAt, a.AcknowledgedBy, a.ResolvedAt = 0, "", 3
	}
}

func TestSensor_SilenceModeAndCadence(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, fields{"serial_no": "A", "silence_mode": "learned"})
	h.sensor(p, fields{"serial_no": "B"})
	mode := func(serial string) any {
		f := h.call("GET", "/api/v1/sensors/"+serial, p.access, nil).want(http.StatusOK).fields()
		if c, there := f["cadence"]; !there || c != nil {
			t.Errorf("%s: got cadence %v, want null", serial, c)
		}
		return f["silence_mode"]
	}
	if mode("A") != "learned" || mode("B") != "fixed" {
		t.Errorf("got %v and %v, want learned and fixed", mode("A"), mode("B"))
	}
	for value, want := range map[any]string{"learned": "learned", nil: "fixed"} {
		h.call("PATCH", "/api/v1/sensors/B", p.access, fields{"silence_mode": value}).want(http.StatusOK)
		if got := mode("B"); got != want {
			t.Errorf("after %v: got %v, want %s", value, got, want)
		}
	}
	h.call("PATCH", "/api/v1/sensors/B", p.access, fields{"silence_mode": "guess"}).want(http.StatusUnprocessableEntity)
}
