package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

func isTimestamp(v any) bool {
	s, ok := v.(string)
	return ok && timestamp.MatchString(s)
}

// The fields contract.md §3 names, no more and no less.
var sensorFields = strings.Split("id,serial_no,name,description,mac_address,sensor_type,manufacturer,tags,owner,access,state,connected,last_seen_at,silence_after,silence_mode,cadence,latest,problems,created_at,updated_at", ",")

func TestCreateSensor_ShowsTheContractsFieldsAndTheSecretOnce(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	var created sensorAnswer
	h.call("POST", "/api/v1/sensors", p.access, map[string]any{
		"serial_no": "SN1", "name": "Attic <1>", "description": "under the roof", "mac_address": "84-FC-E6-12-34-56",
		"sensor_type": "wall_mount", "manufacturer": "ACME", "tags": []string{"roof", " roof ", "north"}, "silence_after": 90,
	}).want(http.StatusCreated).into(&created)
	s := created.Sensor
	for _, field := range sensorFields {
		if _, there := s[field]; !there {
			t.Errorf("field %s is missing", field)
		}
	}
	if len(s) != len(sensorFields) {
		t.Errorf("got %d fields %v, want %d", len(s), s, len(sensorFields))
	}
	want := map[string]any{
		"serial_no": "SN1", "name": "Attic <1>", "description": "under the roof", "mac_address": "84:fc:e6:12:34:56", "sensor_type": "wall_mount",
		"manufacturer": "ACME", "owner": "ada", "access": "owner", "state": "never_seen", "connected": false, "last_seen_at": nil, "silence_after": 90.0, "latest": nil,
	}
	for field, value := range want {
		if s[field] != value {
			t.Errorf("%s: got %v, want %v", field, s[field], value)
		}
	}
	if got := fmt.Sprint(s["tags"]); got != "[roof north]" {
		t.Errorf("tags: got %v, want [roof north]", got)
	}
	if len(s["id"].(string)) != 26 || !isTimestamp(s["created_at"]) || !isTimestamp(s["updated_at"]) {
		t.Errorf("got id %v, created %v, updated %v", s["id"], s["created_at"], s["updated_at"])
	}
	if got := fmt.Sprint(s["problems"]); got != "map[last_at:<nil> last_reason:<nil> malformed:0 refused:0]" {
		t.Errorf("problems: got %v", got)
	}
	if !strings.HasPrefix(created.Secret, "sdk_") {
		t.Errorf("got secret of %d characters, want sdk_…", len(created.Secret))
	}
	for _, path := range []string{"/api/v1/sensors", "/api/v1/sensors/SN1"} {
		if body := string(h.call("GET", path, p.access, nil).want(http.StatusOK).body); strings.Contains(body, created.Secret) || strings.Contains(body, "secret") {
			t.Errorf("%s shows a secret again: %s", path, body)
		}
	}
	if n := h.changes.count(auth.SensorAdded, "SN1"); n != 1 {
		t.Errorf("got %d announcements, want 1", n)
	}
	h.send("SN1", created.Secret, `{"t":1}`)
}

func TestCreateSensor_GeneratesAnUnambiguousSerial(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	seen := map[string]bool{}
	for range 20 {
		serial, _ := h.sensor(p, map[string]any{})
		if !regexp.MustCompile(`^SN-[2-9A-HJKMNP-Z]{10}$`).MatchString(serial) || seen[serial] {
			t.Errorf("got serial %q", serial)
		}
		seen[serial] = true
	}
}

func TestCreateSensor_TakesTheOwnersSecretWhenItIsLongEnough(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, secret := h.sensor(p, map[string]any{"serial_no": "SN1", "secret_key": "flashed-at-the-factory"})
	if secret != "flashed-at-the-factory" {
		t.Errorf("got another secret than was given")
	}
	h.send("SN1", "flashed-at-the-factory", `{"t":1}`)
	h.call("POST", "/api/v1/sensors", p.access, map[string]any{"serial_no": "SN2", "secret_key": "too short"}).
		wantFault(http.StatusUnprocessableEntity, "invalid", "body.secret_key")
}

