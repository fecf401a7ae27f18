package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"

	"sensorcast/auth"
	"sensorcast/simulator"
	"sensorcast/telemetry"
)

// demoCommand is `sensorcast demo`: a server nobody else can reach, with something to look at.
type demoCommand struct {
	settings
	Sensors  int           `name:"sensors" default:"12" help:"Simulated sensors."`
	Interval time.Duration `name:"interval" default:"2s" help:"Time between two readings of one of them."`
	Seed     uint64        `name:"seed" default:"1" help:"The same seed gives the same values."`
}

const (
	demoUser = "demo"

	// demoSerial is a sensor the fleet leaves alone, for the visitor's own first publish.
	demoSerial = "MY-SENSOR"
)

// Run serves and simulates until the context ends.
func (c *demoCommand) Run(ctx context.Context, parser *kong.Kong) error {
	for _, address := range []*string{&c.HTTPListen, &c.HTTPSListen, &c.MQTTListen, &c.MQTTSListen} {
		*address = loopback(*address)
	}
	c.lettersToLog = true
	level := new(slog.LevelVar)
	level.Set(parseLevel(c.LogLevel))
	log := newLogger(level)
	warnUnknownEnvironment(log, parser.Model)
	s, err := start(&c.settings, log)
	if err != nil {
		return err
	}
	fleet, stopFleet := context.WithCancel(ctx)
	defer stopFleet()
	if err := c.populate(fleet, s); err != nil {
		return errors.Join(err, s.stop())
	}
	return s.wait(ctx)
}

// loopback keeps a listener without a host off the network: a demo must not be open to it by accident.
func loopback(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// populate makes the account and the sensors through the same doors a user would, starts the fleet and says how to get in.
func (c *demoCommand) populate(ctx context.Context, s *server) error {
	keep, err := loadDemo(c.DataDir)
	if err != nil {
		return err
	}
	_, err = s.auth.CreateUser(ctx, auth.Registration{
		Username: demoUser, Email: "demo@sensorcast.example", Password: keep.Password, FirstName: "Demo", LastName: "Account",
	})
	if err != nil && !errors.Is(err, telemetry.ErrConflict) {
		return fmt.Errorf("make demo account: %w", err)
	}
	base := "http://" + s.listeners.get("http").Addr().String()
	api, err := newClient(base)
	if err != nil {
		return err
	}
	if err := api.signIn(ctx, demoUser, keep.Password, ""); err != nil {
		return fmt.Errorf("demo account: %w", err)
	}
	err = api.post(ctx, "sensors", map[string]any{
		"serial_no": demoSerial, "name": "Your sensor", "secret_key": keep.Secret, "description": "Waiting for the first thing you publish.",
	}, &struct{}{})
	if refused, ok := errors.AsType[*statusError](err); err != nil && (!ok || refused.status != 409) {
		return fmt.Errorf("make demo sensor: %w", err)
	}
	if err := c.startFleet(ctx, s, api, base); err != nil {
		return err
	}
	c.welcome(s, keep)
	return nil
}

func (c *demoCommand) startFleet(ctx context.Context, s *server, api *client, base string) error {
	mqtt := s.listeners.get("mqtt")
	if mqtt == nil {
		return errors.New("the demo publishes over MQTT: --mqtt-listen must not be empty")
	}
	cfg := simulator.Config{
		Broker: "tcp://" + mqtt.Addr().String(), Sensors: c.Sensors, Interval: c.Interval, Seed: c.Seed, QoS: 1, Logger: s.log,
		Faults: simulator.Faults{Silence: 0.1, Duplicate: 0.005, Garbage: 0.002},
	}
	specs, err := cfg.Plan()
	if err != nil {
		return err
	}
	cfg.Credentials, err = simulator.Provision(ctx, simulator.Provisioning{BaseURL: base, Token: api.token}, specs)
	if err != nil {
		return fmt.Errorf("make simulated sensors: %w", err)
	}
	s.background("simulated fleet", func(ctx context.Context) {
		if _, err := simulator.Run(ctx, cfg); err != nil {
			s.fail(fmt.Errorf("simulated fleet: %w", err))
		}
	})
	return nil
}

// welcome is the one thing the demo prints on standard output.
func (c *demoCommand) welcome(s *server, keep demoSecrets) {
	host, port, _ := net.SplitHostPort(s.listeners.get("mqtt").Addr().String())
	fmt.Printf(`
  Sensorcast demo, %d simulated sensors publishing over MQTT

    open      http://%s
    sign in   %s / %s

  Publish a reading of your own and watch it arrive:

    mosquitto_pub -h %s -p %s -u %s -P %s -q 1 \
      -t %s -m '{"temperature": 21.5}'

  Listen in on everything:

    mosquitto_sub -h %s -p %s -u %s -P %s -t '#' -v

  Ctrl-C stops it; the data stays in %s.

`, c.Sensors, s.listeners.get("http").Addr(), demoUser, keep.Password, host, port, demoSerial, keep.Secret,
		telemetry.TelemetryTopic(demoSerial), host, port, demoUser, keep.Password, c.DataDir)
}

// demoSecrets let a second start of the demo print what the first one did. They open nothing but the demo's own data.
type demoSecrets struct {
	Password string `json:"password"`
	Secret   string `json:"secret"`
}

// loadDemo reads demo.json in the data directory, or makes it, readable by its owner only.
func loadDemo(dir string) (demoSecrets, error) {
	path := filepath.Join(dir, "demo.json")
	var keep demoSecrets
	text, err := os.ReadFile(path)
	if err == nil {
		if err := json.Unmarshal(text, &keep); err != nil || keep.Password == "" || keep.Secret == "" {
			return keep, fmt.Errorf("%s is damaged; remove the data directory to start the demo afresh", path)
		}
		return keep, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return keep, fmt.Errorf("read demo account: %w", err)
	}
	keep = demoSecrets{Password: rand.Text()[:16], Secret: auth.NewDeviceSecret()}
	text, err = json.Marshal(keep)
	if err != nil {
		return keep, fmt.Errorf("encode demo account: %w", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return keep, fmt.Errorf("keep demo account: %w", err)
	}
	return keep, nil
}
