package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/notify"
	"sensorcast/telemetry"
)

// Kinds of error only this package knows.
var (
	errForeignOrigin = fmt.Errorf("request from another site: %w", telemetry.ErrForbidden)
	errRegistration  = fmt.Errorf("registration is not open: %w", telemetry.ErrForbidden)
	errNotUTF8       = errors.New("must be UTF-8")
	errMalformed     = errors.New("body is not well-formed")
	errMediaType     = errors.New("body is not JSON")
	errTooLarge      = errors.New("body too large")
	errSlowBody      = errors.New("body came too slowly")
	errBrokenBody    = errors.New("body broke off")
	errNoRoute       = errors.New("no such path")
	errNoMethod      = errors.New("no such method of this path")
	errNotAcceptable = errors.New("no acceptable media type")
)

// kinds is the one table from errors to answers; the first match counts, so finer kinds stand above those they wrap.
var kinds = []struct {
	err    error
	status int
	name   string // last segment of the type
	title  string
	detail string
}{
	{auth.ErrSetupToken, http.StatusForbidden, "setup-token-required", "Set-up token required",
		"The first account becomes admin. Send the set-up token printed at the server's start as setup_token, or register from the server's own machine."},
	{errRegistration, http.StatusForbidden, "registration-closed", "Registration closed", "This server takes no registrations. Ask whoever runs it for an account."},
	{command.ErrFull, http.StatusTooManyRequests, "too-many-commands", "Too many commands",
		fmt.Sprintf("%d commands wait for this sensor already. It has to take some of them, or they have to expire, before it can be sent more.", command.MaxWaiting)},
	{notify.ErrChannels, http.StatusConflict, "too-many-channels", "Too many channels",
		fmt.Sprintf("%d channels are there already. Delete one first.", notify.MaxChannels)},
	{errForeignOrigin, http.StatusForbidden, "foreign-origin", "Foreign origin", "The request came from another site's page."},
	{errMalformed, http.StatusBadRequest, "malformed", "Malformed request", "A well-formed JSON body is needed."},
	{errMediaType, http.StatusUnsupportedMediaType, "unsupported-media-type", "Unsupported media type", "The body must be JSON, sent as application/json."},
	{errTooLarge, http.StatusRequestEntityTooLarge, "too-large", "Too large", "The body is larger than allowed."},
	{errSlowBody, http.StatusRequestTimeout, "timeout", "Timeout", "The body did not arrive in time."},
	{errBrokenBody, http.StatusBadRequest, "malformed", "Malformed request", "The body could not be read to its end."},
	{errNoRoute, http.StatusNotFound, "not-found", "Not found", "There is nothing at this path."},
	{errNoMethod, http.StatusMethodNotAllowed, "method-not-allowed", "Method not allowed", "This path does not take this method; Allow lists those it takes."},
	{errNotAcceptable, http.StatusNotAcceptable, "not-acceptable", "Not acceptable", "This path answers with text/event-stream, which the request's Accept header excludes."},
	{telemetry.ErrUnauthenticated, http.StatusUnauthorized, "unauthenticated", "Not authenticated", "The credentials are missing, wrong or no longer valid."},
	{telemetry.ErrForbidden, http.StatusForbidden, "forbidden", "Forbidden", "This is not allowed."},
	{telemetry.ErrNotFound, http.StatusNotFound, "not-found", "Not found", "There is no such thing, or it is not yours to see."},
	{telemetry.ErrConflict, http.StatusConflict, "conflict", "Conflict", "This clashes with what is there already."},
	{telemetry.ErrInvalid, http.StatusUnprocessableEntity, "invalid", "Invalid input", "The input is not valid."},
	{telemetry.ErrTooMany, http.StatusTooManyRequests, "too-many-requests", "Too many requests", "Too many attempts. Wait as long as Retry-After says."},
	{telemetry.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", "Unavailable", "The server cannot take this now. Try again soon."},
	{context.Canceled, http.StatusServiceUnavailable, "unavailable", "Unavailable", "The request was given up."},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "unavailable", "Unavailable", "The server took too long."},
}

const (
	problemTypes = "/problems/"
	retrySoon    = 2 // seconds; what Retry-After says when the server itself does not know
)

// problem turns err into the answer. Mistakes of the input are placed at place ("body." or "query.") and their field. What is not in
// the table is a fault of the server: its text goes to the log, the client gets the request's id to ask about.
func (a *API) problem(ctx context.Context, place string, err error) *Problem {
	x := exchangeOf(ctx)
	p := problemOf(err)
	if p == nil {
		a.log.Error("request failed", "request", x.id, "err", err)
		return internal(x.id)
	}
	a.log.Debug("request refused", "request", x.id, "status", p.Status, "err", err)
	p.Errors = faults(place, err)
	return p
}

// problemOf looks err up; nil when it is of no known kind.
func problemOf(err error) *Problem {
	for _, k := range kinds {
		if !errors.Is(err, k.err) {
			continue
		}
		p := &Problem{Type: problemTypes + k.name, Title: k.title, Status: k.status, Detail: k.detail}
		if rate, ok := errors.AsType[*auth.RateError](err); ok {
			p.retryAfter(rate.Seconds())
		} else if k.status == http.StatusTooManyRequests || k.status == http.StatusServiceUnavailable {
			p.retryAfter(retrySoon)
		}
		return p
	}
	return nil
}

// faults lists every FieldError in err, however wrapped or joined. It walks the tree itself because errors.As stops at the first.
func faults(place string, err error) []Fault {
	if field, ok := err.(*telemetry.FieldError); ok {
		return []Fault{{Location: strings.TrimSuffix(place+field.Field, "."), Message: field.Reason}}
	}
	switch wrapper := err.(type) {
	case interface{ Unwrap() []error }:
		var all []Fault
		for _, e := range wrapper.Unwrap() {
			all = append(all, faults(place, e)...)
		}
		return all
	case interface{ Unwrap() error }:
		if inner := wrapper.Unwrap(); inner != nil {
			return faults(place, inner)
		}
	}
	return nil
}
