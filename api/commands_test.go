package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/telemetry"
)

const commandsOfSN1 = "/api/v1/sensors/SN1/commands"

type commandAnswer struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Data        json.RawMessage `json:"data"`
	State       string          `json:"state"`
	CreatedAt   string          `json:"created_at"`
	CreatedBy   string          `json:"created_by"`
	ExpiresAt   time.Time       `json:"expires_at"`
	DeliveredAt *string         `json:"delivered_at"`
	AnsweredAt  *string         `json:"answered_at"`
	Reply       json.RawMessage `json:"reply"`
}

type commandPageAnswer struct {
	Items []commandAnswer `json:"items"`
	Next  *string         `json:"next_cursor"`
}

func (h *house) commands(p personFixture, query string) (page commandPageAnswer) {
	h.t.Helper()
	h.call("GET", commandsOfSN1+query, p.access, nil).want(http.StatusOK).into(&page)
	return page
}

func commandNames(page commandPageAnswer) (names []string) {
	for _, c := range page.Items {
		names = append(names, c.Name)
	}
	return names
}

func TestCommands_LifeOfOneAsItsOwnerSeesIt(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, fields{"serial_no": "SN1"})
	dev, _ := h.dir.Lookup("SN1")
	var made commandAnswer
	h.call("POST", commandsOfSN1, p.access, []byte(`{"name":"set <point>","data":{"n":1234567890123456789},"expires_in":60}`)).
		want(http.StatusAccepted).into(&made)
	if len(made.ID) != 26 || made.State != "queued" {
		t.Fatalf("got %+v, want an id and queued", made)
	}
	if sent, err := h.box.Next(t.Context(), dev.SensorID, 0, 10); err != nil || len(sent) != 1 || sent[0].ID != made.ID {
		t.Errorf("right after the 202 the sensor is offered %v, %v, want the command", sent, err)
	}
	got := h.commands(p, "").Items[0]
	if got.ID != made.ID || got.Name != "set <point>" || string(got.Data) != `{"n":1234567890123456789}` || got.State != "queued" || got.CreatedBy != "ada" ||
		!isTimestamp(got.CreatedAt) || got.DeliveredAt != nil || got.AnsweredAt != nil || string(got.Reply) != "null" {
		t.Errorf("queued: got %+v", got)
	}
	if left := time.Until(got.ExpiresAt); left > time.Minute || left < 50*time.Second {
		t.Errorf("expires in %v, want a minute", left)
	}
	must(t, h.box.Delivered(t.Context(), dev.SensorID, made.ID))
	if got = h.commands(p, "").Items[0]; got.State != "delivered" || got.DeliveredAt == nil {
		t.Errorf("delivered: got %+v", got)
	}
	reply := `{"id":"` + made.ID + `","ok":false,"why":"<jammed>"}`
	must(t, h.box.Answered(t.Context(), dev.SensorID, []byte(reply)))
	if got = h.commands(p, "").Items[0]; got.State != "failed" || got.AnsweredAt == nil || string(got.Reply) != reply {
		t.Errorf("failed: got %+v", got)
	}
	h.call("DELETE", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusNoContent)
	h.call("GET", commandsOfSN1, p.access, nil).wantProblem(http.StatusNotFound, "not-found")
	h.call("POST", commandsOfSN1, p.access, fields{"name": "x"}).wantProblem(http.StatusNotFound, "not-found")
	if s := h.box.Stats(); s.Sensors != 0 {
		t.Errorf("after deletion: got %+v, want nothing waiting", s)
	}
}

func TestCommands_PagesAndStates(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, fields{"serial_no": "SN1"})
	if page := h.commands(p, ""); page.Items == nil || page.Next != nil {
		t.Errorf("none yet: got %+v, want an empty list without a next page", page)
	}
	dev, _ := h.dir.Lookup("SN1")
	for i := range 5 {
		var made commandAnswer
		h.call("POST", commandsOfSN1, p.access, fields{"name": fmt.Sprint(i)}).want(http.StatusAccepted).into(&made)
		if i%2 == 0 {
			must(t, h.box.Delivered(t.Context(), dev.SensorID, made.ID))
		}
	}
	var got []string
	page := h.commands(p, "?limit=2")
	for got = commandNames(page); page.Next != nil; got = append(got, commandNames(page)...) {
		page = h.commands(p, "?limit=2&cursor="+*page.Next)
	}
	if want := []string{"4", "3", "2", "1", "0"}; !slices.Equal(got, want) {
		t.Errorf("pages: got %v, want %v", got, want)
	}
	if got, want := commandNames(h.commands(p, "?state=delivered")), []string{"4", "2", "0"}; !slices.Equal(got, want) {
		t.Errorf("delivered: got %v, want %v", got, want)
	}
	for _, query := range []string{"?state=lost", "?limit=0", "?limit=501", "?cursor=!", "?cursor=AA", "?status=queued"} {
		h.call("GET", commandsOfSN1+query, p.access, nil).wantProblem(http.StatusUnprocessableEntity, "invalid")
	}
}

