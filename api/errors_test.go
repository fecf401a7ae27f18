package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/ingest"
	"sensorcast/telemetry"
)

func TestProblem_EveryKindHasItsStatus(t *testing.T) {
	a := New(Config{}, Deps{})
	for _, c := range []struct {
		err    error
		status int
		kind   string
	}{
		{telemetry.ErrInvalid, 422, "invalid"},
		{telemetry.Invalid("name", "is bad"), 422, "invalid"},
		{telemetry.ErrNotFound, 404, "not-found"},
		{fmt.Errorf("find sensor: %w", telemetry.ErrNotFound), 404, "not-found"},
		{telemetry.Conflict("serial_no", "is taken"), 409, "conflict"},
		{telemetry.ErrUnauthenticated, 401, "unauthenticated"},
		{auth.ErrReused, 401, "unauthenticated"},
		{telemetry.ErrForbidden, 403, "forbidden"},
		{auth.ErrSetupToken, 403, "setup-token-required"},
		{auth.ErrInvitation, 403, "invitation-required"},
		{auth.ErrNoMail, 403, "mail-not-configured"},
		{auth.ErrLastAdmin, 409, "last-admin"},
		{&auth.RateError{RetryAfter: time.Minute}, 429, "too-many-requests"},
		{command.ErrFull, 429, "too-many-commands"},
		{telemetry.ErrUnavailable, 503, "unavailable"},
		{context.DeadlineExceeded, 503, "unavailable"},
		{errors.New("disk on fire"), 500, "internal"},
	} {
		p := a.problem(t.Context(), "body.", c.err)
		if p.Status != c.status || p.Type != "/problems/"+c.kind || strings.Contains(p.Detail, "fire") {
			t.Errorf("%v: got %d %s %q, want %d %s", c.err, p.Status, p.Type, p.Detail, c.status, c.kind)
		}
	}
}

func TestProblem_FindsEveryFieldHoweverWrapped(t *testing.T) {
	err := fmt.Errorf("register: %w", errors.Join(
		auth.FieldErrors{telemetry.Invalid("username", "is bad"), fmt.Errorf("check: %w", telemetry.Invalid("email", "is worse"))},
		telemetry.Invalid("password", "is worst"),
	))
	got := New(Config{}, Deps{}).problem(t.Context(), "body.", err).Errors
	want := []Fault{{"body.username", "is bad"}, {"body.email", "is worse"}, {"body.password", "is worst"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestErrors_FaultOfTheServerShowsOnlyItsRequestID(t *testing.T) {
	h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) { deps.History = brokenHistory{errors.New("disk on fire")} })
	p := h.person("ada")
	h.sensor(p, map[string]any{"serial_no": "SN1"})
	a := h.call("GET", "/api/v1/sensors/SN1/readings", p.access, nil)
	problem := a.wantProblem(http.StatusInternalServerError, "internal")
	id := a.header.Get("X-Request-Id")
	if problem.RequestID != id || id == "" || strings.Contains(string(a.body), "fire") {
		t.Errorf("got %s under request id %q, want the id and no inner text", a.body, id)
	}
	if logs := h.logs.String(); !strings.Contains(logs, "disk on fire") || strings.Count(logs, id) < 1 {
		t.Errorf("the log does not tell what failed under id %s", id)
	}
}

func TestErrors_PanicIsA500AndTheServerLivesOn(t *testing.T) {
	h := newHouse(t, func(_ *Config, _ *auth.Config, deps *Deps) {
		deps.Intake = intake(func(ingest.Message, ingest.Receipt) error { panic("boom") })
	})
	_, secret := h.sensor(h.person("ada"), map[string]any{"serial_no": "SN1"})
	problem := h.call("POST", telemetryOfSN1, secret, []byte(`{"t":1}`)).wantProblem(http.StatusInternalServerError, "internal")
	if problem.RequestID == "" || !strings.Contains(h.logs.String(), "handler panicked") {
		t.Errorf("got %+v, want a request id and a log line", problem)
	}
	h.call("GET", "/healthz", "", nil).want(http.StatusOK)
}

type brokenHistory struct{ err error }

func (b brokenHistory) Readings(context.Context, telemetry.ReadingQuery) ([]telemetry.Reading, error) {
	return nil, b.err
}

func TestRequest_UnreadableBodiesAreToldApart(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	create := func(body []byte, header ...string) answer {
		return h.call("POST", "/api/v1/sensors", p.access, body, header...)
	}
	for _, body := range []string{`{"name":`, `{"name":"a"} x`, `not json`, `{'name':1}`, "{\"name\":\"\xff\"}"} {
		create([]byte(body)).wantFault(http.StatusBadRequest, "malformed", "body")
	}
	create([]byte{}).wantProblem(http.StatusBadRequest, "malformed")
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "application/xml", "application/json+xml", "multipart/form-data; boundary=x", "garbage;;"} {
		create([]byte(`{}`), "Content-Type: "+contentType).wantProblem(http.StatusUnsupportedMediaType, "unsupported-media-type")
	}
	create([]byte(`{}`), "Content-Type: application/json; charset=utf-8").want(http.StatusCreated)
	for _, body := range []string{`[]`, `"x"`, `1`, `null`, `true`} {
		create([]byte(body)).wantProblem(http.StatusUnprocessableEntity, "invalid")
	}
	// encoding/json would take it for "name", the validator would not.
	create([]byte(`{"NAME":"x"}`)).wantFault(http.StatusUnprocessableEntity, "invalid", "body.NAME")
}

