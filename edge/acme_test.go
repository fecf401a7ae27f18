package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pebble is Let's Encrypt's own small ACME authority, run as a program beside the test. It looks names up with a DNS server of its own, for
// which every name is this machine, and really visits it.
type pebble struct {
	t         *testing.T
	directory string
	client    *http.Client
	log       *logBuffer
}

// freePort is one nobody listens on now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startPebble runs an authority that visits the given ports of this machine instead of 80 and 443.
func startPebble(t *testing.T, httpPort, tlsPort int) *pebble {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs a real ACME authority")
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-modfile=../tools/go.mod", "-o", bin+"/",
		"github.com/letsencrypt/pebble/v2/cmd/pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build pebble: %v\n%s", err, out)
	}
	ca, dir := newAuthority(t, "authority of the authority"), newFolder(t)
	dir.pair(ca.server("pebble"))
	port, dns := freePort(t), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", port), "managementListenAddress": "127.0.0.1:0",
		"certificate": dir.cert, "privateKey": dir.key, "httpPort": httpPort, "tlsPort": tlsPort,
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "short", "validityPeriod": 7200}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pebble.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &pebble{t: t, directory: fmt.Sprintf("https://localhost:%d/dir", port), log: new(logBuffer)}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool()}}
	t.Cleanup(transport.CloseIdleConnections)
	p.client = &http.Client{Transport: transport}
	p.run("Starting challenge server", filepath.Join(bin, "pebble-challtestsrv"),
		"-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", dns, "-doh", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", "127.0.0.1:0")
	p.run("ACME directory available", filepath.Join(bin, "pebble"), "-config", path, "-dnsserver", dns)
	eventually(t, "the authority listens", func() bool { // it says so a moment before
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

// run starts a program and waits until it has said a line that holds ready.
func (p *pebble) run(ready, path string, args ...string) {
	p.t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	said, done := make(chan struct{}, 1), make(chan struct{})
	go func() { // ends with the program
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(p.log, lines.Text())
			if strings.Contains(lines.Text(), ready) {
				select {
				case said <- struct{}{}:
				default:
				}
			}
		}
	}()
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait() // says that it was killed
	})
	select {
	case <-said:
	case <-done:
		p.t.Fatalf("%s ended:\n%s", path, p.log)
	case <-time.After(testTimeout):
		p.t.Fatalf("%s is not ready:\n%s", path, p.log)
	}
}

