package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

const eventStream = "text/event-stream"

func (a *API) eventRoutes() {
	handle(a, huma.Operation{
		OperationID: "stream-events", Method: http.MethodGet, Path: base + "/events", Tags: []string{tagTickets},
		Summary: "Watch sensors as Server-Sent Events",
		Description: "The WebSocket's frames, each as an event named after its type; an error frame's is named problem. The id of a reading or hello is its seq: " +
			"a client that comes back with it as Last-Event-ID gets what it missed. The last event, close, says why the stream ended. " +
			"Pages, whose EventSource sends no headers, use a ticket or the token of the last resume event.",
		Security: viewer(), Errors: []int{http.StatusForbidden, http.StatusNotFound, http.StatusNotAcceptable, http.StatusTooManyRequests, http.StatusServiceUnavailable},
		Responses: map[string]*huma.Response{"200": {
			Description: "The stream, until either side ends it",
			Content:     map[string]*huma.MediaType{eventStream: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, a.streamEvents)
}

type eventsInput struct {
	Serials      []string         `query:"serial_no,explode" maxItems:"100" nullable:"false" doc:"With a bearer token: these sensors; none: all one may see, also those added later"`
	Ticket       string           `query:"ticket" doc:"In place of a bearer token"`
	Resume       string           `query:"resume" doc:"In place of a bearer token"`
	LastEventID  parameter[int64] `header:"Last-Event-ID" minimum:"0" doc:"The id of the last event read: only what came after it"`
	Since        parameter[int64] `query:"since" minimum:"0" doc:"The same, for clients that send no headers; Last-Event-ID is later"`
	Epoch        string           `query:"epoch" maxLength:"64" doc:"The epoch of the hello that since belongs to"`
	MaxPerSecond float64          `query:"max_per_second" minimum:"0" maximum:"1000" doc:"At most so many readings a second of each sensor; 0: no limit"`
}

// EventRequest is what Events is asked for, by exactly one of Ticket and Resume. Its fields are those of bridge.EventRequest.
type EventRequest struct {
	Ticket       string
	Resume       string
	Bearer       bool // the ticket was made just now, for the access token of this request
	Resumes      bool // the client has read everything up to Since
	Since        int64
	Epoch        string
	MaxPerSecond float64
}

// streamEvents leaves huma once the parameters are read: from there on the answer is the stream.
func (a *API) streamEvents(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	p := principal(ctx)
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		if err := a.openEvents(w, r, p, in); err != nil {
			a.refuse(w, r, err)
		}
	}}, nil
}

func (a *API) openEvents(w http.ResponseWriter, r *http.Request, p auth.Principal, in *eventsInput) error {
	if !accepts(r.Header.Values("Accept"), eventStream) {
		return errNotAcceptable
	}
	if r.Method == http.MethodHead { // which ServeMux takes for GET: it asks for the head, and a stream has no end
		w.Header().Set("Content-Type", eventStream)
		return nil
	}
	if len(in.Serials) == 0 && r.URL.Query().Has("serial_no") { // of an unset variable, say: it must not mean everything
		return telemetry.Invalid("query.serial_no", "names no sensor")
	}
	q, err := a.eventRequest(p, in)
	if err != nil {
		return err
	}
	return a.deps.Events(w, r, q)
}

// eventRequest makes of a person's access token a ticket, spent at once: so what may be watched, by whom, and how often that may be asked is
// decided in one place, and who serves the stream knows of tickets only.
func (a *API) eventRequest(p auth.Principal, in *eventsInput) (EventRequest, error) {
	q := EventRequest{
		Ticket: in.Ticket, Resume: in.Resume, Epoch: in.Epoch, MaxPerSecond: in.MaxPerSecond,
		Resumes: in.Since.given, Since: in.Since.value,
	}
	if in.LastEventID.given {
		q.Resumes, q.Since = true, in.LastEventID.value
	}
	known := p.Kind != auth.Anonymous
	switch {
	case known && (in.Ticket != "" || in.Resume != ""), in.Ticket != "" && in.Resume != "":
		return q, telemetry.Invalid("query", "give one of a bearer token, ticket and resume")
	case known:
		t, err := a.deps.Auth.MintTicket(p, in.Serials, len(in.Serials) == 0)
		q.Ticket, q.Bearer = t.Token, true
		return q, err
	case len(in.Serials) > 0:
		return q, telemetry.Invalid("query.serial_no", "goes with a bearer token: a ticket, and a token to resume, name their sensors themselves")
	}
	return q, nil
}

// accepts reports whether the Accept headers take the media type: the most specific range that holds it says so (RFC 9110 §12.5.1).
func accepts(headers []string, mediaType string) bool {
	main, _, _ := strings.Cut(mediaType, "/")
	taken, most := len(headers) == 0, 0
	for _, entry := range strings.Split(strings.Join(headers, ","), ",") {
		name, parameters, _ := strings.Cut(entry, ";")
		specific := 0
		switch strings.ToLower(strings.TrimSpace(name)) {
		case mediaType:
			specific = 3
		case main + "/*":
			specific = 2
		case "*/*":
			specific = 1
		}
		if specific > most {
			taken, most = quality(parameters) > 0, specific
		}
	}
	return taken
}

// quality returns the weight among the parameters of a media range; one without, or with one that is no number, counts in full.
func quality(parameters string) float64 {
	for _, p := range strings.Split(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
			return q
		}
	}
	return 1
}
