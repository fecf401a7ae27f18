package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/alecthomas/kong"

	"sensorcast/api"
	"sensorcast/auth"
	"sensorcast/bridge"
	"sensorcast/broker"
	"sensorcast/command"
	"sensorcast/edge"
	"sensorcast/ingest"
	"sensorcast/store"
	"sensorcast/web"
	"sensorcast/wire"
)

// serveCommand is `sensorcast serve`.
type serveCommand struct{ settings }

// Run serves until the context ends or a part fails for good.
func (c *serveCommand) Run(ctx context.Context, parser *kong.Kong) error {
	level := new(slog.LevelVar)
	level.Set(parseLevel(c.LogLevel))
	log := newLogger(level)
	warnUnknownEnvironment(log, parser.Model)
	s, err := start(&c.settings, log)
	if err != nil {
		return err
	}
	if s.setupToken != "" {
		log.Info("no account yet: the first one becomes admin; from another machine it needs the set-up token", "setup_token", s.setupToken)
	}
	s.onHangup(ctx, level)
	return s.wait(ctx)
}

// server is the running program.
type server struct {
	lifecycle
	settings  *settings
	log       *slog.Logger
	listeners *listeners
	tls       *edge.TLS       // nil when no listener speaks TLS
	proxied   []*edge.Proxied // listeners that understand the PROXY protocol

	store     *store.DB
	directory *auth.Directory
	auth      *auth.Service
	changes   *auth.Changes
	pipe      *ingest.Pipe
	commands  *command.Outbox
	hub       *bridge.Hub
	tunnel    *bridge.Tunnel
	broker    *broker.Broker
	api       *api.API

	setupToken string     // what the first account needs from another machine; empty once there is one
	failed     chan error // a part that cannot go on; the first one stops the server
}

