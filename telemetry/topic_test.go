package telemetry

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckSerial_TakesTheGrammarAndNothingElse(t *testing.T) {
	for _, tc := range []struct {
		serial string
		want   bool
	}{
		{"SN1", true}, {"a", true}, {"0", true}, {"84:fc:e6:12:34:56", true}, {"a.b_c-d:e", true}, {"a..", true},
		{strings.Repeat("x", 64), true},
		{"", false}, {strings.Repeat("x", 65), false}, {".a", false}, {"_a", false}, {"-a", false}, {":a", false}, {"..", false},
		{"a/b", false}, {"a+", false}, {"#", false}, {"+", false}, {"$SYS", false}, {"a b", false}, {"a\x00", false}, {"a\n", false},
		{"é", false}, {"aé", false}, {`a\b`, false}, {"a%2f", false}, {"a,b", false}, {"a'b", false}, {"a\xff", false},
	} {
		err := CheckSerial(tc.serial)
		if (err == nil) != tc.want {
			t.Errorf("CheckSerial(%q) = %v, want accepted: %t", tc.serial, err, tc.want)
		}
		var field *FieldError
		if err != nil && (!errors.As(err, &field) || field.Field != "serial_no" || !errors.Is(err, ErrInvalid)) {
			t.Errorf("CheckSerial(%q) = %#v, want a FieldError of serial_no and kind ErrInvalid", tc.serial, err)
		}
	}
}

func TestParseTopic_ReadsTheGrammar(t *testing.T) {
	for name, want := range map[string]Topic{
		"sensors/SN1/telemetry":             {ChannelTelemetry, "SN1", ""},
		"sensors/SN1/telemetry/temperature": {ChannelTelemetry, "SN1", "temperature"},
		"sensors/SN1/telemetry/Luft °C":     {ChannelTelemetry, "SN1", "Luft °C"},
		"sensors/SN1/status":                {ChannelStatus, "SN1", ""},
		"sensors/SN1/lwt":                   {ChannelWill, "SN1", ""},
		"sensors/SN1/commands":              {ChannelCommands, "SN1", ""},
		"sensors/SN1/commands/reply":        {ChannelCommandReply, "SN1", ""},
		"alerts/SN1":                        {ChannelAlerts, "SN1", ""},

		"":                               {},
		"sensors":                        {},
		"sensors/":                       {},
		"sensors/SN1":                    {},
		"sensors/SN1/":                   {},
		"sensors//telemetry":             {},
		"/sensors/SN1/telemetry":         {},
		"sensors/SN1/telemetry/":         {},
		"sensors/SN1/telemetry/a/b":      {},
		"sensors/SN1/telemetry/+":        {},
		"sensors/SN1/telemetry/#":        {},
		"sensors/SN1/telemetry/a+":       {},
		"sensors/+/telemetry":            {},
		"sensors/#":                      {},
		"sensors/SN1/telemetry2":         {},
		"sensors/SN1/Telemetry":          {},
		"sensors/SN1/status/x":           {},
		"sensors/SN1/commands/":          {},
		"sensors/SN1/commands/reply/x":   {},
		"sensors/SN 1/telemetry":         {},
		"sensors/../telemetry":           {},
		"Sensors/SN1/telemetry":          {},
		"alerts":                         {},
		"alerts/":                        {},
		"alerts/SN1/x":                   {},
		"alerts/+":                       {},
		"$SYS/broker/uptime":             {},
		"$share/g/sensors/SN1/telemetry": {},
	} {
		if got := ParseTopic(name); got != want {
			t.Errorf("ParseTopic(%q) = %+v, want %+v", name, got, want)
		}
	}
}

func TestTelemetryTopic_IsReadBack(t *testing.T) {
	if got, want := ParseTopic(TelemetryTopic("a:b")), (Topic{Channel: ChannelTelemetry, Serial: "a:b"}); got != want {
		t.Errorf("ParseTopic(TelemetryTopic(a:b)) = %+v, want %+v", got, want)
	}
}

func TestParseTopic_AllocatesNothing(t *testing.T) {
	for _, name := range []string{"sensors/SN1/telemetry/temperature", "alerts/SN1", "sensors/SN1/nonsense"} {
		if got := testing.AllocsPerRun(100, func() { ParseTopic(name) }); got != 0 {
			t.Errorf("ParseTopic(%q) allocates %v times, want 0", name, got)
		}
	}
}

func FuzzParseTopic(f *testing.F) {
	for _, s := range []string{"sensors/SN1/telemetry", "sensors/a/telemetry/b", "sensors/a/commands/reply", "alerts/a", "sensors/+/#", "sensors//lwt"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := ParseTopic(name)
		if got.Channel == ChannelNone {
			if got != (Topic{}) {
				t.Fatalf("ParseTopic(%q) = %+v: parts without a channel", name, got)
			}
			return
		}
		if CheckSerial(got.Serial) != nil || strings.ContainsAny(got.Serial+got.Metric, "/+#") {
			t.Fatalf("ParseTopic(%q) = %+v: a separator or wildcard in a part", name, got)
		}
		if again := spell(got); again != name {
			t.Fatalf("ParseTopic(%q) = %+v, which spells %q", name, got, again)
		}
	})
}

// spell is the inverse of ParseTopic.
func spell(t Topic) string {
	switch t.Channel {
	case ChannelTelemetry:
		if t.Metric != "" {
			return TelemetryTopic(t.Serial) + "/" + t.Metric
		}
		return TelemetryTopic(t.Serial)
	case ChannelStatus:
		return "sensors/" + t.Serial + "/status"
	case ChannelWill:
		return "sensors/" + t.Serial + "/lwt"
	case ChannelCommands:
		return "sensors/" + t.Serial + "/commands"
	case ChannelCommandReply:
		return "sensors/" + t.Serial + "/commands/reply"
	case ChannelAlerts:
		return "alerts/" + t.Serial
	}
	return ""
}

func BenchmarkParseTopic(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ParseTopic("sensors/84:fc:e6:12:34:56/telemetry")
	}
}
