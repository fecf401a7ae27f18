package telemetry

import (
	"net"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Sensor is an entry of the registry. Live facts (state, last seen, latest, problems) are in Status.
type Sensor struct {
	ID           int64  // the store's number, never shown
	UID          string // the public id: 26 lower-case letters and digits, random
	Serial       string // serial_no
	OwnerID      int64
	Owner        string // the owner's user name
	Name         string
	Description  string
	MACAddress   string // "aa:bb:cc:dd:ee:ff", an EUI-64 likewise, or empty
	SensorType   string // wall_mount, outdoor, ceiling_mount, or the owner's own word
	Manufacturer string
	Tags         []string
	SilenceAfter time.Duration // zero: the server's default
	Learned      bool          // its own rhythm says how long it may be silent, and SilenceAfter only until that is known
	CreatedAt    Millis
	UpdatedAt    Millis

	Status Status
}

// Status is what the server knows of a sensor from its traffic.
type Status struct {
	LastSeenAt Millis   // arrival of the last fresh, valid telemetry; zero: never
	SilentFrom Millis   // the LastSeenAt after which it was found silent: while both are equal it still is; zero: never was
	Latest     *Reading // newest by Reading.Time; nil: none stored
	Problems   Problems
}

// Problems counts what a sensor sent that could not be taken, so that its owner can see why nothing arrives.
type Problems struct {
	Malformed  int64  // payloads that could not be decoded
	Refused    int64  // publishes and subscriptions outside its own topics
	LastReason string // the newest of both, in words
	LastAt     Millis
}

// State is what people want to know first of a sensor.
type State string

// The states.
const (
	StateOnline    State = "online"
	StateSilent    State = "silent"
	StateNeverSeen State = "never_seen"
)

// StateChange is a sensor's step from one state to another.
type StateChange struct {
	SensorID   int64
	Serial     string
	State      State  // the new one
	LastSeenAt Millis // zero: never
}

// State tells whether the sensor was ever seen and, if so, whether it has been found silent since. What finds it silent is package alert; a
// reading ends a silence by moving LastSeenAt, without anybody having to write that down.
func (s *Status) State() State {
	switch s.LastSeenAt {
	case 0:
		return StateNeverSeen
	case s.SilentFrom:
		return StateSilent
	}
	return StateOnline
}

// Bounds on what an owner may write into the registry; they keep one row and one list page small.
const (
	maxNameRunes        = 200
	maxDescriptionRunes = 2000
	maxWordRunes        = 100 // sensor_type, manufacturer
	maxTags             = 20
	maxTagRunes         = 50
	maxMACBytes         = 8 // EUI-64, which Zigbee and Thread radios have
	minSilence          = time.Second
	maxSilence          = 366 * 24 * time.Hour
)

// Check reports the first field that is out of bounds as a FieldError, and normalises the MAC address and the tags in place.
func (s *Sensor) Check() error {
	if err := CheckSerial(s.Serial); err != nil {
		return err
	}
	if s.Serial == "export" || s.Serial == "import" { // what GET /sensors/export and its like would hide
		return Invalid("serial_no", "is a word of the server's own")
	}
	for _, f := range []struct {
		name, value string
		max         int
		lines       bool
	}{
		{"name", s.Name, maxNameRunes, false},
		{"description", s.Description, maxDescriptionRunes, true},
		{"sensor_type", s.SensorType, maxWordRunes, false},
		{"manufacturer", s.Manufacturer, maxWordRunes, false},
	} {
		if err := CheckText(f.name, f.value, f.max, f.lines); err != nil {
			return err
		}
	}
	if s.MACAddress != "" {
		mac, err := net.ParseMAC(s.MACAddress)
		if err != nil || len(mac) > maxMACBytes {
			return Invalid("mac_address", "must be a MAC address such as 84:fc:e6:12:34:56")
		}
		s.MACAddress = mac.String()
	}
	if s.SilenceAfter != 0 && (s.SilenceAfter < minSilence || s.SilenceAfter > maxSilence) {
		return Invalid("silence_after", "must lie between %d and %d seconds", int(minSilence.Seconds()), int(maxSilence.Seconds()))
	}
	return s.checkTags()
}

func (s *Sensor) checkTags() error {
	if len(s.Tags) > maxTags {
		return Invalid("tags", "at most %d tags", maxTags)
	}
	seen := make(map[string]bool, len(s.Tags))
	tags := make([]string, 0, len(s.Tags))
	for _, t := range s.Tags {
		t = strings.TrimSpace(t)
		if t == "" || seen[t] {
			continue
		}
		if err := CheckText("tags", t, maxTagRunes, false); err != nil {
			return err
		}
		if strings.ContainsRune(t, ',') {
			return Invalid("tags", "a tag must not contain a comma")
		}
		seen[t] = true
		tags = append(tags, t)
	}
	s.Tags = tags
	return nil
}

// CheckText refuses, as a FieldError of the field, what would break a terminal, a header or a table: control characters, what turns the
// direction of writing, broken UTF-8, more than maxRunes characters, and line breaks unless there may be lines. Empty text passes.
func CheckText(field, s string, maxRunes int, lines bool) error {
	if !utf8.ValidString(s) {
		return Invalid(field, "must be valid UTF-8")
	}
	if utf8.RuneCountInString(s) > maxRunes {
		return Invalid(field, "must be at most %d characters", maxRunes)
	}
	for _, r := range s {
		if r == '\n' && lines {
			continue
		}
		if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return Invalid(field, "must not contain control characters")
		}
	}
	return nil
}
