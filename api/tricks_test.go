package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
)

// What people send who mean no good, for every field of every operation that takes any. The answer names the field, and nothing has changed.

// tricks are bad wherever text is for people or machines to read: each is JSON as it is sent.
var tricks = map[string]string{
	"too long":            `"` + strings.Repeat("x", 30_000) + `"`,
	"NUL":                 `"ab\u0000cd"`,
	"header injection":    `"Bob\r\nBcc: eve@example.org"`,
	"turned around":       `"abc\u202egpj"`,
	"isolated":            `"abc\u2066gpj"`,
	"other line":          `"abc\u2028def"`,
	"escape of terminals": `"\u001b[31mabc"`,
	"NEL":                 `"abc\u0085def"`,
}

// broken is no text at all. It is the body that is at fault.
var broken = map[string]string{
	"lone high surrogate": `"abc\ud800"`,
	"lone low surrogate":  `"\uDEADabc"`,
	"surrogates turned":   `"\udc00\ud800"`,
	"surrogate and more":  `"\ud83dx"`,
	"broken UTF-8":        "\"abc\xff\"",
	"overlong slash":      "\"abc\xc0\xaf\"",
	"encoded surrogate":   "\"abc\xed\xa0\x80\"",
}

// wrongTypes are values of other types than the key.
var wrongTypes = map[string][]string{
	huma.TypeString:  {`7`, `true`, `["x"]`, `{"x":"y"}`},
	huma.TypeInteger: {`"7"`, `true`, `1.5`, `[1]`, `{}`, `1e300`, `-9223372036854775808`, `9223372036854775808`},
	huma.TypeBoolean: {`"true"`, `1`, `[]`, `{}`},
	huma.TypeArray:   {`"x"`, `7`, `{}`, `[7]`, `[null]`, `[["x"]]`},
}

// goodBodies would succeed, but for the field that is spoilt. Every operation that takes JSON stands here.
var goodBodies = map[string]fields{
	"register":               {"username": "carl", "email": "carl@example.org", "password": goodPassword, "first_name": "C", "last_name": "D"},
	"create-user":            {"username": "carl", "email": "carl@example.org", "password": goodPassword, "first_name": "C", "last_name": "D"},
	"login":                  {"login": "ada", "password": goodPassword},
	"refresh":                {},
	"logout":                 {},
	"verify":                 {},
	"confirm-email":          {},
	"request-password-reset": {},
	"reset-password":         {"token": "pr_" + strings.Repeat("x", 43), "new_password": "another good one"},
	"create-device-ticket":   {"serial_no": matrixSerial, "secret_key": "not the secret of it"},
	"adopt-stranger":         {},
	"create-invitation":      {},
	"create-sensor":          {},
	"claim-sensor":           {},
	"update-sensor":          {},
	"create-command":         {"name": "blink"},
	"create-channel":         {"name": "hook", "type": "webhook", "url": "https://example.com/hook"},
	"update-channel":         {},
	"create-rule":            matrixRule,
	"preview-rule":           matrixRule,
	"update-rule":            {},
	"rotate-secret":          {},
	"share-sensor":           {},
	"offer-sensor":           {},
	"create-ticket":          {},
	"delete-me":              {},
	"update-me":              {"current_password": goodPassword, "email": "ada@example.net"},
	"change-password":        {"current_password": goodPassword, "new_password": "another good one"},
	"enrol-second-factor":    {},
	"confirm-second-factor":  {},
	"delete-second-factor":   {"password": goodPassword},
	"create-token":           {"name": "a script", "scopes": []string{"read"}},
	"update-user":            {},
	"set-password":           {},
}

// proofs, and names of sensors to see, are compared and not kept: one that cannot be is as wrong as any other, and so is the answer.
var proofs = []string{
	"login.login", "login.password", "login.code", "refresh.refresh_token", "verify.token", "create-device-ticket.serial_no",
	"create-device-ticket.secret_key", "claim-sensor.claim_code", "register.invitation", "register.setup_token", "reset-password.token", "reset-password.new_password",
	"update-me.current_password", "change-password.current_password", "delete-me.password", "enrol-second-factor.password", "confirm-second-factor.code",
	"delete-second-factor.password", "delete-second-factor.code", "confirm-email.token", "create-ticket.serial_no", "create-ticket.serial_nos",
	"create-rule.serial_no", "preview-rule.serial_no", "update-rule.serial_no",
}

