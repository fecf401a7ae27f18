package broker

import (
	"log/slog"
	"strings"

	"sensorcast/auth"
)

// sessionName is a session's id for the log. Clients choose part of it, and people have them choose a secret.
type sessionName string

// LogValue is the id, or its scope where the rest holds a secret.
func (n sessionName) LogValue() slog.Value {
	if auth.HoldsSecret(string(n)) {
		scope, _, _ := strings.Cut(string(n), "/")
		return slog.StringValue(scope + "/(a secret)")
	}
	return slog.StringValue(string(n))
}