func TestCreateSensor_RefusesWhatIsWrongByField(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, map[string]any{"serial_no": "TAKEN"})
	h.call("POST", "/api/v1/sensors", p.access, map[string]any{"serial_no": "TAKEN"}).wantFault(http.StatusConflict, "conflict", "body.serial_no")
	h.call("POST", "/api/v1/sensors", h.person("bob").access, map[string]any{"serial_no": "TAKEN"}).wantFault(http.StatusConflict, "conflict", "body.serial_no")
	for field, value := range map[string]any{
		"serial_no":     "a/b",
		"name":          strings.Repeat("x", 201),
		"description":   "bell \a",
		"mac_address":   "zz",
		"sensor_type":   strings.Repeat("x", 101),
		"manufacturer":  7,
		"tags":          []string{"a,b"},
		"silence_after": 0,
		"secret_key":    true,
		"unknown":       1,
	} {
		draft := map[string]any{field: value}
		h.call("POST", "/api/v1/sensors", p.access, draft).wantFault(http.StatusUnprocessableEntity, "invalid", "body."+field)
	}
	for _, silence := range []any{0.5, "60", -1, 31622401, 1e300, true, []int{1}} {
		h.call("POST", "/api/v1/sensors", p.access, map[string]any{"silence_after": silence}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.silence_after")
	}
	// Two mistakes are both named.
	a := h.call("POST", "/api/v1/sensors", p.access, map[string]any{"serial_no": "#", "secret_key": "short"})
	a.wantFault(http.StatusUnprocessableEntity, "invalid", "body.serial_no")
	a.wantFault(http.StatusUnprocessableEntity, "invalid", "body.secret_key")
}

func TestUpdateSensor_AbsentKeepsNullClears(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, map[string]any{"serial_no": "SN1", "name": "old", "description": "kept", "tags": []string{"a"}, "silence_after": 60})
	f := h.call("PATCH", "/api/v1/sensors/SN1", p.access, map[string]any{"name": "new"}).want(http.StatusOK).fields()
	if f["name"] != "new" || f["description"] != "kept" || f["silence_after"] != 60.0 || fmt.Sprint(f["tags"]) != "[a]" {
		t.Errorf("got %v, want only the name changed", f)
	}
	f = h.call("PATCH", "/api/v1/sensors/SN1", p.access, map[string]any{"silence_after": nil, "description": nil, "tags": nil}).want(http.StatusOK).fields()
	if f["silence_after"] != nil || f["description"] != "" || fmt.Sprint(f["tags"]) != "[]" || f["name"] != "new" {
		t.Errorf("got %v, want silence_after null, description and tags empty", f)
	}
	if again := h.call("GET", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusOK).fields(); fmt.Sprint(again) != fmt.Sprint(f) {
		t.Errorf("got %v from GET, want what PATCH answered: %v", again, f)
	}
	h.call("PATCH", "/api/v1/sensors/SN1", p.access, map[string]any{"serial_no": "SN2"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.serial_no")
	h.call("PATCH", "/api/v1/sensors/SN1", p.access, map[string]any{"silence_after": 0}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.silence_after")
	h.call("PATCH", "/api/v1/sensors/SN1", p.access, map[string]any{"mac_address": "zz"}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.mac_address")
}

func TestDeleteSensor_ClosesTheDoorsAndFreesTheSerial(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, secret := h.sensor(p, map[string]any{"serial_no": "SN1"})
	h.send("SN1", secret, `{"t":1}`)
	h.call("DELETE", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusNoContent)
	h.call("DELETE", "/api/v1/sensors/SN1", p.access, nil).wantProblem(http.StatusNotFound, "not-found")
	h.call("POST", "/api/v1/sensors/SN1/telemetry", secret, []byte(`{"t":1}`)).want(http.StatusUnauthorized)
	if n := h.changes.count(auth.SensorRemoved, "SN1"); n != 1 {
		t.Errorf("got %d announcements, want 1", n)
	}

	bob := h.person("bob")
	h.sensor(bob, map[string]any{"serial_no": "SN1"})
	h.call("GET", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusNotFound)
	var page struct{ Items []any }
	h.call("GET", "/api/v1/sensors/SN1/readings", bob.access, nil).want(http.StatusOK).into(&page)
	if len(page.Items) != 0 {
		t.Errorf("the new owner of a serial got the old one's readings: %v", page.Items)
	}
}

// Deleting and creating the same serial from all sides must leave store and Directory agreeing.
func TestRegistry_ConcurrentChangesLeaveMemoryAndStoreAgreeing(t *testing.T) {
	h := newHouse(t)
	people := []personFixture{h.person("ada"), h.person("bob")}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := people[i%2]
			for range 10 {
				h.call("POST", "/api/v1/sensors", p.access, map[string]any{"serial_no": "SN1"})
				h.call("PATCH", "/api/v1/sensors/SN1", p.access, map[string]any{"name": p.username})
				h.call("POST", "/api/v1/sensors/SN1/secret", p.access, map[string]any{})
				h.call("DELETE", "/api/v1/sensors/SN1", p.access, nil)
			}
		})
	}
	wg.Wait()
	for _, p := range people {
		h.call("POST", "/api/v1/sensors", p.access, map[string]any{"serial_no": "LAST-" + p.username}).want(http.StatusCreated)
	}
	stored, err := h.db.Devices(t.Context())
	must(t, err)
	for _, dev := range stored {
		inMemory, known := h.dir.Lookup(dev.Serial)
		if !known || inMemory.SensorID != dev.SensorID || inMemory.OwnerID != dev.OwnerID || len(inMemory.Secrets) != len(dev.Secrets) {
			t.Errorf("serial %s: store has %+v, memory %+v", dev.Serial, dev, inMemory)
		}
	}
	if len(stored) != h.dir.Len() {
		t.Errorf("store has %d sensors, memory %d", len(stored), h.dir.Len())
	}
}