func TestCommands_MistakesNameTheirField(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, fields{"serial_no": "SN1"})
	for _, c := range []struct {
		body     string
		location string
	}{
		{`{}`, "body.name"},
		{`{"name":""}`, "body.name"},
		{`{"name":"a\nb"}`, "body.name"},
		{`{"name":7}`, "body.name"},
		{`{"name":"` + strings.Repeat("x", 101) + `"}`, "body.name"},
		{`{"name":"x","data":"` + strings.Repeat("x", command.MaxDataBytes) + `"}`, "body.data"},
		{`{"name":"x","expires_in":0}`, "body.expires_in"},
		{`{"name":"x","expires_in":2592001}`, "body.expires_in"},
		{`{"name":"x","expires_in":1.5}`, "body.expires_in"},
		{`{"name":"x","serial_no":"SN2"}`, "body.serial_no"},
	} {
		h.call("POST", commandsOfSN1, p.access, []byte(c.body)).wantFault(http.StatusUnprocessableEntity, "invalid", c.location)
	}
	for _, body := range []string{
		`{"name":"x","expires_in":null}`, `{"name":"x","data":null,"expires_in":2592000}`, `{"name":"x","data":[1,{"a":"b"},1e300]}`, `{"name":"x","data":false}`,
	} {
		h.call("POST", commandsOfSN1, p.access, []byte(body)).want(http.StatusAccepted)
	}
}

func TestCommands_TooManyWaitingIsToldApartFromARate(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, fields{"serial_no": "SN1"})
	dev, _ := h.dir.Lookup("SN1")
	var steps []*command.Step
	for i := range command.MaxWaiting {
		steps = append(steps, &command.Step{Command: command.Command{
			ID: fmt.Sprint(i), SensorID: dev.SensorID, Name: "x", Data: []byte("null"), State: command.Queued, ExpiresAt: telemetry.Now().Add(time.Hour),
		}})
	}
	must(t, h.db.CommitCommands(t.Context(), steps))
	must(t, h.box.Load(t.Context()))
	a := h.call("POST", commandsOfSN1, p.access, fields{"name": "x"})
	if got := a.wantProblem(http.StatusTooManyRequests, "too-many-commands"); !strings.Contains(got.Detail, "1000 commands") {
		t.Errorf("got %q, want the bound", got.Detail)
	}
}

// commandsThatFail is a Commands whose store, or policy, says no.
type commandsThatFail struct{ err error }

func (c commandsThatFail) Create(context.Context, auth.Principal, command.Draft) (command.Command, error) {
	return command.Command{}, c.err
}

func (c commandsThatFail) List(context.Context, auth.Principal, string, command.Query) ([]command.Command, error) {
	return nil, c.err
}

func TestCommands_RefusalsHaveTheirStatus(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		kind   string
	}{
		{fmt.Errorf("store commands: %w", errors.Join(telemetry.ErrUnavailable, errors.New("disk-text"))), http.StatusServiceUnavailable, "unavailable"},
		{fmt.Errorf("watch only: %w", telemetry.ErrForbidden), http.StatusForbidden, "forbidden"},
	} {
		h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) { deps.Commands = commandsThatFail{c.err} })
		p := h.person("ada")
		h.sensor(p, fields{"serial_no": "SN1"})
		create := h.call("POST", commandsOfSN1, p.access, fields{"name": "x"})
		list := h.call("GET", commandsOfSN1, p.access, nil)
		for _, a := range []answer{create, list} {
			a.wantProblem(c.status, c.kind)
			if bytes.Contains(a.body, []byte("disk-text")) {
				t.Errorf("%s: got the inner text: %s", a.what, a.body)
			}
		}
		if (create.header.Get("Retry-After") != "") != (c.status == http.StatusServiceUnavailable) {
			t.Errorf("%d: got Retry-After %q", c.status, create.header.Get("Retry-After"))
		}
	}
}

// A reply nobody can read is the sensor's mistake and stands where its others stand.
func TestCommands_UnreadableReplyIsAmongTheSensorsProblems(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, fields{"serial_no": "SN1"})
	dev, _ := h.dir.Lookup("SN1")
	if err := h.box.Answered(t.Context(), dev.SensorID, []byte(`{"id":"nobody","ok":true}`)); !errors.Is(err, telemetry.ErrInvalid) {
		t.Errorf("got %v, want %v", err, telemetry.ErrInvalid)
	}
	must(t, h.pipe.Close(t.Context())) // commits what waits, also problems
	problems := h.call("GET", "/api/v1/sensors/SN1", p.access, nil).want(http.StatusOK).fields()["problems"].(map[string]any)
	if reason, _ := problems["last_reason"].(string); problems["malformed"] != 1.0 || !strings.Contains(reason, "reply to a command") {
		t.Errorf("got %v, want 1 malformed reply", problems)
	}
}
