// Package edge is what stands between the network and the doors: TLS with certificates that change while the server runs, client
// certificates that name a sensor, and the PROXY protocol that carries a client's address through a proxy.
//
//	net.Listener ─► Proxied (whose address is it?) ─► tls.Listener (TLS.MQTT, TLS.HTTPS) ─► broker, HTTP server
//
// It knows nothing of MQTT or HTTP: it hands listeners and configurations to cmd/sensorcast, which puts the doors behind them.
//
// Invariants:
//   - A certificate in force stays in force until a better one is complete: a half-written pair, an unreadable file or a failing
//     authority changes nothing but the log and a counter.
//   - A handshake waits for nothing but its peer: certificates are fetched and read beside it, never in it.
//   - Who is not a declared proxy has the address its socket has; who is one says whose connection it brings before anything else.
//
// Locks: none. What a handshake reads is behind atomic pointers.
package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// Config says where certificates come from. Either both files are given or ACME.Domains.
type Config struct {
	CertFile, KeyFile string // PEM: the chain, leaf first, and its private key
	ACME              ACME

	ClientCAFile      string // PEM: who may sign the client certificates of MQTT; empty: none are asked for
	RequireClientCert bool   // refuse MQTT clients without one

	PollEvery time.Duration // how often files are looked at; default 3 s
}

const defaultPollEvery = 3 * time.Second

// source is where the server's own certificate comes from.
type source interface {
	get(*tls.ClientHelloInfo) (*tls.Certificate, error)
	pairs() []*tls.Certificate // those in force
	run(ctx context.Context)
}

// TLS is the server's side of every TLS handshake: TLS 1.2 or newer, session tickets on, curves and suites as Go has them. It is safe for
// concurrent use.
type TLS struct {
	source source
	files  []*watched // certificate pair and client authorities, as far as they are files
	poll   time.Duration
	log    *slog.Logger

	mqtt   *tls.Config
	client atomic.Pointer[tls.Config] // mqtt with the authorities in force; nil when none are asked for

	reloads, failures atomic.Int64
}

// NewTLS reads the files. Its errors name the file and what is wrong with it; a certificate that has expired is a warning in the log, since
// a server with it still serves those who do not look.
func NewTLS(cfg Config, log *slog.Logger) (*TLS, error) {
	t := &TLS{poll: cfg.PollEvery, log: log.With("component", "tls")}
	if t.poll <= 0 {
		t.poll = defaultPollEvery
	}
	if len(cfg.ACME.Domains) > 0 {
		authority, err := newACME(cfg.ACME, t.log)
		if err != nil {
			return nil, err
		}
		t.source = authority
	} else {
		pair := &keyPair{certFile: cfg.CertFile, keyFile: cfg.KeyFile, log: t.log}
		t.source = pair
		t.files = append(t.files, &watched{paths: []string{cfg.CertFile, cfg.KeyFile}, load: pair.load})
	}
	t.mqtt = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: t.source.get}
	if cfg.ClientCAFile != "" {
		t.files = append(t.files, &watched{paths: []string{cfg.ClientCAFile}, load: func() error { return t.loadClientCA(cfg) }})
		t.mqtt.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.client.Load(), nil }
	}
	return t, t.Reload()
}

// MQTT is the configuration for MQTT over TLS, with client certificates if they are configured.
func (t *TLS) MQTT() *tls.Config { return t.mqtt }

// HTTPS is the configuration for HTTP over TLS. It answers the tls-alpn-01 challenges of ACME too, and asks for no client certificate:
// browsers would bother people with it.
func (t *TLS) HTTPS() *tls.Config {
	protocols := []string{"h2", "http/1.1"}
	if _, ok := t.source.(*acmeSource); ok {
		protocols = append(protocols, alpnACME)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: t.source.get, NextProtos: protocols}
}

// HTTP01 answers the http-01 challenges of ACME and leaves every other request to next. Without ACME it is next.
func (t *TLS) HTTP01(next http.Handler) http.Handler {
	if a, ok := t.source.(*acmeSource); ok {
		return a.manager.HTTPHandler(next)
	}
	return next
}

// Reload reads the files again, changed or not, as on SIGHUP. What cannot be used is said in the error and stays as it was.
func (t *TLS) Reload() error {
	var errs []error
	for _, w := range t.files {
		if err := w.read(); err != nil {
			t.failures.Add(1)
			errs = append(errs, err)
			continue
		}
		t.reloads.Add(1)
	}
	return errors.Join(errs...)
}

// Run reads files again when they change and obtains certificates by ACME, until ctx ends. It starts after the listeners serve, since an
// ACME authority asks them.
func (t *TLS) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		t.source.run(ctx)
	}()
	tick := time.NewTicker(t.poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			<-done
			return
		case <-tick.C:
			t.look()
		}
	}
}

// look reads what changed since it was last read, and complains once about what it cannot use.
func (t *TLS) look() {
	for _, w := range t.files {
		changed, err := w.readIfChanged()
		switch {
		case !changed:
		case err == nil:
			t.reloads.Add(1)
			t.log.Info("certificate files read again", "files", w.paths)
		default:
			t.failures.Add(1)
			if w.complain(err) {
				t.log.Warn("changed certificate files not usable, the old ones stay in force", "err", err)
			}
		}
	}
}

// Stats are the figures of a TLS. Counters only rise.
type Stats struct {
	NotAfter time.Time // when the certificate in force ends; of several the first; zero when there is none yet
	Reloads  int64     // files read
	Failures int64     // files that could not be used
}

// Stats returns the present figures.
func (t *TLS) Stats() Stats {
	var first time.Time
	for _, pair := range t.source.pairs() {
		if first.IsZero() || pair.Leaf.NotAfter.Before(first) {
			first = pair.Leaf.NotAfter
		}
	}
	return Stats{NotAfter: first, Reloads: t.reloads.Load(), Failures: t.failures.Load()}
}

// loadClientCA makes a new configuration of the authorities. Sessions resumed by ticket are checked against it too, by crypto/tls: a
// client whose authority was removed does not come back on an old ticket.
func (t *TLS) loadClientCA(cfg Config) error {
	pool, err := readPool(cfg.ClientCAFile)
	if err != nil {
		return err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: t.source.get, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}
	if cfg.RequireClientCert {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	t.client.Store(c)
	return nil
}
