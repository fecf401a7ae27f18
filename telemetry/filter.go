package telemetry

import (
	"strings"
	"unicode/utf8"
)

const maxFilterBytes = 65535 // [MQTT-4.7.3-3]

// SplitShare takes a shared subscription apart: $share/{name}/{filter} (MQTT 5.0 §4.8.2). Any other filter is returned as it is. The
// parts are substrings and not checked: see ValidFilter.
func SplitShare(filter string) (name, rest string, shared bool) {
	tail, shared := strings.CutPrefix(filter, "$share/")
	if !shared {
		return "", filter, false
	}
	name, rest, _ = strings.Cut(tail, "/")
	return name, rest, true
}

// ValidFilter reports whether filter is a topic filter, shared or not: UTF-8 of 1 to 65,535 bytes without U+0000 [MQTT-4.7.3-1] to
// [MQTT-4.7.3-3], a wildcard has its level for itself and # comes last [MQTT-4.7.1-1], [MQTT-4.7.1-2], and a share has a name without
// wildcards and a filter behind it [MQTT-4.8.2-1], [MQTT-4.8.2-2]. It allocates nothing.
func ValidFilter(filter string) bool {
	if len(filter) > maxFilterBytes || strings.IndexByte(filter, 0) >= 0 || !utf8.ValidString(filter) {
		return false
	}
	name, rest, shared := SplitShare(filter)
	if shared && (name == "" || strings.ContainsAny(name, "+#")) || rest == "" || filter == "$share" {
		return false
	}
	for more := true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && more {
			return false
		}
	}
	return true
}