type pageAnswer struct {
	Items []map[string]any `json:"items"`
	Next  *string          `json:"next_cursor"`
}

func (p pageAnswer) serials() []string {
	var out []string
	for _, s := range p.Items {
		out = append(out, s["serial_no"].(string))
	}
	return out
}

func TestListSensors_PagesThroughEverythingOnce(t *testing.T) {
	h := newHouse(t)
	p, other := h.person("ada"), h.person("bob")
	var want []string
	for i := range 23 {
		serial := fmt.Sprintf("SN%02d", i)
		h.sensor(p, map[string]any{"serial_no": serial, "name": fmt.Sprintf("n%d", i%3)})
		want = append(want, serial)
	}
	h.sensor(other, map[string]any{"serial_no": "NOT-HERS"})
	for _, sort := range []string{"serial_no", "-serial_no", "name", "-name", "last_seen_at", "-last_seen_at", "created_at", "-created_at"} {
		var got []string
		cursor, pages := "", 0
		for {
			var page pageAnswer
			h.call("GET", "/api/v1/sensors?limit=5&sort="+sort+"&cursor="+cursor, p.access, nil).want(http.StatusOK).into(&page)
			got = append(got, page.serials()...)
			if pages++; page.Next == nil {
				break
			}
			cursor = *page.Next
		}
		if sort == "serial_no" && !slices.Equal(got, want) {
			t.Errorf("sort %s: got %v, want %v", sort, got, want)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || pages != 5 {
			t.Errorf("sort %s: got %d pages of %v, want 5 of %v", sort, pages, got, want)
		}
	}
}

func TestListSensors_Filters(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, secret := h.sensor(p, map[string]any{"serial_no": "SN1", "name": "Attic", "tags": []string{"roof"}})
	h.sensor(p, map[string]any{"serial_no": "SN2", "name": "Cellar", "manufacturer": "ACME"})
	h.send("SN1", secret, `{"t":20.5}`)
	for query, want := range map[string]string{
		"":                   "SN1,SN2",
		"?q=att":             "SN1",
		"?q=acme":            "SN2",
		"?q=nothing":         "",
		"?tag=roof":          "SN1",
		"?tag=ro":            "",
		"?state=online":      "SN1",
		"?state=never_seen":  "SN2",
		"?state=silent":      "",
		"?sort=-serial_no":   "SN2,SN1",
		"?q=SN&state=online": "SN1",
	} {
		var page pageAnswer
		a := h.call("GET", "/api/v1/sensors"+query, p.access, nil).want(http.StatusOK)
		a.into(&page)
		if got := strings.Join(page.serials(), ","); got != want {
			t.Errorf("%q: got %s, want %s", query, got, want)
		}
		if !strings.Contains(string(a.body), `"items":[`) || !strings.Contains(string(a.body), `"next_cursor":null`) {
			t.Errorf("%q: got %s, want items as an array and next_cursor null", query, a.body)
		}
	}
	for query, field := range map[string]string{
		"?limit=0": "query.limit", "?limit=501": "query.limit", "?limit=x": "query.limit", "?state=asleep": "query.state",
		"?sort=owner": "query.sort", "?cursor=garbage": "query.cursor", "?stat=online": "query.stat", "?q=" + strings.Repeat("x", 201): "query.q",
	} {
		h.call("GET", "/api/v1/sensors"+query, p.access, nil).wantFault(http.StatusUnprocessableEntity, "invalid", field)
	}
}

func TestSensor_ShowsItsLatestReadingAndItsProblems(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, secret := h.sensor(p, map[string]any{"serial_no": "SN1"})
	h.send("SN1", secret, `{"t":20.50,"big":1234567890123456789,"html":"<b>&</b>"}`)
	a := h.call("GET", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusOK)
	if !strings.Contains(string(a.body), `"data":{"t":20.50,"big":1234567890123456789,"html":"<b>&</b>"}`) {
		t.Errorf("got %s, want the data as sent", a.body)
	}
	f := a.fields()
	latest := f["latest"].(map[string]any)
	if f["state"] != "online" || !isTimestamp(f["last_seen_at"]) || !isTimestamp(latest["time"]) || !isTimestamp(latest["received_at"]) || latest["seq"].(float64) < 1 || len(latest) != 4 {
		t.Errorf("got %v", f)
	}
}

func TestSensor_ConnectedComesFromPresence(t *testing.T) {
	h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) { deps.Presence = presence("SN1") })
	p := h.person("ada")
	h.sensor(p, map[string]any{"serial_no": "SN1"})
	h.sensor(p, map[string]any{"serial_no": "SN2"})
	for serial, want := range map[string]bool{"SN1": true, "SN2": false} {
		if got := h.call("GET", "/api/v1/sensors/"+serial, p.access, nil).want(http.StatusOK).fields()["connected"]; got != want {
			t.Errorf("%s: got connected %v, want %v", serial, got, want)
		}
	}
}