func TestRequest_MissingFieldIsNamed(t *testing.T) {
	h := newHouse(t)
	a := h.call("POST", "/api/v1/auth/login", "", map[string]any{})
	a.wantFault(http.StatusUnprocessableEntity, "invalid", "body.login")
	a.wantFault(http.StatusUnprocessableEntity, "invalid", "body.password")
	h.call("POST", "/api/v1/auth/login", "", map[string]any{"login": 1, "password": nil}).wantFault(http.StatusUnprocessableEntity, "invalid", "body.login")
}

func TestRequest_BodyIsBounded(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	body := func(n int) []byte {
		b := append([]byte(`{"x":"`), bytes.Repeat([]byte("x"), n-len(`{"x":""}`))...)
		return append(b, `"}`...)
	}
	h.call("POST", "/api/v1/sensors", p.access, body(maxBodyBytes+1)).wantProblem(http.StatusRequestEntityTooLarge, "too-large")
	h.call("POST", "/api/v1/sensors", p.access, body(maxBodyBytes)).want(http.StatusUnprocessableEntity)
	h.call("POST", "/api/v1/sensors", p.access, body(10<<20)).want(http.StatusRequestEntityTooLarge)
}

// An answer must not grow with what is wrong: 64 KiB of unknown fields would come back many times over.
func TestRequest_ManyMistakesMakeASmallAnswer(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	many := map[string]int{strings.Repeat("n", 5000): 1}
	for i := range 3000 {
		many[fmt.Sprintf("f%d", i)] = i
	}
	a := h.call("POST", "/api/v1/sensors", p.access, many).want(http.StatusUnprocessableEntity)
	if len(a.body) > 10_000 {
		t.Errorf("got an answer of %d bytes, want a small one", len(a.body))
	}
	a = h.call("POST", "/api/v1/sensors", p.access, map[string]int{strings.Repeat("n", 5000): 1}).want(http.StatusUnprocessableEntity)
	if len(a.body) > 1000 {
		t.Errorf("got an answer of %d bytes, want a small one", len(a.body))
	}
}

func TestRequest_UnknownPathsAndMethodsAreProblems(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/", "/api/v1", "/api/v1/nothing", "/api/v2/sensors", "/api/v1/sensors/a/b", "/openapi", "/openapi-3.0.json", "/docs", "/schemas/User.json", "/metrics", "/debug/pprof/"} {
		h.call("GET", path, "", nil).wantProblem(http.StatusNotFound, "not-found")
	}
	a := h.call("PUT", "/api/v1/sensors/SN1", "", nil)
	a.wantProblem(http.StatusMethodNotAllowed, "method-not-allowed")
	if got := a.header.Get("Allow"); got != "DELETE, GET, HEAD, PATCH" {
		t.Errorf("got Allow %q", got)
	}
	// CORS is off: a preflight finds nothing to allow it.
	a = h.call("OPTIONS", "/api/v1/sensors", "", nil, "Origin: https://evil.example", "Access-Control-Request-Method: POST")
	a.want(http.StatusMethodNotAllowed)
	a = h.call("GET", "/api/v1/server", "", nil, "Origin: https://evil.example")
	for name := range a.want(http.StatusOK).header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("got CORS header %s", name)
		}
	}
}

