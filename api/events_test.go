package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// stage is Events for tests: it notes what it is asked for and answers with one event.
type stage struct {
	asked []EventRequest
	err   error
}

func (s *stage) serve(w http.ResponseWriter, _ *http.Request, q EventRequest) error {
	if s.asked = append(s.asked, q); s.err != nil {
		return s.err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	_, err := fmt.Fprint(w, "event: hello\ndata: {}\n\n")
	return err
}

func newStage(t *testing.T, options ...option) (*house, *stage) {
	t.Helper()
	s := &stage{}
	return newHouse(t, append(options, func(_ *Config, _ *auth.Config, deps *Deps) { deps.Events = s.serve })...), s
}

func TestEvents_AccessTokenBecomesATicketForWhatWasNamed(t *testing.T) {
	h, s := newStage(t)
	ada := h.person("ada")
	for _, serial := range []string{"SN1", "SN2"} {
		h.sensor(ada, fields{"serial_no": serial})
	}
	for query, want := range map[string]struct {
		serials int
		all     bool
	}{
		"":                              {0, true},
		"?serial_no=SN1":                {1, false},
		"?serial_no=SN1&serial_no=SN2":  {2, false},
		"?serial_no=SN1&serial_no=SN1":  {1, false},
		"?max_per_second=5&since=41":    {0, true},
		"?serial_no=SN2&epoch=abcdefgh": {1, false},
	} {
		s.asked = nil
		a := h.call("GET", "/api/v1/events"+query, ada.access, nil).want(http.StatusOK)
		if got := a.header.Get("Content-Type"); got != "text/event-stream" || string(a.body) != "event: hello\ndata: {}\n\n" {
			t.Errorf("%s: got %s %q", query, got, a.body)
		}
		if len(s.asked) != 1 || !s.asked[0].Bearer || s.asked[0].Resume != "" {
			t.Fatalf("%s: got %d requests", query, len(s.asked))
		}
		claim, err := h.auth.RedeemTicket(s.asked[0].Ticket)
		if err != nil || claim.Principal.Username != "ada" || claim.All != want.all || len(claim.Serials) != want.serials {
			t.Errorf("%s: got claim %+v, %v, want %+v", query, claim, err, want)
		}
	}
}

func TestEvents_WhereTheClientLeftOff(t *testing.T) {
	h, s := newStage(t)
	ada := h.person("ada")
	for _, c := range []struct {
		query, header string
		want          EventRequest
	}{
		{"", "", EventRequest{}},
		{"?since=0", "", EventRequest{Resumes: true}},
		{"?since=41&epoch=e-1", "", EventRequest{Resumes: true, Since: 41, Epoch: "e-1"}},
		{"", "Last-Event-ID: 42", EventRequest{Resumes: true, Since: 42}},
		{"?since=41", "Last-Event-ID: 57", EventRequest{Resumes: true, Since: 57}}, // the address stays what it was, the header does not
		{"?max_per_second=0.5", "Accept: text/event-stream", EventRequest{MaxPerSecond: 0.5}},
	} {
		s.asked = nil
		var header []string
		if c.header != "" {
			header = append(header, c.header)
		}
		h.call("GET", "/api/v1/events"+c.query, ada.access, nil, header...).want(http.StatusOK)
		got := s.asked[0]
		if c.want.Bearer, c.want.Ticket = true, got.Ticket; got != c.want {
			t.Errorf("%s %s: got %+v, want %+v", c.query, c.header, got, c.want)
		}
	}
}

func TestEvents_TicketOrTokenInPlaceOfABearerToken(t *testing.T) {
	h, s := newStage(t)
	h.call("GET", "/api/v1/events?ticket=a.b.c", "", nil).want(http.StatusOK)
	h.call("GET", "/api/v1/events?resume=d.e.f&since=3", "", nil).want(http.StatusOK)
	want := []EventRequest{{Ticket: "a.b.c"}, {Resume: "d.e.f", Resumes: true, Since: 3}}
	if len(s.asked) != 2 || s.asked[0] != want[0] || s.asked[1] != want[1] {
		t.Errorf("got %+v, want %+v", s.asked, want)
	}
	if logs := h.logs.String(); strings.Contains(logs, "a.b.c") || strings.Contains(logs, "d.e.f") {
		t.Errorf("the log holds a ticket")
	}
}

func TestEvents_RefusalsAreProblems(t *testing.T) {
	h, s := newStage(t)
	ada := h.person("ada")
	h.sensor(ada, fields{"serial_no": "SN1"})
	h.sensor(h.person("bob"), fields{"serial_no": "SN2"})
	for _, c := range []struct {
		query, token, header string
		status               int
		kind                 string
	}{
		{"", "", "", 401, "unauthenticated"},
		{"?ticket=", "", "", 401, "unauthenticated"},
		{"?ticket=a.b.c", "garbage", "", 401, "unauthenticated"},
		{"?serial_no=SN2", ada.access, "", 404, "not-found"},
		{"?serial_no=SN1&serial_no=NOBODY", ada.access, "", 404, "not-found"},
		{"", ada.access, "Accept: application/json", 406, "not-acceptable"},
		{"", ada.access, "Accept: text/event-stream;q=0, */*", 406, "not-acceptable"},
		{"?ticket=a.b.c", ada.access, "", 422, "invalid"},
		{"?ticket=a.b.c&resume=d.e.f", "", "", 422, "invalid"},
		{"?ticket=a.b.c&serial_no=SN1", "", "", 422, "invalid"},
		{"?since=-1", ada.access, "", 422, "invalid"},
		{"?since=x", ada.access, "", 422, "invalid"},
		{"", ada.access, "Last-Event-ID: x", 422, "invalid"},
		{"", ada.access, "Last-Event-ID: 99999999999999999999", 422, "invalid"},
		{"?max_per_second=1001", ada.access, "", 422, "invalid"},
		{"?serial=SN1", ada.access, "", 422, "invalid"}, // misspelt: not everything
		{"?serial_no=", ada.access, "", 422, "invalid"},
		{strings.Repeat("&serial_no=SN1", 101)[1:], ada.access, "", 422, "invalid"},
	} {
		var header []string
		if c.header != "" {
			header = append(header, c.header)
		}
		a := h.call("GET", "/api/v1/events?"+strings.TrimPrefix(c.query, "?"), c.token, nil, header...)
		a.wantProblem(c.status, c.kind)
		if got := a.header.Get("WWW-Authenticate"); (c.status == 401) != (got == "Bearer") {
			t.Errorf("%s: got WWW-Authenticate %q with %d", c.query, got, c.status)
		}
	}
	if len(s.asked) != 0 {
		t.Errorf("streams were asked for: %+v", s.asked)
	}
	h.call("POST", "/api/v1/events", ada.access, nil).wantProblem(http.StatusMethodNotAllowed, "method-not-allowed")
}

// What only who serves the stream finds out is answered like the rest.
func TestEvents_RefusalsOfTheStreamAreProblemsToo(t *testing.T) {
	h, s := newStage(t)
	for _, c := range []struct {
		err    error
		status int
		kind   string
	}{
		{telemetry.ErrUnauthenticated, 401, "unauthenticated"},
		{telemetry.ErrForbidden, 403, "forbidden"},
		{telemetry.ErrUnavailable, 503, "unavailable"},
		{fmt.Errorf("of a kind nobody knows"), 500, "internal"},
	} {
		s.err = c.err
		a := h.call("GET", "/api/v1/events?ticket=a.b.c", "", nil)
		a.wantProblem(c.status, c.kind)
		if a.header.Get("WWW-Authenticate") == "" && c.status == 401 || a.header.Get("Retry-After") == "" && c.status == 503 {
			t.Errorf("%d: got header %v", c.status, a.header)
		}
	}
	s.err = fmt.Errorf("%w: %w", telemetry.ErrForbidden, telemetry.Invalid("header.Origin", "pages of this origin may not"))
	h.call("GET", "/api/v1/events?ticket=a.b.c", "", nil).wantFault(http.StatusForbidden, "forbidden", "header.Origin")
}

func TestEvents_AreAskedForAsOftenAsTickets(t *testing.T) {
	h, _ := newStage(t, func(_ *Config, policy *auth.Config, _ *Deps) { policy.TicketsPerMinute = 3 })
	ada := h.person("ada")
	for range 3 {
		h.call("GET", "/api/v1/events", ada.access, nil).want(http.StatusOK)
	}
	a := h.call("GET", "/api/v1/events", ada.access, nil)
	if a.wantProblem(http.StatusTooManyRequests, "too-many-requests"); a.header.Get("Retry-After") == "" {
		t.Errorf("429 without Retry-After")
	}
}

// A HEAD request has no use for a stream, and would never end.
func TestEvents_HeadOpensNothing(t *testing.T) {
	h, s := newStage(t)
	a := h.call("HEAD", "/api/v1/events", h.person("ada").access, nil).want(http.StatusOK)
	if a.header.Get("Content-Type") != "text/event-stream" || len(s.asked) != 0 {
		t.Errorf("got %s and %d streams", a.header.Get("Content-Type"), len(s.asked))
	}
}

func TestAccepts_TheMostSpecificRangeDecides(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/event-stream":                    true,
		"TEXT/Event-Stream; charset=utf-8":     true,
		"*/*":                                  true,
		"text/*;q=0.1":                         true,
		"application/json, text/html;q=0.9":    false,
		"application/json, */*;q=0.1":          true,
		"*/*;q=1, text/event-stream;q=0":       false,
		"text/event-stream;q=0.000, text/*":    false,
		"text/*;q=0, text/event-stream":        true,
		"text/*; Q = 0":                        false,
		"nonsense":                             false,
		"":                                     false,
		"text/event-stream-of-another, image/": false,
	} {
		if got := accepts([]string{accept}, eventStream); got != want {
			t.Errorf("%q: got %v, want %v", accept, got, want)
		}
	}
	if !accepts(nil, eventStream) || !accepts([]string{"text/html", "text/event-stream"}, eventStream) {
		t.Errorf("no header, or one of two: got false, want true")
	}
}