type presence string

func (p presence) Connected(serial string) bool { return serial == string(p) }

func (p presence) Connection(serial string) telemetry.Connection {
	c := telemetry.Connection{LastRefusal: &telemetry.Refusal{At: 1, Remote: "192.0.2.1", Reason: "wrong secret"}}
	if p.Connected(serial) {
		c.Clients = []telemetry.Client{{ID: "c", Remote: "192.0.2.2", Protocol: "MQTT 5", Since: 1}}
	}
	return c
}

func TestConnection_SaysWhoIsInAndWhoWasNotLetIn(t *testing.T) {
	h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) { deps.Presence = presence("SN1") })
	p := h.person("ada")
	for serial, want := range map[string]string{
		"SN1": `{"connected":true,"clients":[{"client_id":"c","remote":"192.0.2.2","protocol":"MQTT 5","since":"1970-01-01T00:00:00.001Z"}],"last_refusal":{"at":"1970-01-01T00:00:00.001Z","remote":"192.0.2.1","reason":"wrong secret"}}`,
		"SN2": `{"connected":false,"clients":[],"last_refusal":{"at":"1970-01-01T00:00:00.001Z","remote":"192.0.2.1","reason":"wrong secret"}}`,
	} {
		h.sensor(p, map[string]any{"serial_no": serial})
		if got := strings.TrimSpace(string(h.call("GET", "/api/v1/sensors/"+serial+"/connection", p.access, nil).want(http.StatusOK).body)); got != want {
			t.Errorf("%s: got %s, want %s", serial, got, want)
		}
	}
}

// Between the permission and the look-up the serial may have passed to somebody else's new sensor.
func TestSensor_NewOwnersSensorUnderAnOldPermissionIsNotFound(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	h.sensor(ada, map[string]any{"serial_no": "SN1"})
	old, _ := h.dir.Lookup("SN1")
	h.call("DELETE", "/api/v1/sensors/SN1", ada.access, nil).want(http.StatusNoContent)
	h.sensor(h.person("bob"), map[string]any{"serial_no": "SN1", "name": "bob's"})
	h.dir.Put(old) // what ada's request saw an instant ago
	h.call("GET", "/api/v1/sensors/SN1", ada.access, nil).wantProblem(http.StatusNotFound, "not-found")
	h.call("PATCH", "/api/v1/sensors/SN1", ada.access, map[string]any{"name": "ada's"}).want(http.StatusNotFound)
}

func TestDeleteSensor_FailingStoreLeavesTheDoorsOpen(t *testing.T) {
	h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) { deps.Registry = keeper{deps.Registry} })
	p := h.person("ada")
	_, secret := h.sensor(p, map[string]any{"serial_no": "SN1"})
	h.call("DELETE", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusServiceUnavailable)
	h.send("SN1", secret, `{"t":1}`)
	if n := h.changes.count(auth.SensorRemoved, "SN1"); n != 0 {
		t.Errorf("got %d announcements of a removal that did not happen", n)
	}
}

// keeper deletes nothing.
type keeper struct{ Registry }

func (keeper) DeleteSensor(context.Context, int64) error { return telemetry.ErrUnavailable }
