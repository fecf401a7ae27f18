package telemetry

import "strings"

const maxSerialBytes = 64

// CheckSerial reports whether s can be a serial_no: ^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$. Nothing in it can be mistaken for a topic
// separator, a wildcard or a path. The error names the field serial_no.
func CheckSerial(s string) error {
	if s == "" {
		return Invalid("serial_no", "must not be empty")
	}
	if len(s) > maxSerialBytes {
		return Invalid("serial_no", "must be at most %d characters", maxSerialBytes)
	}
	for i := 0; i < len(s); i++ {
		if !serialByte(s[i], i == 0) {
			return Invalid("serial_no", "may hold letters, digits and . _ : - and must start with a letter or digit")
		}
	}
	return nil
}

func serialByte(c byte, first bool) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	case c == '.', c == '_', c == ':', c == '-':
		return !first
	}
	return false
}

// Channel is what a topic of a sensor is for.
type Channel uint8

// The channels of the topic grammar.
const (
	ChannelNone         Channel = iota // not a topic of this grammar
	ChannelTelemetry                   // sensors/{serial}/telemetry and sensors/{serial}/telemetry/{metric}
	ChannelStatus                      // sensors/{serial}/status, published by the server
	ChannelWill                        // sensors/{serial}/lwt
	ChannelCommands                    // sensors/{serial}/commands, published by the server
	ChannelCommandReply                // sensors/{serial}/commands/reply
	ChannelAlerts                      // alerts/{serial}, published by the server
)

// Topic is a parsed topic name.
type Topic struct {
	Channel Channel
	Serial  string
	Metric  string // last level of sensors/{serial}/telemetry/{metric}; empty otherwise
}

// ParseTopic reads a topic name (no wildcards). What is not of the grammar, or has an impossible serial, is ChannelNone.
// It allocates nothing: the parts are substrings of name.
func ParseTopic(name string) Topic {
	if serial, ok := strings.CutPrefix(name, "alerts/"); ok {
		return topicOf(ChannelAlerts, serial, "")
	}
	rest, ok := strings.CutPrefix(name, "sensors/")
	if !ok {
		return Topic{}
	}
	serial, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return Topic{}
	}
	switch rest {
	case "telemetry":
		return topicOf(ChannelTelemetry, serial, "")
	case "status":
		return topicOf(ChannelStatus, serial, "")
	case "lwt":
		return topicOf(ChannelWill, serial, "")
	case "commands":
		return topicOf(ChannelCommands, serial, "")
	case "commands/reply":
		return topicOf(ChannelCommandReply, serial, "")
	}
	metric, ok := strings.CutPrefix(rest, "telemetry/")
	if !ok || metric == "" || strings.ContainsAny(metric, "/+#") {
		return Topic{}
	}
	return topicOf(ChannelTelemetry, serial, metric)
}

func topicOf(c Channel, serial, metric string) Topic {
	if CheckSerial(serial) != nil {
		return Topic{}
	}
	return Topic{Channel: c, Serial: serial, Metric: metric}
}

// AlertTopic returns the topic the server publishes steps of a sensor's alerts to.
func AlertTopic(serial string) string { return "alerts/" + serial }

// TelemetryTopic returns the topic a sensor publishes its readings to.
func TelemetryTopic(serial string) string { return "sensors/" + serial + "/telemetry" }
