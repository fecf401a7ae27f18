package edge

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"testing"
	"time"
)

func TestPeerSerial_IsTheOneNameInTheCertificate(t *testing.T) {
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for name, c := range map[string]struct {
		leaf x509.Certificate
		want string
	}{
		"common name":        {x509.Certificate{Subject: subject("SN-1")}, "SN-1"},
		"common name first":  {x509.Certificate{Subject: subject("SN-1"), DNSNames: []string{"other"}}, "SN-1"},
		"DNS name":           {x509.Certificate{DNSNames: []string{"sensor.example.org"}}, "sensor.example.org"},
		"URI":                {x509.Certificate{URIs: []*url.URL{uri("urn:dev:mac:0024befffe804ff1")}}, "urn:dev:mac:0024befffe804ff1"},
		"two DNS names":      {x509.Certificate{DNSNames: []string{"a", "b"}}, ""},
		"DNS name and URI":   {x509.Certificate{DNSNames: []string{"a"}, URIs: []*url.URL{uri("urn:b")}}, ""},
		"no name":            {x509.Certificate{}, ""},
		"no serial number":   {x509.Certificate{Subject: subject("Ann Lee"), DNSNames: []string{"SN-1"}}, ""},
		"a wildcard":         {x509.Certificate{DNSNames: []string{"*"}}, ""},
		"a topic level more": {x509.Certificate{Subject: subject("SN-1/telemetry")}, ""},
	} {
		state := tls.ConnectionState{HandshakeComplete: true, VerifiedChains: [][]*x509.Certificate{{&c.leaf}}}
		serial, ok := serialOf(state)
		if !ok {
			serial = ""
		}
		if serial != c.want {
			t.Errorf("%s: got %q, want %q", name, serial, c.want)
		}
		state.VerifiedChains, state.PeerCertificates = nil, []*x509.Certificate{&c.leaf}
		if serial, ok := serialOf(state); ok {
			t.Errorf("%s, not verified: got %q, want none", name, serial)
		}
	}
}

func TestClientCertificate_VerifiedOnesNameTheSensor(t *testing.T) {
	ca, stranger, dir := newAuthority(t, "ca"), newAuthority(t, "ca"), newFolder(t)
	dir.pair(ca.server("server"))
	dir.write(dir.auth, ca.pem())
	named := func(c *x509.Certificate) { c.Subject = subject("SN-1") }
	for name, c := range map[string]struct {
		cert              *tls.Certificate
		optional, require bool // the handshake succeeds
		want              string
	}{
		"none":            {nil, true, false, ""},
		"signed":          {ca.client(named), true, true, "SN-1"},
		"not a sensor":    {ca.client(func(c *x509.Certificate) { c.Subject = subject("Ann Lee") }), true, true, ""},
		"of another CA":   {stranger.client(named), false, false, ""},
		"expired":         {ca.client(func(c *x509.Certificate) { named(c); c.NotAfter = time.Now().Add(-time.Minute) }), false, false, ""},
		"not for clients": {ca.client(func(c *x509.Certificate) { named(c); c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), false, false, ""},
	} {
		for _, require := range []bool{false, true} {
			cfg := dir.config()
			cfg.ClientCAFile, cfg.RequireClientCert = dir.auth, require
			edge, err := NewTLS(cfg, new(logBuffer).logger())
			if err != nil {
				t.Fatal(err)
			}
			client := &tls.Config{RootCAs: ca.pool()}
			if c.cert != nil { // also when the server's list of authorities does not ask for it
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.cert, nil }
			}
			_, conn, err := shake(t, edge.MQTT(), client)
			want := c.optional
			if require {
				want = c.require
			}
			if (err == nil) != want {
				t.Errorf("%s, required %v: handshake got %v, want success %v", name, require, err, want)
			}
			for _, conn := range []net.Conn{conn, wrapper{conn}} {
				if serial, ok := PeerSerial(conn); ok != (c.want != "") || ok && serial != c.want {
					t.Errorf("%s, required %v: got serial %q %v, want %q", name, require, serial, ok, c.want)
				}
			}
		}
	}
}

// wrapper is a connection that says what it wraps.
type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }

func TestClientCertificate_RemovedAuthorityEndsResumptionToo(t *testing.T) {
	ca, old, dir := newAuthority(t, "ca"), newAuthority(t, "old"), newFolder(t)
	dir.pair(ca.server("server"))
	dir.write(dir.auth, append(ca.pem(), old.pem()...))
	cfg := dir.config()
	cfg.ClientCAFile = dir.auth
	edge, err := NewTLS(cfg, new(logBuffer).logger())
	if err != nil {
		t.Fatal(err)
	}
	cert := old.client(func(c *x509.Certificate) { c.Subject = subject("SN-1") })
	client := &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{*cert}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i, resumed := range []bool{false, true} {
		state, conn, err := shake(t, edge.MQTT(), client)
		if serial, ok := PeerSerial(conn); err != nil || state.DidResume != resumed || !ok || serial != "SN-1" {
			t.Fatalf("handshake %d: %v, resumed %v, serial %q; want SN-1, resumed %v", i+1, err, state.DidResume, serial, resumed)
		}
	}
	dir.write(dir.auth, ca.pem())
	if err := edge.Reload(); err != nil {
		t.Fatal(err)
	}
	state, conn, err := shake(t, edge.MQTT(), client)
	if serial, ok := PeerSerial(conn); ok {
		t.Errorf("after its authority was removed: %v, resumed %v, still %q", err, state.DidResume, serial)
	}
}

func TestPeerSerial_PlainConnectionHasNone(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if serial, ok := PeerSerial(a); ok {
		t.Errorf("got %q, want none", serial)
	}
}
