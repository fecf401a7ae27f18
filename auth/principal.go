package auth

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
)

// Kind says what sort of party a principal is.
type Kind uint8

// The kinds. The zero Principal is Anonymous and may do nothing.
const (
	Anonymous Kind = iota
	Person
	Sensor
	Operator // whoever may open the server's files: administers accounts, and sees no sensor but in a person's name
)

// String names the kind for logs.
func (k Kind) String() string {
	switch k {
	case Person:
		return "person"
	case Sensor:
		return "sensor"
	case Operator:
		return "operator"
	}
	return "anonymous"
}

// Role is what a person is to the installation. It gives no sight of other people's sensors.
type Role string

// The roles.
const (
	RoleAdmin Role = "admin" // administers accounts and may read $SYS
	RoleUser  Role = "user"
)

// Administers reports whether p may administer accounts and read the whole audit trail.
func (p Principal) Administers() bool {
	return p.Kind == Operator || p.Kind == Person && p.Role == RoleAdmin && p.limits == nil
}

// Principal is a party whose identity was proven. It is a value, comparable, and holds no secret.
type Principal struct {
	Kind Kind

	UserID    int64 // a person's
	Username  string
	Role      Role
	SessionID string // empty for a login over MQTT and for an API token
	TokenID   string // of the API token they came with; empty: with none

	SensorID int64 // a sensor's
	Serial   string

	// mark is what Service.Live compares beside the session: for a password login without a session the account's count of
	// revocations when it began, for a sensor a digest of the secret it proved. Zero where a test wrote the principal by hand.
	mark uint64

	limits *limits // what the API token leaves of the account's rights; nil: all of them
}

// limits are what an API token permits. They are never changed, so a Principal may share them.
type limits struct {
	write   bool
	serials []string // sorted; nil: every sensor its account has access to, now and later
}

// permit reports whether the token is good for the action on the sensor of that serial; without a token everything is.
func (l *limits) permit(a Action, serial string) bool {
	if l == nil {
		return true
	}
	if a != View && a != Inspect && !l.write {
		return false
	}
	if l.serials == nil {
		return true
	}
	_, named := slices.BinarySearch(l.serials, serial)
	return named
}

// IsPerson reports whether p is the person of that number.
func (p Principal) IsPerson(userID int64) bool { return p.Kind == Person && p.UserID == userID }

// ReadOnly reports whether p came with an API token that changes nothing.
func (p Principal) ReadOnly() bool { return p.limits != nil && !p.limits.write }

// Confined returns the sensors p's API token is for, ascending; false: it came without one, or with one for all its account's.
func (p Principal) Confined() (serials []string, confined bool) {
	if p.limits == nil || p.limits.serials == nil {
		return nil, false
	}
	return p.limits.serials, true
}

// Covers reports whether p's API token is for the sensor of that serial; without a token everything is covered. What p is to the sensor
// is another question.
func (p Principal) Covers(serial string) bool { return p.limits.permit(View, serial) }

// Scope names the principal uniquely among people, their API tokens and sensors: "u12", "u12+TOKENID", "s34", or "" for anonymous. What a
// client may choose freely, such as an MQTT client id, is only ever unique within a scope. There is no "/" in it.
func (p Principal) Scope() string {
	if p.TokenID != "" {
		return p.party() + scopeOfToken + p.TokenID
	}
	return p.party()
}

const scopeOfToken = "+"

// TokenOfScope returns the Principal.TokenID in a scope; empty: it is none of an API token's.
func TokenOfScope(scope string) string {
	_, id, _ := strings.Cut(scope, scopeOfToken)
	return id
}

// party is the scope of the account or sensor itself, whatever it came with.
func (p Principal) party() string {
	switch p.Kind {
	case Person:
		return "u" + strconv.FormatInt(p.UserID, 10)
	case Sensor:
		return "s" + strconv.FormatInt(p.SensorID, 10)
	}
	return ""
}

// LogValue logs the kind and the name.
func (p Principal) LogValue() slog.Value {
	switch p.Kind {
	case Person:
		return slog.StringValue("person " + p.Username)
	case Sensor:
		return slog.StringValue("sensor " + p.Serial)
	}
	return slog.StringValue(p.Kind.String())
}