func TestAnswers_CarrySecurityHeaders(t *testing.T) {
	h := newHouse(t)
	p := h.person("ada")
	for path, token := range map[string]string{"/api/v1/users/me": p.access, "/api/v1/sensors": "", "/nowhere": "", "/healthz": "", "/openapi.json": ""} {
		header := h.call("GET", path, token, nil).header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: got %s %q, want %q", path, name, got, want)
			}
		}
		if len(header.Get("X-Request-Id")) != 16 {
			t.Errorf("%s: got request id %q", path, header.Get("X-Request-Id"))
		}
		if got := header.Get("Cache-Control"); got != "no-store" && path != "/openapi.json" {
			t.Errorf("%s: got Cache-Control %q, want no-store", path, got)
		}
	}
	if got := string(h.call("GET", "/api/v1/users/me", p.access, nil).body); strings.Contains(got, "$schema") {
		t.Errorf("got %s, which has huma's $schema", got)
	}
}

func TestRequest_JSONIsAnsweredWhateverIsAccepted(t *testing.T) {
	h := newHouse(t)
	for _, accept := range []string{"text/html", "*/*", "application/cbor", "garbage", "application/json;q=0"} {
		if got := h.call("GET", "/api/v1/server", "", nil, "Accept: "+accept).want(http.StatusOK).header.Get("Content-Type"); got != "application/json" {
			t.Errorf("Accept %s: got %s, want application/json", accept, got)
		}
	}
}

// A client that leaves in the middle of its body is no fault of the server's.
func TestRequest_BrokenOffBodyIsNoServerFault(t *testing.T) {
	h := newHouse(t)
	_, secret := h.sensor(h.person("ada"), map[string]any{"serial_no": "SN1"})
	for path, token := range map[string]string{"/api/v1/auth/login": "", telemetryOfSN1: secret} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		must(t, err)
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a\":", path, token)
		must(t, err)
		must(t, conn.(*net.TCPConn).CloseWrite())
		var status int
		_, err = fmt.Fscanf(conn, "HTTP/1.1 %d", &status)
		must(t, err)
		if status != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", path, status)
		}
		must(t, conn.Close())
	}
	if logs := h.logs.String(); strings.Contains(logs, `"level":"ERROR"`) {
		t.Errorf("a client that left made an error of the server's: %s", logs)
	}
}

func TestPlainJSONError_RepeatsNoByteOfTheInput(t *testing.T) {
	for _, input := range []string{`hunter2`, `{"a":hunter2}`, `{"hunter2"}`, `"hunter2`, `[1,2`, `{"silence_after":31415926535897932384626}`} {
		var v struct {
			Silence int64 `json:"silence_after"`
		}
		err := readJSON([]byte(input), &v)
		if err == nil || strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "31415") || strings.Contains(err.Error(), "'h'") {
			t.Errorf("%s: got error %v", input, err)
		}
	}
	var v any
	if err := json.Unmarshal([]byte(`1e999`), &v); err == nil {
		t.Fatal("the decoder takes 1e999 now: this test needs another number that no float holds")
	}
	if err := readJSON([]byte(`1e999`), &v); err == nil || strings.Contains(err.Error(), "1e999") {
		t.Errorf("got error %v", err)
	}
}

// What is half of a surrogate pair is no character: two passwords that differ in them would become one.
func TestReadJSON_TakesWholeCharactersOnly(t *testing.T) {
	for input, want := range map[string]bool{
		`"\ud83d\ude00"`: true, `"\uD83D\uDE00x\ud83d\ude00"`: true, `"\\ud800"`: true, `"\\\\ud800"`: true, `"\u00e9\n\\"`: true, `"\ufffd"`: true,
		`"\ud800"`: false, `"\udc00"`: false, `"\udc00\ud800"`: false, `"\ud83dx"`: false, `"\ud83d\n"`: false, `"\ud83d\ud83d\ude00"`: false,
		`"\\\ud800"`: false, `{"\ud800":1}`: false, `"\ud83d\ude0"`: false, `"\ud8`: false, `"\`: false,
	} {
		var v any
		if err := readJSON([]byte(input), &v); (err == nil) != want {
			t.Errorf("%s: got %v, want it taken: %v", input, err, want)
		}
	}
}
