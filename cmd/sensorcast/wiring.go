package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"sensorcast/alert"
	"sensorcast/api"
	"sensorcast/audit"
	"sensorcast/auth"
	"sensorcast/bridge"
	"sensorcast/broker"
	"sensorcast/command"
	"sensorcast/inbox"
	"sensorcast/ingest"
	"sensorcast/store"
	"sensorcast/wire"
)

func (s *server) openStore() error {
	db, err := store.Open(store.Config{Dir: s.settings.DataDir, Retain: s.settings.Retain, AuditRetain: s.settings.AuditRetain}, s.log)
	if err != nil {
		return err
	}
	s.store, s.trail = db, audit.New(db, s.log)
	s.onStop("store", func(context.Context) error { return db.Close() })
	s.background("store upkeep", func(ctx context.Context) {
		if err := db.Run(ctx); err != nil && ctx.Err() == nil {
			s.fail(fmt.Errorf("store: %w", err))
		}
	})
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
	s.keys = keys
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
	s.letters(&cfg)
	users, err := s.store.CountUsers(ctx)
	if err != nil {
		return fmt.Errorf("count accounts: %w", err)
	}
	if users == 0 && s.settings.Registration != auth.RegistrationClosed {
		s.setupToken = rand.Text()
		cfg.SetupToken = s.setupToken
	}
	if s.auth, err = auth.NewService(cfg, keys, s.store, s.store, s.store, s.directory, s.changes, s.log); err != nil {
		return err
	}
	s.background("API tokens", s.auth.TendTokens)
	if err := s.auth.RecallDebts(ctx, s.store); err != nil {
		return err
	}
	s.background("login throttles", func(ctx context.Context) { s.auth.KeepDebts(ctx, s.store) })
	return nil
}

// openWatch fills the watch over silence. It is the first to hear of sensors that come and go, since the doors ask it.
func (s *server) openWatch() error {
	s.watch = alert.New(alert.Config{SilenceAfter: s.settings.SilenceAfter, RemindEvery: s.settings.RemindEvery}, s.store, s.directory, s.log)
	if err := s.watch.Load(context.Background()); err != nil {
		return fmt.Errorf("silence: %w", err)
	}
	s.changes.Watch(s.watch)
	s.rules = alert.NewRules(s.store, s.watch, s.log)
	if err := s.rules.Load(context.Background()); err != nil {
		return err
	}
	s.changes.Watch(s.rules)
	return nil
}

