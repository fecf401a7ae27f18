package simulator

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sensorcast/telemetry"
)

func TestConfig_ZeroIsValid(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestConfig_MistakesNameTheField(t *testing.T) {
	creds := []Credential{{"A", "secret"}}
	for field, c := range map[string]Config{
		"broker":                {Broker: "http://x"},
		"sensors":               {Sensors: -1},
		"prefix":                {Prefix: "a/b"},
		"profiles":              {Profiles: []string{"toaster"}},
		"topic":                 {Topic: "sensors/+/x"},
		"will":                  {Will: "#"},
		"dialect":               {Dialect: "xml"},
		"qos":                   {QoS: 3},
		"interval":              {Interval: -1},
		"rate":                  {Rate: 5, Interval: time.Second},
		"in_flight":             {InFlight: -2},
		"count":                 {Count: -1},
		"duration":              {Duration: -1},
		"connect_rate":          {ConnectRate: -1},
		"connect_timeout":       {ConnectTimeout: -1},
		"keep_alive":            {KeepAlive: time.Millisecond},
		"ack_timeout":           {AckTimeout: -1},
		"reconnect_min":         {ReconnectMin: -1},
		"reconnect_max":         {ReconnectMax: -1},
		"faults.silence":        {Faults: Faults{Silence: 2}},
		"faults.late":           {Faults: Faults{Late: 0.5}, Dialect: Plain},
		"faults.silence_every":  {Faults: Faults{SilenceFor: time.Hour, SilenceEvery: time.Minute}},
		"credentials[0]: seria": {Credentials: []Credential{{"a b", "x"}}},
		"sensors: 2 wanted":     {Sensors: 2, Credentials: creds},
	} {
		err := c.Validate()
		if !errors.Is(err, telemetry.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestConfig_AllMistakesAreToldAtOnce(t *testing.T) {
	err := (Config{QoS: 9, Count: -1}).Validate()
	if err == nil || !strings.Contains(err.Error(), "qos") || !strings.Contains(err.Error(), "count") {
		t.Errorf("got %v want both qos and count", err)
	}
}

func TestPlan_MakesSerialsAndDealsProfiles(t *testing.T) {
	specs, err := Config{Sensors: 7}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ serial, name string }{
		{"SIM-0001", "Room climate 1"}, {"SIM-0002", "Weather station 1"}, {"SIM-0003", "Energy meter 1"}, {"SIM-0004", "People counter 1"},
		{"SIM-0005", "Door 1"}, {"SIM-0006", "Room climate 2"}, {"SIM-0007", "Weather station 2"},
	} {
		if specs[i].Serial != want.serial || specs[i].Name != want.name {
			t.Errorf("sensor %d: got %s %q want %s %q", i, specs[i].Serial, specs[i].Name, want.serial, want.name)
		}
	}
	if got := serialOf("X-", 7, 20_000); got != "X-00007" {
		t.Errorf("got %s want X-00007", got)
	}
}

func TestPlan_OrderOfCredentialsDoesNotMatter(t *testing.T) {
	a, _ := Config{Credentials: []Credential{{"A", "x"}, {"B", "y"}}}.Plan()
	b, _ := Config{Credentials: []Credential{{"B", "y"}, {"A", "x"}}}.Plan()
	if a[0].Seed != b[1].Seed || a[1].Seed != b[0].Seed || a[0].Seed == a[1].Seed {
		t.Errorf("seeds got %v and %v", a, b)
	}
}

func TestParseBroker(t *testing.T) {
	for in, want := range map[string]string{
		"localhost":               "tcp://localhost:1883",
		"mqtt://h":                "tcp://h:1883",
		"tcp://h:1":               "tcp://h:1",
		"MQTTS://h":               "ssl://h:8883",
		"tls://[::1]":             "ssl://[::1]:8883",
		"ws://h/mqtt":             "ws://h:80/mqtt",
		"wss://u:p@h:9001/mqtt":   "wss://u:p@h:9001/mqtt",
		"ftp://h":                 "",
		"tcp://":                  "",
		"tcp://u:geheim@h:port/x": "",
	} {
		u, err := parseBroker(in)
		switch {
		case want == "" && (err == nil || strings.Contains(err.Error(), "geheim")):
			t.Errorf("%s: got %v, %v want an error without the password", in, u, err)
		case want != "" && (err != nil || u.String() != want):
			t.Errorf("%s: got %v, %v want %s", in, u, err, want)
		}
	}
}
