// Package roster reads and writes sensors as a sheet of CSV, one row each: what a spreadsheet, a script or another Sensorcast has of a fleet.
// It is pure: text in, sensors and mistakes out, and back. What is written can be read again and means the same, cell by cell, also where
// a cell had to be made harmless for spreadsheets (see cell.go).
//
// A sheet begins with a row of field names, which are those of POST /sensors, in any order and number, serial_no among them. Read bounds
// what it is given: MaxRows rows, and of the mistakes the first MaxMistakes in words, so that an answer stays small whatever was sent.
package roster

import (
	"strconv"
	"strings"
	"time"

	"sensorcast/telemetry"
)

const (
	// MaxRows is how many sensors one sheet may hold: they are stored in one transaction, which others wait for.
	MaxRows = 10_000

	// MaxMistakes is how many mistakes are told in words. Who has more has one of a kind.
	MaxMistakes = 100
)

// Row is one sensor of a sheet that was read.
type Row struct {
	Number int              // as a spreadsheet counts: the field names are row 1
	Sensor telemetry.Sensor // checked; only what the sheet has columns for is set
	Secret string           // secret_key as it stands, not checked; empty: none
}

// column is one field of a sensor, and how it is put into a cell. read nil: the field is written for people only, and ignored when it comes
// back.
type column struct {
	name  string
	write func(s telemetry.Sensor) string
	read  func(s *telemetry.Sensor, text string) error
}

const (
	serialColumn = "serial_no"
	secretColumn = "secret_key" // read and never written
)

// columns are all fields, in the order they are written.
var columns = []column{
	{serialColumn, func(s telemetry.Sensor) string { return s.Serial }, func(s *telemetry.Sensor, text string) error {
		s.Serial = strings.TrimSpace(text)
		return nil
	}},
	{"name", func(s telemetry.Sensor) string { return s.Name }, keep(func(s *telemetry.Sensor) *string { return &s.Name })},
	{"description", func(s telemetry.Sensor) string { return s.Description }, keep(func(s *telemetry.Sensor) *string { return &s.Description })},
	{"mac_address", func(s telemetry.Sensor) string { return s.MACAddress }, func(s *telemetry.Sensor, text string) error {
		s.MACAddress = strings.TrimSpace(text)
		return nil
	}},
	{"sensor_type", func(s telemetry.Sensor) string { return s.SensorType }, keep(func(s *telemetry.Sensor) *string { return &s.SensorType })},
	{"manufacturer", func(s telemetry.Sensor) string { return s.Manufacturer }, keep(func(s *telemetry.Sensor) *string { return &s.Manufacturer })},
	{"tags", func(s telemetry.Sensor) string { return joinTags(s.Tags) }, func(s *telemetry.Sensor, text string) error {
		s.Tags = splitTags(text)
		return nil
	}},
	{"silence_after", silenceText, readSilence},
	{name: "id", write: func(s telemetry.Sensor) string { return s.UID }},
	{name: "owner", write: func(s telemetry.Sensor) string { return s.Owner }},
	{name: "state", write: func(s telemetry.Sensor) string { return string(s.Status.State()) }},
	{name: "last_seen_at", write: func(s telemetry.Sensor) string { return instant(s.Status.LastSeenAt) }},
	{name: "created_at", write: func(s telemetry.Sensor) string { return instant(s.CreatedAt) }},
	{name: "updated_at", write: func(s telemetry.Sensor) string { return instant(s.UpdatedAt) }},
}

func keep(field func(*telemetry.Sensor) *string) func(*telemetry.Sensor, string) error {
	return func(s *telemetry.Sensor, text string) error {
		*field(s) = text
		return nil
	}
}

func silenceText(s telemetry.Sensor) string {
	if s.SilenceAfter == 0 {
		return ""
	}
	return strconv.FormatInt(int64(s.SilenceAfter/time.Second), 10)
}

// maxSeconds keeps the product in range; what is too long for a sensor Check says.
const maxSeconds = 1 << 30

func readSilence(s *telemetry.Sensor, text string) error {
	s.SilenceAfter = 0
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 1 || seconds > maxSeconds {
		return telemetry.Invalid("silence_after", "must be a whole number of seconds, or empty for the server's default")
	}
	s.SilenceAfter = time.Duration(seconds) * time.Second
	return nil
}

func instant(m telemetry.Millis) string {
	if m == 0 {
		return ""
	}
	return strings.Trim(string(m.AppendJSON(nil)), `"`)
}