// free are tricks that a field takes, and why it may.
var free = map[string][]string{
	"create-command.data":          allTricks, // any JSON, for the sensor; bounded by a test of its own
	"login.code":                   allTricks, // ignored where there is no second factor
	"logout.refresh_token":         allTricks, // whose session has ended is logged out (RFC 7009 §2.2)
	"register.setup_token":         allTricks, // ignored where there is an account
	"register.password":            anyCharacter,
	"create-user.password":         anyCharacter,
	"set-password.new_password":    anyCharacter,
	"change-password.new_password": anyCharacter,
}

var (
	allTricks    = slices.Collect(maps.Keys(tricks))
	anyCharacter = slices.DeleteFunc(slices.Clone(allTricks), func(s string) bool { return s == "too long" }) // passwords are never shown, sent or compared but by hash
)

func TestTricks_AreRefusedByNameAndChangeNothing(t *testing.T) {
	h := newHouse(t, func(_ *Config, policy *auth.Config, _ *Deps) { policy.RegistrationsPerHour = 0 })
	m := &matrixHouse{house: h, people: map[int]personFixture{admins: h.person("ada"), former: h.person("fay")}}
	m.people[owner], m.people[stranger] = m.people[admins], h.person("bob")
	m.people[viewing], m.people[managing] = h.person("vic"), h.person("mia")
	h.person(matrixGuest)
	m.arrange()
	h.knock(shownSecret, "KNOCKER")
	shell := h.shell()
	schemas := h.api.huma.OpenAPI().Components.Schemas
	left := maps.Clone(goodBodies)
	operations(h.api, func(op *huma.Operation) {
		if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil || op.OperationID == "send-telemetry" {
			return // what sensors send is package format's to read
		}
		good, there := goodBodies[op.OperationID]
		if !there {
			t.Errorf("operation %s takes JSON and has no good body here", op.OperationID)
			return
		}
		delete(left, op.OperationID)
		schema := op.RequestBody.Content["application/json"].Schema
		if schema.Ref != "" {
			schema = schemas.SchemaFromRef(schema.Ref)
		}
		door, serial, token := h, matrixSerial, h.loggedIn(m.people[owner]).access
		switch {
		case len(op.Security) == 1 && allows(op.Security, schemeOperator):
			door, token = shell, ""
		case op.OperationID == "adopt-stranger":
			serial = "KNOCKER"
		case isPublic(op.Security):
			token = ""
		}
		path := strings.NewReplacer("{serial_no}", serial, "{username}", matrixGuest, "{channel_id}", m.hook, "{rule_id}", m.rule).Replace(op.Path)
		before := m.everything()
		send := func(name, value, what string, wants ...string) {
			t.Helper()
			field := op.OperationID + "." + name
			if slices.Contains(free[field], what) {
				return
			}
			a := door.call(op.Method, path, token, spoilt(t, good, name, value))
			var p Problem
			if a.status >= 400 && a.status < 500 {
				a.into(&p)
			}
			named := slices.ContainsFunc(p.Errors, func(f Fault) bool {
				return slices.ContainsFunc(wants, func(w string) bool { return f.Location == w || strings.HasPrefix(f.Location, w+"[") })
			})
			switch {
			case slices.Contains(proofs, field) && (a.status == 401 || a.status == 404 || a.status == 422 || a.status == 429 || op.OperationID == "verify" && a.fields()["valid"] == false):
			case a.status < 400 || a.status >= 500, !named:
				t.Errorf("%s, %s: got %d %.300s, want a 4xx that names one of %q", field, what, a.status, a.body, wants)
			}
		}
		for name, s := range schema.Properties {
			where := "body." + name
			if s.Type == huma.TypeString || s.Type == huma.TypeArray {
				for what, value := range tricks {
					if s.Type == huma.TypeArray {
						value = "[" + value + "]"
					}
					wants := []string{where, "path." + name}
					if name == "expression" {
						wants = append(wants, "body.metric") // which it does not go with, whatever it says
					}
					send(name, value, what, wants...)
				}
			}
			if s.Type == huma.TypeString {
				for what, value := range broken {
					send(name, value, what, "body")
				}
			}
			for _, value := range wrongTypes[s.Type] {
				send(name, value, "wrong type "+value, where)
			}
			send(name, strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000), "depth", where, "body")
		}
		for what, after := range m.everything() {
			if after != before[what] {
				t.Errorf("%s changed something: %s got %s, want %s", op.OperationID, what, after, before[what])
			}
		}
		for _, body := range []string{``, `null`, `[]`, `"x"`, `7`, `{"a":1}`, `{`, `{}{}`, `{"a":`} {
			if a := door.call(op.Method, path, token, []byte(body)); a.status >= 500 || a.status < 400 && (body != "" && body != "null" && body != "{}") {
				t.Errorf("%s with %q as its body: got %d %s, want a 4xx", op.OperationID, body, a.status, a.body)
			}
		}
	})
	for id := range left {
		t.Errorf("there is a good body for %s, which takes none", id)
	}
}

