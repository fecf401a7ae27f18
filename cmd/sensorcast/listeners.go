package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"log/slog"

	"sensorcast/edge"
)

// listeners are the bound addresses, by name: http, https, mqtt, mqtts, admin.
type listeners struct{ byName map[string]net.Listener }

func (l *listeners) get(name string) net.Listener { return l.byName[name] }

// port returns a function giving the port bound for name, or 0.
func (l *listeners) port(name string) func() int {
	return func() int {
		if bound, ok := l.byName[name]; ok {
			if addr, ok := bound.Addr().(*net.TCPAddr); ok {
				return addr.Port
			}
		}
		return 0
	}
}

// listen binds every configured address and logs what was chosen, in the first lines of the log, since port 0 is allowed everywhere.
func (s *server) listen() error {
	s.listeners = &listeners{byName: map[string]net.Listener{}}
	s.onStop("addresses", func(context.Context) error {
		var errs []error
		for _, l := range s.listeners.byName {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
	for _, want := range []struct{ name, address string }{
		{"http", s.settings.HTTPListen},
		{"https", s.settings.HTTPSListen},
		{"mqtt", s.settings.MQTTListen},
		{"mqtts", s.settings.MQTTSListen},
		{"admin", s.settings.AdminListen},
	} {
		if want.address == "" {
			continue
		}
		l, err := net.Listen("tcp", want.address)
		if err != nil {
			return bindError(want.name, want.address, err)
		}
		if want.name == "mqtt" || want.name == "mqtts" {
			awaitFirstBytes(l)
		}
		if s.settings.proxied(want.name) {
			l = s.behindProxy(l)
		}
		s.listeners.byName[want.name] = l
		s.log.Info("listening", "listener", want.name, "addr", l.Addr().String())
	}
	if !s.settings.overTLS() {
		return nil
	}
	var err error
	s.tls, err = edge.NewTLS(s.settings.edge(s.settings.DataDir), s.log)
	return err
}

// behindProxy has a listener understand the PROXY protocol.
func (s *server) behindProxy(l net.Listener) net.Listener {
	trusted, _ := s.settings.proxyProtocolFrom() // Validate has read it
	p := edge.NewProxied(l, trusted, s.settings.ConnectTimeout, s.log)
	s.proxied = append(s.proxied, p)
	return p
}

// bindError says in one line which setting to change.
func bindError(name, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s address %s is taken by another program; choose another with --%s-listen (port 0 picks a free one)", name, address, name)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s address %s needs privileges this user has not; choose a port above 1023 with --%s-listen", name, address, name)
	}
	return fmt.Errorf("--%s-listen %s: %w", name, address, err)
}

// runTLS has certificates renewed and read again. It comes after everything answers, for an ACME authority asks.
func (s *server) runTLS() {
	if s.tls != nil {
		s.background("certificates", s.tls.Run)
	}
}

// onHangup reads certificates and the log level again on SIGHUP, until ctx ends. What cannot be read leaves the old in force.
func (s *server) onHangup(ctx context.Context, hangup <-chan os.Signal, level *slog.LevelVar) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			s.reload(level)
		}
	}
}

func (s *server) reload(level *slog.LevelVar) {
	file := &configFile{}
	if err := file.load(s.settings.ConfigFile); err != nil {
		s.log.Error("configuration not read again", "err", err)
	} else if word, ok := file.values["log_level"].(string); ok {
		level.Set(parseLevel(word))
	}
	if s.tls != nil {
		if err := s.tls.Reload(); err != nil {
			s.log.Error("certificates not read again, the old ones stay in force", "err", err)
			return
		}
	}
	s.log.Info("settings read again", "level", level.Level().String())
}