// start opens, wires and serves everything. When a step fails, what was started is stopped again.
func start(cfg *settings, log *slog.Logger) (_ *server, err error) {
	s := &server{lifecycle: lifecycle{log: log}, settings: cfg, log: log, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	cores := tuneRuntime()

	if err := s.openStore(); err != nil {
		return nil, err
	}
	if err := s.openAuth(); err != nil {
		return nil, err
	}
	// All addresses are bound before any is served, so that a taken port is said before anything runs.
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.wireUp(cores); err != nil {
		return nil, err
	}
	s.serve()
	log.Info("serving", "version", versionString(), "data_dir", cfg.DataDir)
	return s, nil
}

// tuneRuntime fits Go's scheduler and collector to what this program does, and returns how many processors there are.
func tuneRuntime() (cores int) {
	cores = runtime.GOMAXPROCS(0)
	// The committer spends its time in C and in fsync, and each time it returns it needs a place among those running. Without one to
	// spare it queues behind every busy connection, and every acknowledgement with it.
	runtime.GOMAXPROCS(cores + 1)
	// The collector's default favours small heaps; ours is small and the rate of allocation is what costs. More than this buys no
	// speed that can be measured and costs memory for every idle viewer.
	debug.SetGCPercent(200)
	return cores
}

func (s *server) openStore() error {
	db, err := store.Open(store.Config{Dir: s.settings.DataDir, Retain: s.settings.Retain}, s.log)
	if err != nil {
		return err
	}
	s.store = db
	s.onStop("store", func(context.Context) error { return db.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends when its step cancels it
		defer close(done)
		if err := db.Run(ctx); err != nil && ctx.Err() == nil {
			s.fail(fmt.Errorf("store: %w", err))
		}
	}()
	s.onStop("store upkeep", func(context.Context) error { cancel(); <-done; return nil })
	return nil
}

func (s *server) openAuth() error {
	ctx := context.Background()
	devices, err := s.store.Devices(ctx)
	if err != nil {
		return fmt.Errorf("load sensors: %w", err)
	}
	if len(devices) > 0 {
		// New keys would make every secret wrong, and a supervisor's second try would go on with them as if nothing had happened.
		if _, err := os.Stat(filepath.Join(s.settings.DataDir, auth.KeyFile)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is missing in %s and without it no sensor's secret can be checked; restore it from a backup, or copy that of a server started once on an empty directory and give every sensor a new secret", auth.KeyFile, s.settings.DataDir)
		}
	}
	keys, err := auth.LoadKeys(s.settings.DataDir)
	if err != nil {
		return err
	}
	s.directory = auth.NewDirectory(keys)
	s.directory.Load(devices)
	s.changes = new(auth.Changes)
	cfg := auth.Config{
		TicketTTL:              s.settings.TicketTTL,
		Registration:           s.settings.Registration,
		TicketsPerMinute:       s.settings.TicketsPerMinute,
		RegistrationsPerHour:   s.settings.RegistrationsPerHour,
		LoginFailuresPerMinute: s.settings.LoginFailuresPerMinute,
	}
	users, err := s.store.CountUsers(ctx)
	if err != nil {
		return fmt.Errorf("count accounts: %w", err)
	}
	if users == 0 && s.settings.Registration == "open" {
		s.setupToken = rand.Text()
		cfg.SetupToken = s.setupToken
	}
	s.auth, err = auth.NewService(cfg, keys, s.store, s.store, s.directory, s.changes, s.log)
	return err
}

// minTunnelMessage is what a WebSocket message may carry even if payloads may not: clients send several packets in one.
const minTunnelMessage = 1 << 20

// How long a socket may take no byte before it is given up.
const (
	deviceStall = 10 * time.Second
	viewerStall = 60 * time.Second
)

// wireUp builds the way of a reading: broker, bridge and api hand it to the pipe, the pipe shows it to hub and broker and commits it. And
// the way of a command: api and bridge hand it to the outbox, which keeps it for its sensor.
func (s *server) wireUp(cores int) error {
	// A device that takes nothing for ten seconds is of no use to anybody; a viewer may be a phone in a tunnel.
	devices, viewers := wire.NewPool((cores+1)/2, deviceStall), wire.NewPool((cores+1)/2, viewerStall)
	s.onStop("socket writers", func(context.Context) error { devices.Close(); viewers.Close(); return nil })

	s.pipe = ingest.New(ingest.Config{LastSeq: s.store.LastSeq()}, s.store, s.log)
	s.onStop("committer", s.pipe.Close)

	if err := s.startOutbox(); err != nil {
		return err
	}

	s.hub = bridge.New(bridge.Config{
		AllowedOrigins: s.settings.AllowedOrigins,
		SilenceAfter:   s.settings.SilenceAfter,
		Epoch:          s.store.Epoch,
		LastSeq:        s.store.LastSeq,
	}, s.auth, s.directory, s.store, viewers, s.log)

	s.tunnel = s.hub.Tunnel(bridge.TunnelConfig{
		MaxMessage: max(minTunnelMessage, 2*int64(s.settings.MaxPayload)),
		ClientAddr: func(r *http.Request) netip.Addr { return s.api.ClientAddr(r) },
	}, func(c net.Conn) { s.broker.ServeConn(c) })
	s.onStop("MQTT over WebSocket", s.tunnel.Close) // after the broker has closed what it carries

	var err error
	s.broker, err = broker.New(broker.Config{
		MaxPayload:     s.settings.MaxPayload,
		ConnectTimeout: s.settings.ConnectTimeout,
	}, s.auth, s.directory, s.pipe, devices, s.log)
	if err != nil {
		return fmt.Errorf("MQTT broker: %w", err)
	}
	if err := s.broker.Start(); err != nil {
		return fmt.Errorf("start MQTT broker: %w", err)
	}
	s.onStop("MQTT broker", s.broker.Close)
	s.pipe.Watch(s.hub, s.broker)
	s.changes.Watch(s.hub)
	s.changes.Watch(s.broker)

	proxies, err := s.settings.proxies()
	if err != nil {
		return err
	}
	s.api = api.New(api.Config{
		Version:        versionString(),
		SilenceAfter:   s.settings.SilenceAfter,
		Registration:   s.settings.Registration,
		MaxPayload:     s.settings.MaxPayload,
		MQTTPort:       s.listeners.port("mqtt"),
		MQTTSPort:      s.listeners.port("mqtts"),
		TrustedProxies: proxies,
	}, api.Deps{
		Auth: s.auth, Directory: s.directory, Changes: s.changes, Registry: s.store, History: s.store,
		Intake: s.pipe, Commands: s.commands, Presence: s.broker, Ready: s.store.Ready, Log: s.log,
	})
	s.onStop("REST interface", func(context.Context) error { s.api.Close(); return nil })
	return nil
}

// serve starts answering on every listener.
func (s *server) serve() {
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.Handle("GET /ws", s.hub.Handler(s.pipe, s.commands))
	mux.Handle("GET /mqtt", s.tunnel)
	for _, path := range []string{"/api/", "/openapi.json", "/openapi.yaml", "/healthz", "/readyz"} {
		mux.Handle(path, s.api.Handler())
	}
	var plain http.Handler = mux
	if s.tls != nil {
		plain = s.tls.HTTP01(mux)
		s.serveHTTP("https", mux, s.tls.HTTPS())
	}
	s.serveHTTP("http", plain, nil)
	s.serveHTTP("admin", adminHandler(s), nil)
	// Hijacked sockets are not the HTTP server's any more: the hub closes them, and before the server stops.
	s.onStop("live sockets", s.hub.Close)
	for _, name := range []string{"mqtt", "mqtts"} {
		if l := s.listeners.get(name); l != nil {
			if name == "mqtts" {
				l = tls.NewListener(l, s.tls.MQTT())
			}
			go func() { // ends when the broker's step closes it
				if err := s.broker.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
					s.fail(fmt.Errorf("MQTT listener: %w", err))
				}
			}()
		}
	}
	s.runTLS()
	s.onStop("readiness", func(context.Context) error { s.api.Drain(); return nil })
}

// Limits of the HTTP server: a client that is slow to send its request may not hold a connection for long. Replies have no deadline
// of their own here: streams outlive any.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
)

// serveHTTP serves h on a listener, over TLS if there is a configuration.
func (s *server) serveHTTP(name string, h http.Handler, secure *tls.Config) {
	l := s.listeners.get(name)
	if l == nil {
		return
	}
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		TLSConfig:         secure,
		ErrorLog:          slog.NewLogLogger(s.log.With("component", "http").Handler(), slog.LevelDebug),
	}
	go func() { // ends when its step shuts it down
		serve := srv.Serve
		if secure != nil {
			serve = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("%s listener: %w", name, err))
		}
	}()
	s.onStop(name+" listener", func(ctx context.Context) error {
		if err := srv.Shutdown(ctx); err != nil {
			return errors.Join(err, srv.Close())
		}
		return nil
	})
}

// fail reports that a part cannot go on. Only the first report counts.
func (s *server) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// wait returns when ctx ends or a part fails, after everything has stopped.
func (s *server) wait(ctx context.Context) error {
	var failure error
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
	case failure = <-s.failed:
		s.log.Error("cannot go on, stopping", "err", failure)
	case failure = <-s.store.Failed():
		s.log.Error("store failed, stopping", "err", failure)
	}
	err := errors.Join(failure, s.stop())
	if err == nil {
		s.log.Info("stopped")
	}
	return err
}
