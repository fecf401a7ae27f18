package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"sensorcast/alert"
	"sensorcast/api"
	"sensorcast/audit"
	"sensorcast/auth"
	"sensorcast/bridge"
	"sensorcast/broker"
	"sensorcast/command"
	"sensorcast/edge"
	"sensorcast/inbox"
	"sensorcast/ingest"
	"sensorcast/mail"
	"sensorcast/notify"
	"sensorcast/pulse"
	"sensorcast/store"
)

// serveCommand is `sensorcast serve`.
type serveCommand struct{ settings }

// Run serves until the context ends or a part fails for good.
func (c *serveCommand) Run(ctx context.Context, parser *kong.Kong) error {
	level := new(slog.LevelVar)
	level.Set(parseLevel(c.LogLevel))
	log := newLogger(level)
	warnUnknownEnvironment(log, parser.Model)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // before anything says that it serves: until then the signal would end the program
	defer signal.Stop(hangup)
	s, err := start(&c.settings, log)
	if err != nil {
		return err
	}
	if s.setupToken != "" {
		log.Info("no account yet: the first one becomes admin; from another machine it needs the set-up token", "setup_token", s.setupToken)
	}
	go s.onHangup(ctx, hangup, level) // ends with ctx
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
	keys      *auth.Keys
	directory *auth.Directory
	sender    mail.Sender // nil: no letters
	mail      *mail.Queue // the queue before it; nil: no letters
	auth      *auth.Service
	trail     *audit.Trail
	changes   *auth.Changes
	watch     *alert.Watch
	rules     *alert.Rules
	pipe      *ingest.Pipe
	commands  *command.Outbox
	inbox     *inbox.Inbox
	desk      *notify.Desk
	pulse     *pulse.Pulse
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
	if err := s.openMail(); err != nil {
		return nil, err
	}
	if err := s.openAuth(); err != nil {
		return nil, err
	}
	if err := s.openWatch(); err != nil {
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
	s.background("memory upkeep", easeMemory)
	s.background("self-test", s.pulse.Run)
	log.Info("serving", "version", versionString(), "data_dir", cfg.DataDir)
	return s, nil
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
