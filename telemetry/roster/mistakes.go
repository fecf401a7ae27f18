package roster

import (
	"errors"
	"fmt"

	"sensorcast/telemetry"
)

// Mistakes are what is wrong with a sheet. As an error they are of kind telemetry.ErrInvalid, whatever their own kinds: the sheet as a whole
// is at fault. The zero value has none.
type Mistakes struct {
	Shown []Mistake // the first MaxMistakes, in the order they were found
	More  int       // how many more there are
}

// Mistake is one of them.
type Mistake struct {
	Row    int    // zero: the sheet as a whole
	Field  string // empty: the row as a whole
	Reason string // never the rejected value, which may be a secret
}

// Add notes what is wrong with a row: each telemetry.FieldError in err, however joined. nil is nothing.
func (m *Mistakes) Add(row int, err error) {
	switch e := err.(type) {
	case nil:
	case *telemetry.FieldError:
		m.note(Mistake{row, e.Field, e.Reason})
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			m.Add(row, inner)
		}
	default:
		if inner := errors.Unwrap(err); inner != nil {
			m.Add(row, inner)
			return
		}
		m.note(Mistake{row, "", "cannot be taken"}) // never lost, or its row would be left out unsaid
	}
}

func (m *Mistakes) note(what Mistake) {
	if len(m.Shown) == MaxMistakes {
		m.More++
		return
	}
	m.Shown = append(m.Shown, what)
}

// Err returns m as an error, nil when there is no mistake.
func (m *Mistakes) Err() error {
	if len(m.Shown) == 0 {
		return nil
	}
	return m
}

// Error counts the mistakes.
func (m *Mistakes) Error() string {
	return fmt.Sprintf("the sheet has %d mistakes", len(m.Shown)+m.More)
}

// Unwrap returns telemetry.ErrInvalid.
func (m *Mistakes) Unwrap() error { return telemetry.ErrInvalid }
