package command

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"

	"sensorcast/telemetry"
)

// Bounds on a command. They keep what one person can pile up for one sensor below 17 MB, and one message within what small devices can read.
const (
	MaxDataBytes  = 16 << 10            // of Draft.Data as it comes
	MaxReplyBytes = 16 << 10            // of a sensor's reply
	MaxWaiting    = 1000                // commands waiting for one sensor
	DefaultLife   = 7 * 24 * time.Hour  // of a command whose draft does not say
	MaxLife       = 30 * 24 * time.Hour // of any
	MinLife       = time.Second
	KeepSettled   = 30 * 24 * time.Hour // a command that waits no longer is deleted after this

	maxNameRunes = 100
)

// Draft is a command as a person words it.
type Draft struct {
	Serial    string          // of the sensor
	Name      string          // 1 to 100 characters
	Data      json.RawMessage // any JSON of at most MaxDataBytes; empty: null
	ExpiresIn time.Duration   // MinLife to MaxLife; zero: DefaultLife
}

// check reports the first field that is out of bounds as a telemetry.FieldError, and fills in what was left out.
func (d *Draft) check() error {
	if d.Name == "" {
		return telemetry.Invalid("name", "must not be empty")
	}
	if err := telemetry.CheckText("name", d.Name, maxNameRunes, false); err != nil {
		return err
	}
	if len(d.Data) == 0 {
		d.Data = json.RawMessage("null")
	}
	if len(d.Data) > MaxDataBytes {
		return telemetry.Invalid("data", "must be at most %d bytes", MaxDataBytes)
	}
	data, ok := compact(d.Data)
	if !ok {
		return telemetry.Invalid("data", "must be valid JSON")
	}
	d.Data = data
	if d.ExpiresIn == 0 {
		d.ExpiresIn = DefaultLife
	}
	if d.ExpiresIn < MinLife || d.ExpiresIn > MaxLife {
		return telemetry.Invalid("expires_in", "must lie between %d and %d seconds", int(MinLife.Seconds()), int(MaxLife.Seconds()))
	}
	return nil
}

// compact returns a copy of text without white space between tokens; false when it is no JSON, which is UTF-8 (RFC 8259 §8.1).
func compact(text []byte) (json.RawMessage, bool) {
	var b bytes.Buffer
	if !utf8.Valid(text) || json.Compact(&b, text) != nil {
		return nil, false
	}
	return b.Bytes(), true
}
