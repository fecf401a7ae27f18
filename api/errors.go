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
	"sensorcast/telemetry/roster"
)

// Kinds of error only this package knows.
var (
	errForeignOrigin   = fmt.Errorf("request from another site: %w", telemetry.ErrForbidden)
	errRegistration    = fmt.Errorf("registration is not open: %w", telemetry.ErrForbidden)
	errTokenNotAllowed = fmt.Errorf("not with an API token: %w", telemetry.ErrForbidden)
	errTokenReads      = fmt.Errorf("API token lacks a scope: %w", telemetry.ErrForbidden)
	errTokenConfined   = fmt.Errorf("API token is for certain sensors: %w", telemetry.ErrForbidden)
	errNotUTF8         = errors.New("must be UTF-8")
	errMalformed       = errors.New("body is not well-formed")
	errMediaType       = errors.New("body is not JSON")
	errTooLarge        = errors.New("body too large")
	errSlowBody        = errors.New("body came too slowly")
	errBrokenBody      = errors.New("body broke off")
	errNoRoute         = errors.New("no such path")
	errNoMethod        = errors.New("no such method of this path")
	errNotAcceptable   = errors.New("no acceptable media type")
	errKeyReused       = fmt.Errorf("idempotency key used for something else: %w", telemetry.ErrInvalid)
	errOperator        = fmt.Errorf("for the operator only: %w", telemetry.ErrForbidden)
	errAsWhom          = fmt.Errorf("the operator names no person: %w", telemetry.ErrForbidden)
	errNobody          = fmt.Errorf("the operator names nobody there is: %w", telemetry.ErrForbidden)
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
	{auth.ErrSecondFactor, http.StatusUnauthorized, "second-factor-required", "Second factor required",
		"The account has a second factor. Send the code its app shows now, or a recovery code, as code."},
	{auth.ErrInvitation, http.StatusForbidden, "invitation-required", "Invitation required", "This server takes registrations by invitation only. Send the code of one as invitation; admins give them out."},
	{auth.ErrLastAdmin, http.StatusConflict, "last-admin", "Last admin", "One active admin must remain. Make somebody else admin first."},
	{auth.ErrNoMail, http.StatusForbidden, "mail-not-configured", "Mail not configured", "This server sends no mail, so this is not available. Ask whoever runs it."},
	{errRegistration, http.StatusForbidden, "registration-closed", "Registration closed", "This server takes no registrations. Ask whoever runs it for an account."},
	{errTokenNotAllowed, http.StatusForbidden, "token-not-allowed", "API token not allowed", "This takes an access token, from logging in: API tokens are for sensors, not for the account."},
	{errTokenReads, http.StatusForbidden, "token-scope", "API token lacks a scope", "This takes an API token with the scope write; this one has read only."},
	{errTokenConfined, http.StatusForbidden, "token-confined", "API token is for certain sensors", "This API token is for certain sensors and cannot register others."},
	{command.ErrFull, http.StatusTooManyRequests, "too-many-commands", "Too many commands",
		fmt.Sprintf("%d commands wait for this sensor already. It has to take some of them, or they have to expire, before it can be sent more.", command.MaxWaiting)},
	{errKeyReused, http.StatusUnprocessableEntity, "idempotency-key-reused", "Idempotency key used again",
		"A sensor was created with this Idempotency-Key less than a day ago, from another body. Use another key for another sensor."},
	{notify.ErrChannels, http.StatusConflict, "too-many-channels", "Too many channels",
		fmt.Sprintf("%d channels are there already. Delete one first.", notify.MaxChannels)},
	{errForeignOrigin, http.StatusForbidden, "foreign-origin", "Foreign origin", "The request came from another site's page."},
	{errOperator, http.StatusForbidden, "operator-only", "For the operator only", "This is for whoever runs the server, on its own machine: see sensorcast user --help there."},
	{errAsWhom, http.StatusForbidden, "person-needed", "A person is needed", "This is done in somebody's name: say in whose with --as USERNAME."},
	{errNobody, http.StatusForbidden, "no-such-person", "No such person", "There is no account of the name that is given with --as."},
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
	if sheet, ok := err.(*roster.Mistakes); ok {
		return sheetFaults(sheet)
	}
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
