package auth

import (
	"log/slog"
	"slices"
	"strconv"
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
	if a != View && !l.write {
		return false
	}
	if l.serials == nil {
		return true
	}
	_, named := slices.BinarySearch(l.serials, serial)
	return named
}

// Scope names the principal uniquely among people and sensors: "u12", "s34", or "" for anonymous. What a client may choose freely,
// such as an MQTT client id, is only ever unique within a scope.
func (p Principal) Scope() string {
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
