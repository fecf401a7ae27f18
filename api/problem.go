package api

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Problem is what every error answer carries: problem details of RFC 9457. Type is a relative reference, since no host is ours.
type Problem struct {
	Type      string  `json:"type" format:"uri-reference" doc:"What kind of problem, e.g. /problems/not-found"`
	Title     string  `json:"title" doc:"The kind in words"`
	Status    int     `json:"status" doc:"The HTTP status"`
	Detail    string  `json:"detail,omitempty" doc:"What went wrong this time"`
	RequestID string  `json:"request_id,omitempty" doc:"Of a fault of the server: what to look for in its log"`
	Errors    []Fault `json:"errors,omitempty" nullable:"false" doc:"Each mistake of the input by its field"`

	header http.Header
}

// Fault is one mistake of the input. It never repeats the rejected value.
type Fault struct {
	Location string `json:"location,omitempty" doc:"Path of the field, e.g. body.username or query.limit"`
	Message  string `json:"message" doc:"What is wrong with it"`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is huma's way to ask for the status.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders is huma's way to ask for further headers, such as Retry-After.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType is huma's way to ask for the media type.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// write answers with p where huma does not.
func (p *Problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that left needs no answer
}

func (p *Problem) retryAfter(seconds int) {
	p.header = http.Header{"Retry-After": {strconv.Itoa(seconds)}}
}

func internal(requestID string) *Problem {
	return &Problem{
		Type:      problemTypes + "internal",
		Title:     "Internal error",
		Status:    http.StatusInternalServerError,
		Detail:    "The server failed. Its log says more under the request's id.",
		RequestID: requestID,
	}
}
