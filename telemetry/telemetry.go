// Package telemetry is the vocabulary of Sensorcast: what a reading, a sensor, a serial number and a topic are, and the kinds of
// error every part speaks of. It holds values and rules about values, does no I/O, starts no goroutine and imports nothing but the
// standard library, so that every other package may lean on it.
//
// A [Reading] enters through a front door (package broker for MQTT, bridge for WebSocket, api for HTTP), is decoded by package
// telemetry/format, passes package ingest, and ends in package store and on people's screens.
package telemetry

import (
	"errors"
	"fmt"
)

// Error kinds. Every error that reaches an edge wraps one of them or is an internal fault; the edge maps kinds to status codes.
var (
	ErrInvalid         = errors.New("invalid")           // the input is at fault; HTTP 422
	ErrNotFound        = errors.New("not found")         // absent, or not the caller's to know of; 404
	ErrConflict        = errors.New("conflict")          // clashes with what is there; 409
	ErrUnauthenticated = errors.New("not authenticated") // who is asking is unknown; 401
	ErrForbidden       = errors.New("forbidden")         // known, and not allowed; 403
	ErrTooMany         = errors.New("too many requests") // over a rate; 429
	ErrUnavailable     = errors.New("unavailable")       // overloaded, shutting down or the store fails; 503
)

// FieldError is an input mistake that names its field. It matches ErrInvalid, or ErrConflict where Kind says so.
type FieldError struct {
	Field  string // path of the field as the client spelled it, e.g. "serial_no"
	Reason string // what is wrong with it; never the rejected value, which may be a secret
	Kind   error  // ErrInvalid when nil
}

// Invalid returns a FieldError of kind ErrInvalid; the reason is formatted.
func Invalid(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Conflict returns a FieldError of kind ErrConflict.
func Conflict(field, reason string) error {
	return &FieldError{Field: field, Reason: reason, Kind: ErrConflict}
}

// Error reads "field: reason".
func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// Unwrap returns the kind.
func (e *FieldError) Unwrap() error {
	if e.Kind == nil {
		return ErrInvalid
	}
	return e.Kind
}
