package auth

import (
	"strings"
	"unicode/utf8"
)

// namedSerial returns the literal serial of a wildcard filter such as sensors/SN1/#, if it has one.
func namedSerial(filter string) (serial string, named bool) {
	root, rest, _ := strings.Cut(filter, "/")
	if root != "sensors" && root != "alerts" {
		return "", false
	}
	serial, _, _ = strings.Cut(rest, "/")
	return serial, serial != "+" && serial != "#"
}

// withoutShare strips $share/{group}/ [MQTT-4.8.2-1], [MQTT-4.8.2-2].
func withoutShare(filter string) (string, bool) {
	shared, ok := strings.CutPrefix(filter, "$share/")
	if !ok {
		return filter, filter != "$share"
	}
	group, rest, ok := strings.Cut(shared, "/")
	return rest, ok && group != "" && !strings.ContainsAny(group, "+#")
}

const maxFilterBytes = 65535 // [MQTT-4.7.3-3]

// validFilter checks [MQTT-4.7.1-1] to [MQTT-4.7.3-3]: a wildcard has its level for itself, # comes last, no NUL, valid UTF-8.
func validFilter(filter string) bool {
	if filter == "" || len(filter) > maxFilterBytes || strings.IndexByte(filter, 0) >= 0 || !utf8.ValidString(filter) {
		return false
	}
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && more {
			return false
		}
	}
	return true
}
