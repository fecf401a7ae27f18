package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// running is a TLS whose Run goes on until the test ends.
func running(t *testing.T, cfg Config) (*TLS, *logBuffer) {
	t.Helper()
	log := new(logBuffer)
	edge, err := NewTLS(cfg, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		edge.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return edge, log
}

// shake makes one real handshake with a server of the given configuration. In TLS 1.3 a client learns that its certificate was refused
// with the first byte it reads, so one is sent.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, net.Conn, error) {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := tls.NewListener(plain, server)
	defer l.Close()
	served := make(chan net.Conn, 1)
	go func() { // ends with the handshake: the client's side closes on failure
		c, err := l.Accept()
		if err == nil {
			_, _ = c.Write([]byte{1}) // fails when the handshake does, as the client's does
		}
		served <- c
	}()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: testTimeout}, "tcp", l.Addr().String(), client)
	if err == nil {
		t.Cleanup(func() { c.Close() })
		_, err = c.Read(make([]byte, 1))
	}
	accepted := <-served
	t.Cleanup(func() { accepted.Close() })
	if err != nil {
		return tls.ConnectionState{}, accepted, err
	}
	return c.ConnectionState(), accepted, nil
}

// served is the common name of the certificate a client gets.
func served(t *testing.T, edge *TLS, ca *authority) string {
	t.Helper()
	state, _, err := shake(t, edge.MQTT(), &tls.Config{RootCAs: ca.pool()})
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return state.PeerCertificates[0].Subject.CommonName
}

func TestTLS_WrongFilesAreNamedAtStart(t *testing.T) {
	ca := newAuthority(t, "ca")
	good := newFolder(t)
	good.pair(ca.server("good"))
	foreign := newFolder(t)
	foreign.pair(ca.server("foreign"))
	foreign.write(foreign.auth, []byte("no certificate"))
	for name, c := range map[string]struct {
		cfg  Config
		want []string
	}{
		"no certificate":  {Config{CertFile: good.cert + ".none", KeyFile: good.key}, []string{good.cert + ".none", "no such file"}},
		"no key":          {Config{CertFile: good.cert, KeyFile: good.key + ".none"}, []string{good.key + ".none", "no such file"}},
		"key of another":  {Config{CertFile: good.cert, KeyFile: foreign.key}, []string{good.cert, foreign.key, "does not match"}},
		"swapped":         {Config{CertFile: good.key, KeyFile: good.cert}, []string{good.key}},
		"no authorities":  {Config{CertFile: good.cert, KeyFile: good.key, ClientCAFile: good.auth}, []string{good.auth}},
		"bad authorities": {Config{CertFile: good.cert, KeyFile: good.key, ClientCAFile: foreign.auth}, []string{foreign.auth, "PEM"}},
	} {
		_, err := NewTLS(c.cfg, new(logBuffer).logger())
		if err == nil {
			t.Errorf("%s: got no error", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, want it to mention %q", name, err, want)
			}
		}
	}
}

func TestTLS_ExpiredCertificateIsAWarning(t *testing.T) {
	ca, dir, log := newAuthority(t, "ca"), newFolder(t), new(logBuffer)
	dir.pair(ca.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))
	if _, err := NewTLS(dir.config(), log.logger()); err != nil {
		t.Fatalf("expired certificate: %v, want a warning only", err)
	}
	if got := log.String(); !strings.Contains(got, "expired") || !strings.Contains(got, dir.cert) {
		t.Errorf("log %q does not name the expired certificate", got)
	}
}

func TestTLS_OldVersionsAreRefused(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), newFolder(t)
	dir.pair(ca.server("one"))
	edge, err := NewTLS(dir.config(), new(logBuffer).logger())
	if err != nil {
		t.Fatal(err)
	}
	for name, server := range map[string]*tls.Config{"MQTT": edge.MQTT(), "HTTPS": edge.HTTPS()} {
		for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			_, _, err := shake(t, server, &tls.Config{RootCAs: ca.pool(), MinVersion: version, MaxVersion: version})
			if (err == nil) != want {
				t.Errorf("%s with %s: got %v, want success %v", name, tls.VersionName(version), err, want)
			}
		}
	}
}

func TestTLS_SessionsAreResumed(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), newFolder(t)
	dir.pair(ca.server("one"))
	edge, err := NewTLS(dir.config(), new(logBuffer).logger())
	if err != nil {
		t.Fatal(err)
	}
	client := &tls.Config{RootCAs: ca.pool(), ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i, want := range []bool{false, true} {
		state, _, err := shake(t, edge.MQTT(), client)
		if err != nil || state.DidResume != want {
			t.Errorf("handshake %d: resumed %v, %v; want %v", i+1, state.DidResume, err, want)
		}
	}
}

func TestTLS_ChangedFilesAreServedWithoutASignal(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), newFolder(t)
	dir.pair(ca.server("one"))
	edge, _ := running(t, dir.config())
	if got := served(t, edge, ca); got != "one" {
		t.Fatalf("at first %q is served, want one", got)
	}
	dir.pair(ca.server("two"))
	eventually(t, "the new certificate is served", func() bool { return served(t, edge, ca) == "two" })

	// Some tools write into the file that is there.
	cert, key := ca.server("three")
	for path, text := range map[string][]byte{dir.cert: cert, dir.key: key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the rewritten certificate is served", func() bool { return served(t, edge, ca) == "three" })
}

func TestTLS_HalfWrittenPairLeavesTheOldOneAndIsSaidOnce(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), newFolder(t)
	dir.pair(ca.server("one"))
	edge, log := running(t, dir.config())
	cert, key := ca.server("two")
	dir.write(dir.cert, cert)
	eventually(t, "the half is looked at", func() bool { return edge.Stats().Failures > 0 })
	dir.write(dir.cert, cert) // again, with the same fault
	eventually(t, "it is looked at again", func() bool { return edge.Stats().Failures > 1 })
	if got := served(t, edge, ca); got != "one" {
		t.Errorf("with half a pair %q is served, want one", got)
	}
	if err := edge.Reload(); err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("reload by hand: got %v, want the mismatch", err)
	}
	dir.write(dir.key, key)
	eventually(t, "the whole pair is served", func() bool { return served(t, edge, ca) == "two" })
	if got := strings.Count(log.String(), "not usable"); got != 1 {
		t.Errorf("warned %d times, want once:\n%s", got, log)
	}
}

func TestTLS_ReloadReadsFilesAtOnce(t *testing.T) {
	ca, dir := newAuthority(t, "ca"), newFolder(t)
	dir.pair(ca.server("one"))
	edge, err := NewTLS(dir.config(), new(logBuffer).logger()) // not running: nobody looks
	if err != nil {
		t.Fatal(err)
	}
	dir.pair(ca.server("two"))
	if err := edge.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := served(t, edge, ca); got != "two" {
		t.Errorf("after Reload %q is served, want two", got)
	}
	if got := edge.Stats(); got.Reloads != 2 || got.NotAfter.Before(time.Now()) {
		t.Errorf("stats %+v, want 2 reloads and the certificate's end", got)
	}
}