// site is a server with an HTTPS and an HTTP listener, each where the authority looks for it unless it is closed.
type site struct {
	edge        *TLS
	log         *logBuffer
	https, http net.Listener
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{log: new(logBuffer)}
	for _, l := range []*net.Listener{&s.https, &s.http} {
		var err error
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*l).Close() })
	}
	return s
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// serve runs the site with certificates of p until the test ends or stop is called.
func (s *site) serve(t *testing.T, p *pebble, cache string, domains ...string) (stop func()) {
	t.Helper()
	var err error
	s.edge, err = NewTLS(Config{ACME: ACME{
		Domains: domains, Email: "admin@example.com", Directory: p.directory, CacheDir: cache, Client: p.client,
	}}, s.log.logger())
	if err != nil {
		t.Fatal(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	secure := &http.Server{Handler: hello, TLSConfig: s.edge.HTTPS(), ErrorLog: slog.NewLogLogger(s.log.logger().Handler(), slog.LevelDebug)}
	plain := &http.Server{Handler: s.edge.HTTP01(hello)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 3)
	go func() { _ = secure.ServeTLS(s.https, "", ""); done <- struct{}{} }()
	go func() { _ = plain.Serve(s.http); done <- struct{}{} }()
	go func() { s.edge.Run(ctx); done <- struct{}{} }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		secure.Close()
		plain.Close()
		for range 3 {
			<-done
		}
	}
	t.Cleanup(stop)
	return stop
}

// certificate is what a client that asks for serverName gets.
func (s *site) certificate(t *testing.T, serverName string) (issuer string, names []string, err error) {
	t.Helper()
	// The authority makes a new root for itself at every start; that the certificate is its own is told by the issuer's name.
	state, _, err := shake(t, s.edge.MQTT(), &tls.Config{InsecureSkipVerify: true, ServerName: serverName})
	if err != nil {
		return "", nil, err
	}
	leaf := state.PeerCertificates[0]
	return leaf.Issuer.CommonName, leaf.DNSNames, nil
}

func TestACME_ObtainsCertificatesFromARealAuthority(t *testing.T) {
	for name, c := range map[string]struct {
		overHTTP bool
		ports    func(t *testing.T, s *site) (httpPort, tlsPort int)
	}{
		"TLS-ALPN-01 on the HTTPS listener": {false, func(t *testing.T, s *site) (int, int) { return freePort(t), port(s.https) }},
		"HTTP-01 on the HTTP listener":      {true, func(t *testing.T, s *site) (int, int) { return port(s.http), freePort(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // authorities make one wait
			s := newSite(t)
			httpPort, tlsPort := c.ports(t, s)
			p := startPebble(t, httpPort, tlsPort)
			cache := filepath.Join(t.TempDir(), "acme")
			stop := s.serve(t, p, cache, "sensors.example.com", "mqtt.example.com")
			if _, _, err := s.certificate(t, "sensors.example.com"); err == nil {
				t.Error("a handshake before the certificate is there succeeded")
			}
			defer func() {
				if t.Failed() {
					t.Logf("server:\n%s\nauthority:\n%s", s.log, p.log)
				}
			}()
			eventually(t, "both certificates are there", func() bool { return strings.Count(s.log.String(), "certificate obtained") == 2 })
			for asked, want := range map[string]string{
				"sensors.example.com": "sensors.example.com", "MQTT.example.com": "mqtt.example.com", "": "sensors.example.com",
			} {
				issuer, names, err := s.certificate(t, asked)
				if err != nil || !strings.HasPrefix(issuer, "Pebble Intermediate") || len(names) != 1 || names[0] != want {
					t.Errorf("asking for %q: got certificate of %q for %v, %v; want Pebble's for %s", asked, issuer, names, err, want)
				}
			}
			if _, _, err := s.certificate(t, "foreign.example.com"); err == nil {
				t.Error("a name that is not ours got a certificate")
			}
			if got := strings.Contains(p.log.String(), "Attempting to validate w/ HTTP"); got != c.overHTTP {
				t.Errorf("the authority came over HTTP: %v, want %v:\n%s", got, c.overHTTP, p.log)
			}
			if end := s.edge.Stats().NotAfter; !end.After(time.Now()) {
				t.Errorf("stats say the certificate ends at %v", end)
			}
			if info, err := os.Stat(cache); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("cache directory: %v, %v; want mode 0700", info.Mode(), err)
			}

			// The next start asks nobody: what is kept is good.
			stop()
			again := newSite(t)
			p.directory, p.client = "https://127.0.0.1:1/dir", nil
			again.serve(t, p, cache, "sensors.example.com", "mqtt.example.com")
			eventually(t, "kept certificates are there", func() bool { return strings.Count(again.log.String(), "certificate obtained") == 2 })
		})
	}
}

func TestACME_OrdersNothingForStrangersNames(t *testing.T) {
	a, err := newACME(ACME{Domains: []string{"Sensors.example.com"}, CacheDir: t.TempDir()}, new(logBuffer).logger())
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"sensors.example.com": true, "SENSORS.example.com.": true, "sensors.example.com:5002": true,
		"example.com": false, "x.sensors.example.com": false, "": false, "192.0.2.1:80": false,
	} {
		if err := a.manager.HostPolicy(t.Context(), host); (err == nil) != want {
			t.Errorf("host %q: got %v, want permitted %v", host, err, want)
		}
	}
}

func TestACME_UnreachableAuthorityIsSaidAndEndsWithTheServer(t *testing.T) {
	hang, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer hang.Close()
	s := newSite(t)
	stop := s.serve(t, &pebble{directory: "https://" + hang.Addr().String() + "/dir", client: &http.Client{Transport: &http.Transport{}}}, t.TempDir(), "sensors.example.com")
	c, err := hang.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stop() // returns although the request is under way
	if !strings.Contains(s.log.String(), "sensors.example.com") {
		t.Errorf("log %q does not name the domain", s.log)
	}
}
