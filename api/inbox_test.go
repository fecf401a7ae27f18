package api

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// knock has strangers knock, and be listed.
func (h *house) knock(secret string, serials ...string) {
	h.t.Helper()
	for i, serial := range serials {
		h.inbox.Knocked(telemetry.Knock{
			At: telemetry.Now() + telemetry.Millis(i), Serial: serial, Address: netip.MustParseAddr("192.0.2.7"), ClientID: "tasmota", Protocol: "MQTT 3.1.1",
		}, secret)
	}
	ctx, end := context.WithCancel(h.t.Context())
	end()
	h.inbox.Run(ctx) // which writes what it has before it ends
}

type inboxAnswer struct {
	Items []struct {
		Serial   string `json:"serial_no"`
		Attempts int
		Address  string
		ClientID string `json:"client_id"`
		Protocol string
		Secret   string
		Last     string `json:"last_seen_at"`
	}
	Next *string `json:"next_cursor"`
}

const shownSecret = "what-the-device-has"

func TestInbox_AdoptedWithOneClickTheDeviceGetsInWithItsOwnSecret(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.knock(shownSecret, "SN1", "ada")
	var page inboxAnswer
	h.call("GET", "/api/v1/inbox", p.access, nil).want(http.StatusOK).into(&page)
	if len(page.Items) != 1 || page.Next != nil {
		t.Fatalf("got %+v, want SN1 alone: a person is no stranger", page)
	}
	if s := page.Items[0]; s.Serial != "SN1" || s.Attempts != 1 || s.Address != "192.0.2.7" || s.ClientID != "tasmota" || s.Protocol != "MQTT 3.1.1" || s.Secret != "shown" {
		t.Errorf("got %+v", s)
	}
	f := h.call("POST", "/api/v1/inbox/SN1/adopt", p.access, nil).want(http.StatusCreated).fields()
	if f["secret_key"] != nil || f["sensor"].(map[string]any)["owner"] != "ada" {
		t.Errorf("got %v", f)
	}
	h.send("SN1", shownSecret, `{"t":1}`)
	h.call("GET", "/api/v1/inbox", p.access, nil).want(http.StatusOK).into(&page)
	if len(page.Items) != 0 || h.changes.count(auth.SensorAdded, "SN1") != 1 {
		t.Errorf("got %+v, %d announcements", page, h.changes.count(auth.SensorAdded, "SN1"))
	}
	h.call("POST", "/api/v1/inbox/SN1/adopt", p.access, nil).wantProblem(http.StatusNotFound, "not-found")
	if strings.Contains(h.logs.String(), shownSecret) {
		t.Error("the log holds the secret")
	}
}

func TestInbox_AdoptionForSomebodyElseWithFieldsAndANewSecret(t *testing.T) {
	h := newHouse(t)
	p, bob := h.person("ada"), h.person("bob")
	h.knock(shownSecret, "SN1")
	h.call("POST", "/api/v1/inbox/SN1/adopt", p.access, fields{"owner": "nobody"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.owner")
	h.call("POST", "/api/v1/inbox/SN1/adopt", p.access, fields{"serial_no": "SN2"}).wantFault(http.StatusUnprocessableEntity, "invalid", "path.serial_no")
	h.call("POST", "/api/v1/inbox/SN1/adopt", p.access, fields{"name": "bell \a"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.name")
	var got sensorAnswer
	h.call("POST", "/api/v1/inbox/SN1/adopt", p.access, fields{"owner": "Bob", "name": "Attic", "keep_secret": false, "tags": []string{"a"}}).
		want(http.StatusCreated).into(&got)
	h.call("GET", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusNotFound)
	if s := h.call("GET", "/api/v1/sensors/SN1", bob.access, nil).want(http.StatusOK).fields(); s["name"] != "Attic" {
		t.Errorf("got %v", s)
	}
	h.send("SN1", got.Secret, `{"t":1}`)
	h.call("POST", "/api/v1/sensors/SN1/telemetry", shownSecret, fields{"t": 1}).want(http.StatusUnauthorized)
}

// Who knocks under a stranger's serial with a secret of their own must not become that sensor by the admin's click.
func TestInbox_SecretThatChangedIsNotKeptUnasked(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.knock(shownSecret, "SN1", "SN2", "SN3")
	h.knock("an-intruder-s-secret", "SN1", "SN2")
	h.knock("", "SN3", "SN4")
	var page inboxAnswer
	h.call("GET", "/api/v1/inbox", p.access, nil).want(http.StatusOK).into(&page)
	secrets := map[string]string{}
	for _, s := range page.Items {
		secrets[s.Serial] = s.Secret
	}
	if secrets["SN1"] != "changed" || secrets["SN3"] != "shown" || secrets["SN4"] != "none" {
		t.Errorf("got %v", secrets)
	}
	var got sensorAnswer
	h.call("POST", "/api/v1/inbox/SN1/adopt", p.access, fields{}).want(http.StatusCreated).into(&got)
	h.call("POST", "/api/v1/sensors/SN1/telemetry", "an-intruder-s-secret", fields{"t": 1}).want(http.StatusUnauthorized)
	h.send("SN1", got.Secret, `{"t":1}`)
	h.call("POST", "/api/v1/inbox/SN2/adopt", p.access, fields{"keep_secret": true}).want(http.StatusCreated)
	h.send("SN2", "an-intruder-s-secret", `{"t":1}`) // the admin asked for the newest
	h.call("POST", "/api/v1/inbox/SN4/adopt", p.access, fields{"keep_secret": true}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.keep_secret")
	h.call("POST", "/api/v1/inbox/SN3/adopt", p.access, fields{"keep_secret": true, "secret_key": shownSecret}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.keep_secret")
}

func TestInbox_DismissedIsNotListedAgainAndMayStillBeAdopted(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.knock(shownSecret, "SN1", "SN2", "SN3")
	h.call("DELETE", "/api/v1/inbox/SN2", p.access, nil).want(http.StatusNoContent)
	h.call("DELETE", "/api/v1/inbox/SN2", p.access, nil).wantProblem(http.StatusNotFound, "not-found")
	h.knock(shownSecret, "SN2")
	var page inboxAnswer
	h.call("GET", "/api/v1/inbox?limit=1", p.access, nil).want(http.StatusOK).into(&page)
	if len(page.Items) != 1 || page.Items[0].Serial != "SN3" || page.Next == nil {
		t.Fatalf("got %+v, want SN3, seen last, and a next page", page)
	}
	h.call("GET", "/api/v1/inbox?limit=1&cursor="+*page.Next, p.access, nil).want(http.StatusOK).into(&page)
	if len(page.Items) != 1 || page.Items[0].Serial != "SN1" || page.Next != nil {
		t.Errorf("got %+v, want SN1 and the end", page)
	}
	h.call("GET", "/api/v1/inbox?cursor=nonsense", p.access, nil).wantFault(http.StatusUnprocessableEntity, "invalid", "query.cursor")
	h.call("POST", "/api/v1/inbox/SN2/adopt", p.access, nil).want(http.StatusCreated)
	h.send("SN2", shownSecret, `{"t":1}`)
}
