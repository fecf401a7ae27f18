package simulator

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestStatus_IsOneLine(t *testing.T) {
	s := Status{Sensors: 100, Connected: 98, QoS: 1, PerSecond: 1234.2, Acknowledged: 12345, Latency: Latency{P99: 3.14}, Elapsed: 12 * time.Second}
	if got, want := s.String(), "connected 98/100 · 1,234 msg/s · acknowledged 12,345 · refused 0 · p99 3.1 ms · 00:12"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	s = Status{Sensors: 1000, Published: 7, PerSecond: 0.25, Elapsed: 3723 * time.Second, LastError: "connection refused"}
	if got, want := s.String(), "connected 0/1,000 · 0.2 msg/s · published 7 · refused 0 · 1:02:03 · connection refused"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReport_ForPeopleAndForMachines(t *testing.T) {
	m := newMeter()
	m.connect()
	m.published.Add(1000)
	for range 999 {
		m.acknowledge(2 * time.Millisecond)
	}
	m.acknowledge(3 * time.Second)
	m.connectFailed(errors.New("bad\nuser name"), true)
	m.garbage.Add(2)
	cfg := Config{QoS: 1, Seed: 42}.withDefaults()
	started := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r := m.report(&cfg, "tcp://h:1883", started, started.Add(10*time.Second))
	want := strings.Join([]string{
		"tcp://h:1883: 00:10, seed 42",
		"  sensors       1 of 10 connected, 0 reconnects",
		"  published     1,000 at QoS 1, 100 msg/s",
		"  acknowledged  1,000",
		"  lost          0",
		"  latency       p50 2.0 ms · p90 2.0 ms · p99 2.0 ms · p99.9 2.0 ms · max 3.00 s",
		"  refused       1 times by the broker",
		"  faults        0 silences, 0 duplicates, 2 garbage, 0 late",
		"  last error    bad user name",
		"",
	}, "\n")
	if got := r.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"published":1000`, `"acknowledged":1000`, `"lost":0`, `"p99_9_ms":2`, `"garbage":2`, `"started":"2026-01-01T00:00:00Z"`} {
		if !strings.Contains(string(text), field) {
			t.Errorf("no %s in %s", field, text)
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: got %s want %s", n, got, want)
		}
	}
}
