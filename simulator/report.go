package simulator

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Report is what a run came to. At QoS 1 and 2, Published = Acknowledged + Lost.
type Report struct {
	Broker        string    `json:"broker"` // without a password
	Sensors       int       `json:"sensors"`
	QoS           int       `json:"qos"`
	Seed          uint64    `json:"seed"`
	Started       time.Time `json:"started"`
	Seconds       float64   `json:"seconds"`
	ConnectedPeak int64     `json:"connected_peak"` // most sensors connected at one time
	Published     int64     `json:"published"`      // messages sent, each once however often it was resent
	PerSecond     float64   `json:"published_per_second"`
	Acknowledged  int64     `json:"acknowledged"` // 0 at QoS 0
	Lost          int64     `json:"lost"`         // sent, and not acknowledged when the run ended
	Refused       int64     `json:"refused"`      // CONNACKs with a refusal, and at QoS 0 messages that could not be written
	Unreachable   int64     `json:"unreachable"`  // connection attempts that failed before a CONNACK
	Reconnects    int64     `json:"reconnects"`
	Resent        int64     `json:"resent"`   // messages sent once more after a reconnect
	Skipped       int64     `json:"skipped"`  // intervals in which a sensor made no message because the previous one was still out
	Commands      int64     `json:"commands"` // answered
	Latency       Latency   `json:"latency"`
	Faults        struct {
		Silences   int64 `json:"silences"`
		Duplicates int64 `json:"duplicates"`
		Garbage    int64 `json:"garbage"`
		Late       int64 `json:"late"`
	} `json:"faults"`
	LastError string `json:"last_error,omitempty"` // the latest trouble of any sensor
}

func (m *meter) report(cfg *Config, broker string, started, ended time.Time) Report {
	r := Report{
		Broker: broker, Sensors: cfg.Sensors, QoS: cfg.QoS, Seed: cfg.Seed,
		Started: started.UTC(), Seconds: ended.Sub(started).Seconds(),
		ConnectedPeak: m.connectedPeak.Load(), Published: m.published.Load(), Acknowledged: m.acknowledged.Load(), Lost: m.lost.Load(),
		Refused: m.refused.Load(), Unreachable: m.unreachable.Load(), Reconnects: m.reconnects.Load(), Resent: m.resent.Load(),
		Skipped: m.skipped.Load(), Commands: m.commands.Load(), Latency: m.percentiles(), LastError: m.trouble(),
	}
	if r.Seconds > 0 {
		r.PerSecond = float64(r.Published) / r.Seconds
	}
	r.Faults.Silences, r.Faults.Duplicates = m.silences.Load(), m.duplicates.Load()
	r.Faults.Garbage, r.Faults.Late = m.garbage.Load(), m.late.Load()
	return r
}

// String is the report for people, a line per fact, ending in a newline. Facts that are zero and good news are left out.
func (r Report) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-13s "+format+"\n", append([]any{name}, args...)...)
	}
	some := func(name string, n int64, what string) {
		if n > 0 {
			line(name, "%s %s", thousands(n), what)
		}
	}
	fmt.Fprintf(&b, "%s: %s, seed %d\n", r.Broker, clock(time.Duration(r.Seconds*float64(time.Second))), r.Seed)
	line("sensors", "%s of %s connected, %s", thousands(r.ConnectedPeak), thousands(int64(r.Sensors)), plural(r.Reconnects, "reconnect"))
	line("published", "%s at QoS %d, %s msg/s", thousands(r.Published), r.QoS, rate(r.PerSecond))
	if r.QoS > 0 {
		line("acknowledged", "%s", thousands(r.Acknowledged))
		line("lost", "%s", thousands(r.Lost))
		l := r.Latency
		line("latency", "p50 %s · p90 %s · p99 %s · p99.9 %s · max %s", millis(l.P50), millis(l.P90), millis(l.P99), millis(l.P999), millis(l.Max))
	}
	some("resent", r.Resent, "after a reconnect")
	some("skipped", r.Skipped, "intervals, the previous message being still out")
	some("refused", r.Refused, "times by the broker")
	some("unreachable", r.Unreachable, "times")
	some("commands", r.Commands, "answered")
	if f := r.Faults; f.Silences+f.Duplicates+f.Garbage+f.Late > 0 {
		line("faults", "%s, %s, %d garbage, %d late", plural(f.Silences, "silence"), plural(f.Duplicates, "duplicate"), f.Garbage, f.Late)
	}
	if r.LastError != "" {
		line("last error", "%s", r.LastError)
	}
	return b.String()
}

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return thousands(n) + " " + what
}

// rate keeps a decimal where whole numbers would say nothing.
func rate(perSecond float64) string {
	if perSecond < 10 {
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return thousands(int64(perSecond + 0.5))
}

// millis is a latency for people: 0.42 ms, 3.1 ms, 1.25 s.
func millis(ms float64) string {
	switch {
	case ms >= 1000:
		return strconv.FormatFloat(ms/1000, 'f', 2, 64) + " s"
	case ms < 1:
		return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
	}
	return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
}

// clock is a duration as 00:12, or 1:02:03 from an hour on.
func clock(d time.Duration) string {
	s := int(d.Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%02d:%02d", s/60, s%60)
}

// oneLine keeps an error fit for a status line.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 160 {
		s = string(r[:160]) + "…"
	}
	return s
}
