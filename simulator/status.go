package simulator

import (
	"fmt"
	"time"
)

// Status is a run at one moment. The numbers count from the start, except PerSecond, which is over the time since the last Status.
type Status struct {
	Sensors      int           `json:"sensors"`
	Connected    int64         `json:"connected"`
	QoS          int           `json:"qos"`
	Published    int64         `json:"published"`
	Acknowledged int64         `json:"acknowledged"`
	Refused      int64         `json:"refused"`
	Unreachable  int64         `json:"unreachable"`
	Reconnects   int64         `json:"reconnects"`
	PerSecond    float64       `json:"published_per_second"`
	Latency      Latency       `json:"latency"`
	Elapsed      time.Duration `json:"elapsed_ns"`
	LastError    string        `json:"last_error,omitempty"`
}

func (m *meter) status(cfg *Config, last Status, elapsed time.Duration) Status {
	s := Status{
		Sensors: cfg.Sensors, QoS: cfg.QoS, Connected: m.connected.Load(),
		Published: m.published.Load(), Acknowledged: m.acknowledged.Load(),
		Refused: m.refused.Load(), Unreachable: m.unreachable.Load(), Reconnects: m.reconnects.Load(),
		Latency: m.percentiles(), Elapsed: elapsed, LastError: m.trouble(),
	}
	if since := elapsed - last.Elapsed; since > 0 {
		s.PerSecond = float64(s.Published-last.Published) / since.Seconds()
	}
	return s
}

// String is one line without a newline, e.g.
//
//	connected 98/100 · 1,234 msg/s · acknowledged 12,345 · refused 0 · p99 3.1 ms · 00:12
//
// At QoS 0 it tells the published instead, without latency; while nothing is connected the last error follows.
func (s Status) String() string {
	line := fmt.Sprintf("connected %s/%s · %s msg/s", thousands(s.Connected), thousands(int64(s.Sensors)), rate(s.PerSecond))
	if s.QoS == 0 {
		line += fmt.Sprintf(" · published %s · refused %s", thousands(s.Published), thousands(s.Refused))
	} else {
		line += fmt.Sprintf(" · acknowledged %s · refused %s · p99 %s", thousands(s.Acknowledged), thousands(s.Refused), millis(s.Latency.P99))
	}
	line += " · " + clock(s.Elapsed)
	if s.Connected == 0 && s.LastError != "" {
		line += " · " + s.LastError
	}
	return line
}
