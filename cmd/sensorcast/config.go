package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"sensorcast/edge"
)

// settings are the server's flags, each also an environment variable (SENSORCAST_ and the flag in capitals) and a key of the YAML file
// (the flag with _). Precedence: flag, environment, file, default.
type settings struct {
	ConfigFile string `name:"config" placeholder:"FILE" help:"YAML file with any of the settings below, keys spelled with _ for -."`

	HTTPListen  string `name:"http-listen" default:":8080" placeholder:"ADDR" help:"REST, WebSocket, dashboard and MQTT over WebSocket (/mqtt)."`
	HTTPSListen string `name:"https-listen" placeholder:"ADDR" help:"The same over TLS; needs a certificate; empty: off."`
	MQTTListen  string `name:"mqtt-listen" default:":1883" placeholder:"ADDR" help:"MQTT 3.1.1 and 5 over TCP; empty: off."`
	MQTTSListen string `name:"mqtts-listen" placeholder:"ADDR" help:"MQTT over TLS; needs a certificate; empty: off."`
	AdminListen string `name:"admin-listen" default:"127.0.0.1:8081" placeholder:"ADDR" help:"/metrics and /debug/pprof/; empty: off."`
	DataDir     string `name:"data-dir" default:"./data" placeholder:"DIR" help:"Database and keys; one server per directory."`

	secure `embed:""`

	Registration   string        `name:"registration" default:"open" enum:"open,invite,closed" help:"Who may make an account: ${enum}. The first account is admin."`
	SilenceAfter   time.Duration `name:"silence-after" default:"10m" help:"A sensor without its own setting counts as silent after this."`
	RemindEvery    time.Duration `name:"remind-every" default:"24h" help:"Owners are reminded of an open alert that nobody has acknowledged this often; 0: never."`
	TicketTTL      time.Duration `name:"ticket-ttl" default:"5s" help:"How long a WebSocket ticket may be redeemed; at most 30s."`
	Retain         time.Duration `name:"retain" default:"720h" help:"Raw readings are kept this long."`
	AuditRetain    time.Duration `name:"audit-retain" default:"8760h" help:"Who did what is kept this long."`
	MaxPayload     int           `name:"max-payload" default:"65536" placeholder:"BYTES" help:"Largest telemetry payload."`
	ConnectTimeout time.Duration `name:"connect-timeout" default:"10s" help:"For an MQTT client's first packet, TLS handshake included."`
	AllowedOrigins []string      `name:"allowed-origins" placeholder:"ORIGIN" help:"Other origins whose pages may open the WebSocket, as https://host[:port]."`
	TrustedProxies []string      `name:"trusted-proxies" placeholder:"CIDR" help:"Reverse proxies whose X-Forwarded-For and -Proto are believed."`

	TicketsPerMinute       int `name:"tickets-per-minute" default:"600" help:"Per account; 0: no limit."`
	RegistrationsPerHour   int `name:"registrations-per-hour" default:"20" help:"Per address; 0: no limit."`
	LoginFailuresPerMinute int `name:"login-failures-per-minute" default:"10" help:"Per account, and three times as many per address; of a second factor as many per hour; 0: no limit."`

	telling `embed:""`

	limits `embed:""`

	mailing `embed:""`

	LogLevel string `name:"log-level" default:"info" enum:"debug,info,warn,error" help:"${enum}. JSON when standard error is no terminal."`

	lettersToLog bool // without a mail server letters go to the log: for a demo only, they hold tokens
}

// Bounds beyond which a setting can only be a slip.
const (
	maxTicketTTL  = 30 * time.Second
	minMaxPayload = 256
	maxMaxPayload = 16 << 20
	minRetain     = time.Minute

	minAuditRetain = time.Hour // a trail that is gone before anybody can look is none
	minRemind      = time.Minute
)

// Validate is called by the parser once all sources have been read; its errors name the flag.
func (s *settings) Validate() error {
	switch {
	case s.TicketTTL < time.Millisecond || s.TicketTTL > maxTicketTTL:
		return fmt.Errorf("--ticket-ttl must lie between 1ms and %s, a ticket is a password in a URL", maxTicketTTL)
	case s.SilenceAfter < time.Second:
		return errors.New("--silence-after must be at least 1s")
	case s.RemindEvery != 0 && s.RemindEvery < minRemind:
		return fmt.Errorf("--remind-every must be 0 or at least %s", minRemind)
	case s.Retain < minRetain:
		return fmt.Errorf("--retain must be at least %s", minRetain)
	case s.AuditRetain < minAuditRetain:
		return fmt.Errorf("--audit-retain must be at least %s", minAuditRetain)
	case s.MaxPayload < minMaxPayload || s.MaxPayload > maxMaxPayload:
		return fmt.Errorf("--max-payload must lie between %d and %d bytes", minMaxPayload, maxMaxPayload)
	case s.ConnectTimeout < 100*time.Millisecond:
		return errors.New("--connect-timeout must be at least 100ms")
	case s.HTTPListen == "":
		return errors.New("--http-listen must not be empty")
	case min(s.TicketsPerMinute, s.RegistrationsPerHour, s.LoginFailuresPerMinute) < 0:
		return errors.New("a limit must not be negative; 0 means no limit")
	}
	if err := s.limits.check(); err != nil {
		return err
	}
	if err := s.telling.check(); err != nil {
		return err
	}
	if err := s.secure.check(s.MQTTSListen, s.HTTPSListen); err != nil {
		return err
	}
	if err := s.mailing.check(); err != nil {
		return err
	}
	_, err := s.proxies()
	return err
}