// startWatch begins to decide, last of all and so stopped first: nobody is found silent while the doors open or close.
func (s *server) startWatch() {
	s.watch.Tell(s.hub, s.broker)
	s.watch.Incidents().Tell(s.hub, s.broker)
	s.watch.Consult(s.broker)
	s.watch.Suspect(s.pulse.Hears)
	s.background("silence watch", s.watch.Run)
	s.background("rules", s.rules.Run)
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

	recent, err := s.store.RecentKeys(context.Background())
	if err != nil {
		return fmt.Errorf("load keys of readings: %w", err)
	}
	s.pipe = ingest.New(ingest.Config{LastSeq: s.store.LastSeq(), Recent: recent}, s.store, s.log)
	s.onStop("committer", s.pipe.Close)

	if err := s.startOutbox(); err != nil {
		return err
	}
	if err := s.openInbox(); err != nil {
		return err
	}
	if err := s.startDesk(); err != nil {
		return err
	}

	s.hub = bridge.New(bridge.Config{
		AllowedOrigins: s.settings.AllowedOrigins,
		Epoch:          s.store.Epoch,
		LastSeq:        s.store.LastSeq,
		StateOf:        s.watch.StateOf,
	}, s.auth, s.directory, s.store, viewers, s.log)

	s.tunnel = s.hub.Tunnel(bridge.TunnelConfig{
		MaxMessage: max(minTunnelMessage, 2*int64(s.settings.MaxPayload)),
		ClientAddr: func(r *http.Request) netip.Addr { return s.api.ClientAddr(r) },
	}, func(c net.Conn) { s.broker.ServeConn(c) })
	s.onStop("MQTT over WebSocket", s.tunnel.Close) // after the broker has closed what it carries

	if err := s.openBroker(devices); err != nil {
		return err
	}
	s.openPulse()
	s.pipe.Watch(s.pulse.Before(s.watch, s.rules, s.hub, s.broker)) // a sensor is online before its reading is seen
	s.commands.Watch(s.broker)
	s.changes.Watch(s.hub)
	s.changes.Watch(s.broker)

	events := s.hub.Events()
	proxies, err := s.settings.proxies()
	if err != nil {
		return err
	}
	s.api = api.New(api.Config{
		Version:        versionString(),
		SilenceAfter:   s.settings.SilenceAfter,
		Registration:   s.settings.Registration,
		Mail:           s.mail != nil,
		MaxPayload:     s.settings.MaxPayload,
		MQTTPort:       s.listeners.port("mqtt"),
		MQTTSPort:      s.listeners.port("mqtts"),
		HTTPSPort:      s.listeners.port("https"),
		Certificates:   s.certificates,
		TrustedProxies: proxies,
	}, api.Deps{
		Auth: s.auth, Directory: s.directory, Changes: s.changes, Registry: s.store, History: s.store, Sharing: s.store, Transfers: s.store,
		Intake: s.pipe, Commands: s.commands, Inbox: s.inbox, Audit: s.trail, Channels: s.desk, Presence: s.broker, Ready: s.ready, Log: s.log,
		Alerts: s.watch.Incidents(), Rules: s.rules, Cadences: s.watch,
		Events: func(w http.ResponseWriter, r *http.Request, q api.EventRequest) error {
			return events.Serve(w, r, bridge.EventRequest(q))
		},
	})
	s.onStop("REST interface", func(context.Context) error { s.api.Close(); return nil })
	s.startWatch()
	return nil
}

// quietAPI is the REST interface for a directory whose sensors nobody listens to.
func (s *server) quietAPI() *api.API {
	return api.New(api.Config{Version: versionString(), Registration: s.settings.Registration}, api.Deps{
		Auth: s.auth, Directory: s.directory, Changes: s.changes, Registry: s.store, History: s.store, Audit: s.trail, Ready: s.store.Ready, Log: s.log,
	})
}

// openBroker starts the MQTT front door where it stopped: with the sessions, queues, wills and retained messages the store has kept.
func (s *server) openBroker(pool *wire.Pool) (err error) {
	s.broker, err = broker.New(s.settings.broker(), broker.Deps{
		Auth: s.auth, Directory: s.directory, Intake: s.pipe, Commands: s.commands, States: s.watch, Strangers: s.inbox, Pool: pool,
	}, s.log)
	if err != nil {
		return fmt.Errorf("MQTT broker: %w", err)
	}
	kept, err := s.store.Sessions(context.Background())
	if err != nil {
		return fmt.Errorf("load MQTT sessions: %w", err)
	}
	s.broker.Restore(kept, s.directory.Serials())
	s.broker.Start()
	s.onStop("MQTT broker", s.broker.Close)
	return nil
}

// startOutbox opens the outbox of commands on the store. It stops after the doors that use it and before the pipe that it complains to.
func (s *server) startOutbox() error {
	s.commands = command.New(s.store, s.directory, s.pipe, s.log)
	if err := s.commands.Load(context.Background()); err != nil {
		return err
	}
	s.background("command outbox", func(ctx context.Context) {
		if err := s.commands.Run(ctx); err != nil {
			s.fail(fmt.Errorf("command outbox: %w", err))
		}
	})
	s.changes.Watch(s.commands)
	return nil
}

// openInbox opens the memory of sensors nobody knows. It writes its last words after the broker, which knocks, has stopped.
func (s *server) openInbox() error {
	s.inbox = inbox.New(s.store, s.directory, s.log)
	if err := s.inbox.Load(context.Background()); err != nil {
		return err
	}
	s.background("inbox", s.inbox.Run)
	s.changes.Watch(s.inbox)
	return nil
}

// certificates are those in force, none without TLS.
func (s *server) certificates() (all []api.Certificate) {
	if s.tls != nil {
		for _, c := range s.tls.Certificates() {
			all = append(all, api.Certificate(c))
		}
	}
	return all
}
