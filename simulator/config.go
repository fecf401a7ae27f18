package simulator

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"sensorcast/telemetry"
)

// Defaults of zero Config fields.
const (
	DefaultBroker         = "tcp://127.0.0.1:1883"
	DefaultPrefix         = "SIM-"
	DefaultSensors        = 10
	DefaultTopic          = "sensors/{serial}/telemetry"
	DefaultInterval       = 5 * time.Second
	DefaultConnectRate    = 500
	DefaultConnectTimeout = 10 * time.Second
	DefaultKeepAlive      = 30 * time.Second
	DefaultAckTimeout     = 30 * time.Second
	DefaultReconnectMin   = 500 * time.Millisecond
	DefaultReconnectMax   = 30 * time.Second
)

// Bounds that keep a typing mistake from eating the machine: a sensor costs about a dozen goroutines.
const (
	maxSensors  = 200_000
	maxInFlight = 10_000 // packet identifiers are 16 bits wide [MQTT-2.3.1-1]
)

// Config says what a run is. Every zero field takes the default named beside it.
type Config struct {
	// Broker is where to connect: tcp:// or mqtt://, ssl://, tls:// or mqtts://, ws:// or wss://, with host and optional port (1883,
	// 8883, 80, 443). A user and password in it serve as Username and Password. Default DefaultBroker.
	Broker string
	// CAFile is a PEM file of the authorities to trust instead of the system's, for ssl:// and wss://.
	CAFile string

	// Credentials log each sensor in as itself: user name = serial, password = secret. Without them all sensors share Username and
	// Password, or log in anonymously when Username is empty.
	Credentials        []Credential
	Username, Password string

	// Sensors is how many sensors there are; default all Credentials, or DefaultSensors without any. At most 200,000.
	Sensors int
	// Prefix starts the serials made when there are no Credentials, SIM-0001 and on. Default DefaultPrefix.
	Prefix string
	// Profiles names the kinds of sensor, dealt out in turn; see Profiles(). Default all of them.
	Profiles []string
	// Seed decides every value, fault and delay together with the serial. Zero is a seed like any other.
	Seed uint64

	// Topic is where a sensor publishes; {serial} stands for its serial. Default DefaultTopic.
	Topic string
	// Will, if set, is the topic of the last will ("connection lost", QoS 1, not retained), with {serial} as in Topic.
	Will string
	// Commands makes the sensors subscribe to sensors/{serial}/commands and answer each with {"id":…,"ok":true}.
	Commands bool
	// Dialect is how a reading is written down. Default Envelope.
	Dialect Dialect
	// QoS is 0, 1 or 2.
	QoS int

	// Interval is the time between two messages of one sensor. Default DefaultInterval. The sensors' phases are spread evenly over it.
	Interval time.Duration
	// Rate is the alternative to Interval: messages per second of the whole fleet together.
	Rate float64
	// InFlight is how many messages a sensor may have unacknowledged; while it is reached, intervals are skipped and counted. Default 1.
	InFlight int
	// Count ends a sensor after that many messages; 0 = no such end. The intended duplicates of Faults come on top.
	Count int
	// Duration ends the run; 0 = only ctx and Count do.
	Duration time.Duration

	ConnectRate    int           // new sensors started per second; default DefaultConnectRate
	ConnectTimeout time.Duration // for the dial and, again, up to CONNACK; default DefaultConnectTimeout
	KeepAlive      time.Duration // whole seconds; default DefaultKeepAlive
	AckTimeout     time.Duration // an acknowledgement later than this costs the connection; default DefaultAckTimeout
	ReconnectMin   time.Duration // first delay before connecting again, doubling with jitter; default DefaultReconnectMin
	ReconnectMax   time.Duration // longest such delay; default DefaultReconnectMax

	// Faults are what goes wrong on purpose; none by default.
	Faults Faults

	// OnStatus is called about once a second and once at the end, never concurrently. It delays only the next call.
	OnStatus func(Status)
	// OnAcknowledged is called once for every acknowledged message (QoS 1 and 2) with the payload as sent, which it must not change.
	// It runs in the sensor's goroutine, so concurrently for different sensors, and must return at once. It is the ledger of a load test.
	OnAcknowledged func(serial string, payload []byte)
	// Logger receives lifecycle at info and network noise at debug. Default: discarded.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	setDefault(&c.Broker, DefaultBroker)
	setDefault(&c.Prefix, DefaultPrefix)
	setDefault(&c.Topic, DefaultTopic)
	setDefault(&c.Dialect, Envelope)
	setDefault(&c.InFlight, 1)
	setDefault(&c.ConnectRate, DefaultConnectRate)
	setDefault(&c.ConnectTimeout, DefaultConnectTimeout)
	setDefault(&c.KeepAlive, DefaultKeepAlive)
	setDefault(&c.AckTimeout, DefaultAckTimeout)
	setDefault(&c.ReconnectMin, DefaultReconnectMin)
	setDefault(&c.ReconnectMax, max(DefaultReconnectMax, c.ReconnectMin))
	if c.Sensors == 0 {
		c.Sensors = len(c.Credentials)
	}
	setDefault(&c.Sensors, DefaultSensors)
	if c.Rate == 0 {
		setDefault(&c.Interval, DefaultInterval)
	}
	if len(c.Profiles) == 0 {
		for _, p := range Profiles() {
			c.Profiles = append(c.Profiles, p.Name)
		}
	}
	c.Faults = c.Faults.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("component", "simulator")
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports what is wrong with c, defaults applied: one telemetry.FieldError per wrong field, joined. It touches no file and
// no network.
func (c Config) Validate() error {
	c = c.withDefaults()
	return c.validate()
}

func (c *Config) validate() error {
	var errs []error
	check := func(ok bool, field, format string, args ...any) {
		if !ok {
			errs = append(errs, telemetry.Invalid(field, format, args...))
		}
	}
	if _, err := parseBroker(c.Broker); err != nil {
		errs = append(errs, err)
	}
	check(c.Sensors > 0 && c.Sensors <= maxSensors, "sensors", "must lie between 1 and %d", maxSensors)
	check(len(c.Credentials) == 0 || c.Sensors <= len(c.Credentials), "sensors", "%d wanted, but there are credentials for %d only", c.Sensors, len(c.Credentials))
	for i, cred := range c.Credentials {
		if err := telemetry.CheckSerial(cred.Serial); err != nil {
			errs = append(errs, fmt.Errorf("credentials[%d]: %w", i, err))
			break
		}
	}
	check(telemetry.CheckSerial(serialOf(c.Prefix, max(c.Sensors, 1), max(c.Sensors, 1))) == nil, "prefix", "must start with a letter or digit and hold letters, digits and . _ : - only, at most 64 with the number")
	for _, name := range c.Profiles {
		_, ok := profileNamed(name)
		check(ok, "profiles", "%q is none of %s", name, strings.Join(profileNames(), ", "))
	}
	checkTopic(&errs, "topic", c.Topic)
	if c.Will != "" {
		checkTopic(&errs, "will", c.Will)
	}
	check(slices.Contains(dialects, c.Dialect), "dialect", "must be one of %s, %s, %s", Envelope, Plain, SenML)
	check(c.QoS >= 0 && c.QoS <= 2, "qos", "must be 0, 1 or 2")
	check(c.Interval >= 0, "interval", "must not be negative")
	check(c.Rate >= 0, "rate", "must not be negative")
	check(c.Rate == 0 || c.Interval == 0, "rate", "set either rate or interval, not both")
	check(c.InFlight >= 1 && c.InFlight <= maxInFlight, "in_flight", "must lie between 1 and %d", maxInFlight)
	check(c.Count >= 0, "count", "must not be negative")
	check(c.Duration >= 0, "duration", "must not be negative")
	check(c.ConnectRate >= 1, "connect_rate", "must be at least 1 per second")
	check(c.ConnectTimeout > 0, "connect_timeout", "must be positive")
	check(c.KeepAlive >= time.Second && c.KeepAlive <= 65535*time.Second, "keep_alive", "must lie between 1s and 65535s")
	check(c.AckTimeout > 0, "ack_timeout", "must be positive")
	check(c.ReconnectMin > 0, "reconnect_min", "must be positive")
	check(c.ReconnectMax >= c.ReconnectMin, "reconnect_max", "must not be less than reconnect_min")
	errs = append(errs, c.Faults.validate(c.Dialect)...)
	return errors.Join(errs...)
}

func checkTopic(errs *[]error, field, topic string) {
	switch {
	case strings.ContainsAny(topic, "+#\x00"):
		*errs = append(*errs, telemetry.Invalid(field, "must not hold the wildcards + and #"))
	case len(topic) > 1024:
		*errs = append(*errs, telemetry.Invalid(field, "must be at most 1024 bytes"))
	}
}

// interval is the time between two messages of one sensor, whichever way it was configured.
func (c *Config) interval() time.Duration {
	if c.Rate > 0 {
		return max(time.Duration(float64(c.Sensors)/c.Rate*float64(time.Second)), time.Microsecond)
	}
	return c.Interval
}