// What stands in paths, queries and headers is no different, and what is no text does not get to what it would be compared with.
func TestTricks_PathsAndQueriesAreRefusedOrFindNothing(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	_, secret := h.sensor(p, fields{"serial_no": matrixSerial})
	raw := []string{"%00", "%FF", "%ED%A0%80", "%E2%80%AE", "a%0D%0AX:%20y", "..%2F..", "%25", "a%3Bb", "'%22--", strings.Repeat("x", 3000), "-1", "9223372036854775808", "%F0%9F%92%A9"}
	check := func(op *huma.Operation, path string, header ...string) {
		t.Helper()
		token := h.loggedIn(p).access
		if allows(op.Security, schemeSensor) {
			token = secret
		}
		if a := h.call(op.Method, path, token, matrix()[op.OperationID].body, header...); a.status >= 500 {
			t.Errorf("%s with %q: got %d %s", path, header, a.status, a.body)
		} else if a.status >= 400 {
			a.wantProblem(a.status, a.fields()["type"].(string)[len("/problems/"):])
		}
	}
	operations(h.api, func(op *huma.Operation) {
		good := strings.NewReplacer("{serial_no}", "NOBODY", "{id}", "nobody", "{channel_id}", "nobody", "{username}", "nobody").Replace(op.Path)
		for _, trick := range raw {
			for _, param := range op.Parameters {
				switch param.In {
				case "path":
					check(op, strings.NewReplacer("{"+param.Name+"}", trick, "{serial_no}", "NOBODY", "{username}", "nobody", "{channel_id}", "nobody").Replace(op.Path))
				case "query":
					check(op, good+"?"+param.Name+"="+trick)
				case "header":
					check(op, good, param.Name+": "+strings.Repeat("x", 300)+trick)
				}
			}
		}
	})
}

func TestTricks_CellsOfSheetsAreNamed(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	lines := map[string][]string{"description": {"header injection"}, "tags": {"header injection", "NEL", "other line"}} // it may have them, they separate tags
	for _, field := range []string{"serial_no", "name", "description", "mac_address", "sensor_type", "manufacturer", "tags", "silence_after", "secret_key"} {
		for what, value := range tricks {
			if slices.Contains(lines[field], what) {
				continue
			}
			var cell string
			must(t, json.Unmarshal([]byte(value), &cell))
			sheet := fmt.Appendf(nil, "serial_no,name,%s\nSN1,x,\"%s\"\n", field, cell)
			switch field {
			case "serial_no":
				sheet = fmt.Appendf(nil, "serial_no,name\n\"%s\",x\n", cell)
			case "name":
				sheet = fmt.Appendf(nil, "serial_no,name\nSN1,\"%s\"\n", cell)
			}
			a := h.call("POST", "/api/v1/sensors/import", p.access, sheet, "Content-Type: text/csv")
			var found Problem
			if a.status == http.StatusUnprocessableEntity {
				a.into(&found)
			}
			if !slices.ContainsFunc(found.Errors, func(f Fault) bool { return f.Location == "row 2."+field }) {
				t.Errorf("%s, %s: got %d %.300s, want 422 that names row 2.%s", field, what, a.status, a.body, field)
			}
		}
	}
	if got := h.call("GET", "/api/v1/sensors", p.access, nil).want(http.StatusOK).fields()["items"].([]any); len(got) != 0 {
		t.Errorf("got sensors %v, want none", got)
	}
}

// spoilt is a body with one value written as it is.
func spoilt(t *testing.T, good fields, name, value string) []byte {
	t.Helper()
	const mark = "here-it-goes"
	body := maps.Clone(good)
	body[name] = mark
	b, err := json.Marshal(body)
	must(t, err)
	return bytes.Replace(b, []byte(`"`+mark+`"`), []byte(value), 1)
}

// everything is what the admin, who owns the sensor too, is shown of all there is.
func (h *matrixHouse) everything() map[string]string {
	h.t.Helper()
	all := map[string]string{}
	operations(h.api, func(op *huma.Operation) {
		switch {
		case op.Method != http.MethodGet, op.OperationID == "stream-events", op.OperationID == "list-audit", op.OperationID == "list-sessions", isPublic(op.Security):
			return
		}
		path := strings.NewReplacer("{serial_no}", matrixSerial, "{id}", h.alert, "{channel_id}", h.hook, "{rule_id}", h.rule).Replace(op.Path)
		all[op.OperationID] = string(h.call("GET", path, h.people[owner].access, nil).body)
	})
	return all
}
