package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sensorcast/web"
)

// serve starts answering on every listener.
func (s *server) serve() {
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.Handle("GET /ws", s.hub.Handler(s.pipe, witnessed{s.commands, s.trail, s.directory}))
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
	s.serveControl()
	// Hijacked sockets are not the HTTP server's any more: the hub closes them, and before the server stops.
	s.onStop("live sockets", s.hub.Close)
	for _, name := range []string{"mqtt", "mqtts"} {
		if l := s.listeners.get(name); l != nil {
			serve := s.broker.Serve
			if name == "mqtts" {
				serve = func(l net.Listener) error { return s.broker.ServeTLS(l, s.tls.MQTT()) }
			}
			go func() { // ends when the broker's step closes it
				if err := serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
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
	if l := s.listeners.get(name); l != nil {
		s.serveOn(name, l, h, secure)
	}
}

func (s *server) serveOn(name string, l net.Listener, h http.Handler, secure *tls.Config) {
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