// overTLS reports whether a listener speaks TLS.
func (s *settings) overTLS() bool { return s.MQTTSListen != "" || s.HTTPSListen != "" }

func (s *settings) proxies() ([]netip.Prefix, error) {
	return prefixes("--trusted-proxies", s.TrustedProxies)
}

// prefixes reads the value of a flag that lists networks.
func prefixes(flag string, texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a CIDR such as 10.0.0.0/8", flag, text)
		}
		all = append(all, p)
	}
	return all, nil
}

// configFile answers the parser from a YAML file.
type configFile struct {
	path   string
	values map[string]any
}

// configPath finds --config before the parser runs.
func configPath(args []string) string {
	for i, a := range args {
		if a == "--" {
			break
		}
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			return v
		}
		if a == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv("SENSORCAST_CONFIG")
}

// load reads the file; without a path there is none.
func (c *configFile) load(path string) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	c.path = path
	if err := yaml.Unmarshal(text, &c.values); err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	return nil
}

// Validate refuses keys that are no setting of the server.
func (c *configFile) Validate(app *kong.Application) error {
	known := settingFlags(app)
	for key := range c.values {
		if !slices.ContainsFunc(known, func(f *kong.Flag) bool { return yamlKey(f) == key }) {
			return fmt.Errorf("configuration %s: unknown key %q", c.path, key)
		}
	}
	return nil
}

// Resolve gives a flag its value from the file, unless the environment has one. Shielded flags have neither.
func (c *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	value, ok := c.values[yamlKey(flag)]
	if !ok || value == nil || len(flag.Envs) == 0 {
		return nil, nil
	}
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	switch v := value.(type) {
	case []any:
		words := make([]string, len(v))
		for i, w := range v {
			words[i] = fmt.Sprint(w)
		}
		return strings.Join(words, ","), nil
	case map[string]any:
		return nil, fmt.Errorf("configuration %s: %q must be a single value", c.path, yamlKey(flag))
	}
	return fmt.Sprint(value), nil
}

func yamlKey(f *kong.Flag) string { return strings.ReplaceAll(f.Name, "-", "_") }

// settingFlags are the flags of `serve`, which are what a file may set.
func settingFlags(app *kong.Application) []*kong.Flag {
	for _, node := range app.Children {
		if node.Name == "serve" {
			return slices.DeleteFunc(slices.Clone(node.Flags), func(f *kong.Flag) bool { return f.Name == "config" || f.Name == "help" })
		}
	}
	return nil
}

// warnUnknownEnvironment points out variables that look meant for us and are not known. Orchestrators inject such, hence no error.
func warnUnknownEnvironment(log *slog.Logger, app *kong.Application) {
	known := map[string]bool{"SENSORCAST_TOKEN": true, "SENSORCAST_CONFIG": true}
	for _, node := range app.Children {
		for _, f := range node.Flags {
			for _, name := range f.Envs {
				known[name] = true
			}
		}
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "SENSORCAST_") && !known[name] {
			log.Warn("unknown environment variable", "name", name)
		}
	}
}

// configCommand is `sensorcast config check|print`.
type configCommand struct {
	Check configCheck `cmd:"" help:"Check flags, environment and file, and say what is wrong."`
	Print configPrint `cmd:"" help:"Print the settings in force as YAML, commented with their meaning."`
}

type configCheck struct{ settings }

// Run reads the files the settings name and reports success; what is wrong with the settings themselves the parser has said already.
func (c *configCheck) Run() error {
	if c.overTLS() && len(c.ACMEDomain) == 0 {
		if _, err := edge.NewTLS(c.edge(c.DataDir), newLogger(new(slog.LevelVar))); err != nil {
			return err
		}
	}
	fmt.Println("configuration is valid")
	return nil
}

type configPrint struct{ settings }

// Run prints every setting with its value and help, ready to be kept as a file.
func (c *configPrint) Run(parser *kong.Kong, kctx *kong.Context) error {
	for _, f := range kctx.Selected().Flags {
		if f.Name == "config" || f.Name == "help" {
			continue
		}
		value, err := yaml.Marshal(map[string]any{yamlKey(f): printable(f)})
		if err != nil {
			return fmt.Errorf("print %s: %w", f.Name, err)
		}
		fmt.Printf("# %s\n%s", f.Help, value)
	}
	return nil
}

func printable(f *kong.Flag) any {
	switch v := f.Target.Interface().(type) {
	case time.Duration:
		return v.String()
	case secretURL:
		return v.Redacted()
	default:
		return v
	}
}
