package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/term"

	"sensorcast/simulator"
)

// simulateCommand is `sensorcast simulate`.
type simulateCommand struct {
	Broker      string        `name:"broker" default:"tcp://127.0.0.1:1883" help:"tcp://, ssl://, ws:// or wss:// address."`
	CAFile      string        `name:"ca-file" type:"path" help:"PEM authorities to trust instead of the system's."`
	Sensors     int           `name:"sensors" default:"10" help:"How many sensors."`
	Interval    time.Duration `name:"interval" help:"Time between two messages of one sensor; 5s unless --rate is given."`
	Rate        float64       `name:"rate" help:"Messages per second of the whole fleet, instead of --interval."`
	Seed        uint64        `name:"seed" default:"1" help:"The same seed gives the same values."`
	QoS         int           `name:"qos" default:"1" help:"0, 1 or 2."`
	InFlight    int           `name:"in-flight" default:"1" help:"Unacknowledged messages per sensor."`
	Count       int           `name:"count" help:"Messages per sensor; 0: no end."`
	Duration    time.Duration `name:"duration" help:"End after this; 0: no end."`
	Profiles    []string      `name:"profiles" help:"Kinds of sensor, dealt out in turn; all by default."`
	Prefix      string        `name:"prefix" default:"SIM-" help:"Beginning of the serial numbers."`
	Topic       string        `name:"topic" default:"sensors/{serial}/telemetry" help:"Where to publish; {serial} is replaced."`
	Dialect     string        `name:"dialect" default:"envelope" enum:"envelope,plain,senml" help:"How a reading is written: ${enum}."`
	Credentials string        `name:"credentials" type:"path" help:"CSV file with serial_no,secret_key."`
	Username    string        `name:"username" help:"One user for all sensors, for brokers of another make."`
	Password    string        `name:"password" help:"Its password."`
	URL         string        `name:"url" help:"A Sensorcast server: make the sensors there first (SENSORCAST_TOKEN or a prompt)."`
	JSON        bool          `name:"json" help:"Print the final report as JSON."`
	Quiet       bool          `name:"quiet" short:"q" help:"No status line."`

	FaultSilence   float64 `name:"fault-silence" help:"Share of sensors that fall silent for a while, 0 to 1."`
	FaultDuplicate float64 `name:"fault-duplicate" help:"Share of messages sent twice."`
	FaultGarbage   float64 `name:"fault-garbage" help:"Share of messages cut off in the middle."`
	FaultLate      float64 `name:"fault-late" help:"Share of messages that carry past readings."`
}

// Run simulates until the context or the fleet ends, and prints what came of it.
func (c *simulateCommand) Run(ctx context.Context) error {
	cfg := simulator.Config{
		Broker: c.Broker, CAFile: c.CAFile, Sensors: c.Sensors, Interval: c.Interval, Rate: c.Rate, Seed: c.Seed, QoS: c.QoS,
		InFlight: c.InFlight, Count: c.Count, Duration: c.Duration, Profiles: c.Profiles, Prefix: c.Prefix, Topic: c.Topic,
		Dialect: simulator.Dialect(c.Dialect), Username: c.Username, Password: c.Password,
		Faults: simulator.Faults{Silence: c.FaultSilence, Duplicate: c.FaultDuplicate, Garbage: c.FaultGarbage, Late: c.FaultLate},
		Logger: slog.New(slog.DiscardHandler),
	}
	if !c.Quiet {
		cfg.OnStatus = statusLine()
	}
	if c.Credentials != "" {
		var err error
		if cfg.Credentials, err = simulator.LoadCredentials(c.Credentials); err != nil {
			return err
		}
		cfg.Sensors = min(cfg.Sensors, len(cfg.Credentials))
	}
	if c.URL != "" {
		if err := c.provision(ctx, &cfg); err != nil {
			return err
		}
	}
	report, err := simulator.Run(ctx, cfg)
	if !c.Quiet {
		fmt.Fprintln(os.Stderr)
	}
	if err != nil && !errors.Is(err, simulator.ErrNeverConnected) {
		return err
	}
	if c.JSON {
		text, jsonErr := json.MarshalIndent(report, "", "  ")
		if jsonErr != nil {
			return errors.Join(err, jsonErr)
		}
		fmt.Println(string(text))
		return err
	}
	fmt.Print(report)
	return err
}

// provision makes sure the server knows the sensors and gives them their secrets.
func (c *simulateCommand) provision(ctx context.Context, cfg *simulator.Config) error {
	api, err := newClient(c.URL)
	if err != nil {
		return err
	}
	if err := api.login(ctx); err != nil {
		return err
	}
	specs, err := cfg.Plan()
	if err != nil {
		return err
	}
	cfg.Credentials, err = simulator.Provision(ctx, simulator.Provisioning{
		BaseURL: c.URL,
		Token:   api.token,
		CAFile:  c.CAFile,
		OnProgress: func(done, total int) {
			if !c.Quiet {
				fmt.Fprintf(os.Stderr, "\rsensors ready: %d/%d", done, total)
			}
		},
	}, specs)
	if !c.Quiet {
		fmt.Fprintln(os.Stderr)
	}
	return err
}

// statusLine prints one status a second: over itself on a terminal, a line each elsewhere.
func statusLine() func(simulator.Status) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(s simulator.Status) { fmt.Fprintln(os.Stderr, s) }
	}
	return func(s simulator.Status) { fmt.Fprintf(os.Stderr, "\r\x1b[K%s", s) }
}
