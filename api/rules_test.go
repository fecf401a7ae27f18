package api

import (
	"fmt"
	"net/http"
	"testing"

	"sensorcast/telemetry"
)

func TestRules_LifeOfOne(t *testing.T) {
	h := newHouse(t)
	p, other := h.person("ada"), h.person("bob")
	_, secret := h.sensor(p, fields{"serial_no": "SN1"})
	made := h.call("POST", "/api/v1/rules", p.access, fields{"name": "Too hot", "serial_no": "SN1", "metric": "t", "op": ">", "value": 30, "for_seconds": 60}).
		want(http.StatusCreated).fields()
	if made["severity"] != "warning" || made["enabled"] != true || made["clear_value"] != nil || made["tag"] != nil || made["expression"] != nil || made["for_seconds"] != 60.0 {
		t.Errorf("got %v, want the defaults", made)
	}
	path := "/api/v1/rules/" + made["id"].(string)
	h.call("GET", path, p.access, nil).want(http.StatusOK)
	for _, method := range []string{"GET", "DELETE"} {
		h.call(method, path, other.access, nil).wantProblem(http.StatusNotFound, "not-found")
	}
	h.call("PATCH", path, other.access, fields{"enabled": false}).wantProblem(http.StatusNotFound, "not-found")
	changed := h.call("PATCH", path, p.access, fields{"clear_value": 28, "enabled": false, "serial_no": nil, "tag": "attic"}).want(http.StatusOK).fields()
	if changed["clear_value"] != 28.0 || changed["enabled"] != false || changed["tag"] != "attic" || changed["serial_no"] != nil || changed["value"] != 30.0 {
		t.Errorf("got %v, want it changed", changed)
	}
	h.call("PATCH", path, p.access, fields{"clear_value": 31}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.clear_value")
	h.call("PATCH", path, p.access, fields{"metric": nil, "op": nil, "value": nil, "clear_value": nil, "expression": "data.t > 30"}).want(http.StatusOK)
	h.send("SN1", secret, `{"t":31}`, `{"t":20}`, `{"t":35}`)
	seen := h.call("POST", "/api/v1/rules/preview", p.access, fields{"name": "x", "serial_no": "SN1", "metric": "t", "op": ">", "value": 30}).want(http.StatusOK).fields()
	if seen["fired"] != 2.0 || seen["readings"] != 3.0 || len(seen["times"].([]any)) != 2 || seen["truncated"] != false {
		t.Errorf("got %v, want two of three", seen)
	}
	h.call("DELETE", path, p.access, nil).want(http.StatusNoContent)
	h.call("GET", path, p.access, nil).want(http.StatusNotFound)
}

func TestRules_MistakesNameTheirField(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	h.sensor(p, fields{"serial_no": "SN1"})
	for field, value := range map[string]any{
		"name": "", "op": "=", "value": nil, "clear_value": 31, "metric": "", "for_seconds": -1, "severity": "bad", "tag": "also", "expression": "true",
	} {
		body := fields{"name": "x", "serial_no": "SN1", "metric": "t", "op": ">", "value": 30, field: value}
		where := "body." + field
		if field == "expression" {
			where = "body.metric"
		}
		h.call("POST", "/api/v1/rules", p.access, body).wantFault(http.StatusUnprocessableEntity, "invalid", where)
	}
	for _, expression := range []string{"data.t >", "now() > 1", "data.t + 1", "nothing > 3", "21"} {
		h.call("POST", "/api/v1/rules", p.access, fields{"name": "x", "tag": "a", "expression": expression}).
			wantFault(http.StatusUnprocessableEntity, "invalid", "body.expression")
	}
	h.call("POST", "/api/v1/rules", p.access, fields{"name": "x", "metric": "t", "op": ">", "value": 1}).
		wantFault(http.StatusUnprocessableEntity, "invalid", "body.serial_no")
}

func TestRules_AreListedInPagesAndBounded(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	user, err := h.db.UserByLogin(t.Context(), "ada")
	must(t, err)
	for i := range 200 {
		must(t, h.db.CreateRule(t.Context(), &telemetry.Rule{UserID: user.ID, Name: fmt.Sprint(i), Tag: "a", Severity: "info", Expression: "true"}, 200))
	}
	h.call("POST", "/api/v1/rules", p.access, fields{"name": "x", "tag": "a", "expression": "data.t > 3"}).wantProblem(http.StatusConflict, "conflict")
	seen, cursor := 0, ""
	for {
		page := h.call("GET", "/api/v1/rules?limit=90&cursor="+cursor, p.access, nil).want(http.StatusOK).fields()
		for _, item := range page["items"].([]any) {
			if name := item.(fields)["name"]; name != fmt.Sprint(seen) {
				t.Fatalf("got %v at place %d", name, seen)
			}
			seen++
		}
		if page["next_cursor"] == nil {
			break
		}
		cursor = page["next_cursor"].(string)
	}
	if seen != 200 {
		t.Errorf("got %d listed, want 200", seen)
	}
}
