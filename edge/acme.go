package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// alpnACME is the application protocol of the tls-alpn-01 challenge (RFC 8737 §6.2).
const alpnACME = acme.ALPNProto

// How long a domain whose certificate was refused waits for the next try. Let's Encrypt allows five failures of a name in an hour, and
// autocert repeats its last answer for a minute.
const (
	minRetry = 2 * time.Minute
	maxRetry = time.Hour

	requestTimeout = time.Minute // of one request to the authority
)

// ACME says how certificates are obtained from an authority that speaks RFC 8555. Who sets Domains agrees to its terms of service.
type ACME struct {
	Domains   []string     // the names in the certificates, one each; the first serves clients that name none
	Email     string       // where the authority writes to; may be empty
	Directory string       // the authority's address; empty: Let's Encrypt
	CacheDir  string       // keeps account key, certificates and their keys; made with mode 0700
	Client    *http.Client // for an authority the system does not trust; nil: the default client
}

// acmeSource serves certificates obtained by ACME. Issuance takes seconds or minutes, so it never happens in a handshake: run obtains and
// autocert renews, and before that a handshake fails at once.
type acmeSource struct {
	domains []string
	manager *autocert.Manager
	log     *slog.Logger
	ready   sync.Map // domain → struct{}: the manager has its certificate in memory
	stopped chan struct{}
}

func newACME(cfg ACME, log *slog.Logger) (*acmeSource, error) {
	if err := os.MkdirAll(cfg.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory for ACME certificates: %w", err)
	}
	if cfg.Directory == "" {
		cfg.Directory = autocert.DefaultACMEDirectory
	}
	a := &acmeSource{log: log, stopped: make(chan struct{})}
	for _, d := range cfg.Domains {
		a.domains = append(a.domains, strings.ToLower(strings.TrimSuffix(d, ".")))
	}
	client := http.Client{Timeout: requestTimeout}
	if cfg.Client != nil {
		client = *cfg.Client
	}
	client.Transport = &stoppable{base: client.Transport, stopped: a.stopped}
	a.manager = &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(cfg.CacheDir),
		HostPolicy: a.permit,
		Email:      cfg.Email,
		Client:     &acme.Client{DirectoryURL: cfg.Directory, HTTPClient: &client, UserAgent: "sensorcast"},
	}
	return a, nil
}

// permit keeps strangers from having certificates ordered for names of their choosing. A challenge may come with a port, where the
// authority's is not 80.
func (a *acmeSource) permit(_ context.Context, host string) error {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if !slices.Contains(a.domains, strings.ToLower(strings.TrimSuffix(host, "."))) {
		return errors.New("not one of the ACME domains")
	}
	return nil
}

// get answers a handshake from memory. A client that names no server, as devices that connect by address do, gets the first domain's.
func (a *acmeSource) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == alpnACME {
		return a.manager.GetCertificate(hello) // the authority's own visit: a challenge certificate or an error
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" {
		name = a.domains[0]
	}
	if _, ok := a.ready.Load(name); !ok {
		return nil, fmt.Errorf("no certificate for %q yet, or not one of the ACME domains", name)
	}
	return a.fetch(name)
}

// fetch asks for the ECDSA certificate of a name whatever the client can do: a second one for clients that know RSA only would have to be
// ordered in the middle of their handshake.
func (a *acmeSource) fetch(name string) (*tls.Certificate, error) {
	return a.manager.GetCertificate(&tls.ClientHelloInfo{ServerName: name, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		SupportedCurves: []tls.CurveID{tls.CurveP256}, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
}

// run obtains a certificate for every domain, one after the other, since authorities count orders. It returns when ctx has ended, and with
// that every request to the authority.
func (a *acmeSource) run(ctx context.Context) {
	context.AfterFunc(ctx, func() { close(a.stopped) })
	waiting := slices.Clone(a.domains)
	for delay := minRetry; ; delay = min(2*delay, maxRetry) {
		waiting = slices.DeleteFunc(waiting, func(name string) bool { return ctx.Err() == nil && a.obtain(name) })
		if len(waiting) == 0 {
			<-ctx.Done() // autocert renews by timers of its own
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay + rand.N(delay/4)):
		}
	}
}

// obtain blocks for an issuance, or reads the certificate kept from an earlier run.
func (a *acmeSource) obtain(name string) bool {
	pair, err := a.fetch(name)
	if err != nil {
		a.log.Error("no certificate from the ACME authority, trying again later", "domain", name, "err", err)
		return false
	}
	a.ready.Store(name, struct{}{})
	a.log.Info("certificate obtained", "domain", name, "not_after", pair.Leaf.NotAfter)
	return true
}

func (a *acmeSource) pairs() (all []*tls.Certificate) {
	for _, name := range a.domains {
		if _, ok := a.ready.Load(name); !ok {
			continue
		}
		if pair, err := a.fetch(name); err == nil {
			all = append(all, pair)
		}
	}
	return all
}

// stoppable ends requests when the server stops: autocert gives each issuance five minutes and takes no context.
type stoppable struct {
	base    http.RoundTripper
	stopped <-chan struct{}
}

// RoundTrip implements http.RoundTripper.
func (s *stoppable) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	go func() { // ends with the request's own context, which autocert bounds, or when the server stops
		select {
		case <-s.stopped:
			cancel(errors.New("the server is stopping"))
		case <-r.Context().Done():
		}
	}()
	base := s.base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(r.WithContext(ctx))
}
