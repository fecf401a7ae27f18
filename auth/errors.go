package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sensorcast/telemetry"
)

// ErrSetupToken says that the first account, which becomes admin, was to be made from afar without the set-up token printed at start.
var ErrSetupToken = fmt.Errorf("the first account needs the set-up token printed at start, or a request from this machine: %w", telemetry.ErrForbidden)

// ErrWrongPassword says that who has a session does not know the password it takes to go on. The error that wraps it names the field.
var ErrWrongPassword = errors.New("wrong password")

// RateError says that a limit was reached. It matches telemetry.ErrTooMany.
type RateError struct {
	RetryAfter time.Duration // trying earlier is pointless; > 0
}

// Error says how long to wait, in whole seconds rounded up.
func (e *RateError) Error() string {
	return fmt.Sprintf("too many attempts, try again in %d s", e.Seconds())
}

// Seconds is RetryAfter as the Retry-After header spells it: whole seconds rounded up, at least 1.
func (e *RateError) Seconds() int { return max(1, int((e.RetryAfter+time.Second-1)/time.Second)) }

// Unwrap returns telemetry.ErrTooMany.
func (e *RateError) Unwrap() error { return telemetry.ErrTooMany }

// FieldErrors are several mistakes of one input, each a *telemetry.FieldError. It matches what they match.
type FieldErrors []error

// Error joins the mistakes with "; ".
func (e FieldErrors) Error() string {
	parts := make([]string, len(e))
	for i, err := range e {
		parts[i] = err.Error()
	}
	return strings.Join(parts, "; ")
}

// Unwrap returns the mistakes, so errors.Is and errors.As look at each.
func (e FieldErrors) Unwrap() []error { return e }

// join returns nil for no mistakes (nil entries are none), the mistake itself for one, FieldErrors for more.
func join(mistakes ...error) error {
	var found FieldErrors
	for _, err := range mistakes {
		if err != nil {
			found = append(found, err)
		}
	}
	switch len(found) {
	case 0:
		return nil
	case 1:
		return found[0]
	}
	return found
}

// unauthenticated is telemetry.ErrUnauthenticated with a reason that gives nothing away.
func unauthenticated(reason string) error {
	return fmt.Errorf("%s: %w", reason, telemetry.ErrUnauthenticated)
}

// notFound reports whether err says that an account does not exist.
func notFound(err error) bool { return errors.Is(err, telemetry.ErrNotFound) }
