package edge

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"slices"
	"testing"
	"time"
)

// The fingerprints are those of the file, and change with it.
func TestCertificates_AreThoseInForce(t *testing.T) {
	ca, f := newAuthority(t, "test authority"), newFolder(t)
	var der []byte
	put := func(name string) {
		cert, key := ca.server(name)
		block, _ := pem.Decode(cert)
		der = block.Bytes
		f.write(f.cert, cert)
		f.write(f.key, key)
	}
	put("one")
	edge, err := NewTLS(Config{CertFile: f.cert, KeyFile: f.key}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var before Certificate
	for _, name := range []string{"one", "two"} {
		if name == "two" {
			put(name)
			if err := edge.Reload(); err != nil {
				t.Fatal(err)
			}
		}
		all := edge.Certificates()
		if len(all) != 1 {
			t.Fatalf("got %d certificates, want 1", len(all))
		}
		got := all[0]
		one, two := sha1.Sum(der), sha256.Sum256(der)
		if !slices.Equal(got.SHA1, one[:]) || !slices.Equal(got.SHA256, two[:]) {
			t.Errorf("%s: got fingerprints %x and %x, want %x and %x", name, got.SHA1, got.SHA256, one, two)
		}
		if !slices.Equal(got.Names, []string{"localhost", "127.0.0.1"}) || got.SelfSigned || got.Tasmota != nil || got.NotAfter.Before(time.Now()) {
			t.Errorf("%s: got %+v", name, got)
		}
		if slices.Equal(got.SHA256, before.SHA256) {
			t.Error("another certificate has the same fingerprint")
		}
		before = got
	}
}

func TestCertificates_SelfSignedRSAHasTasmotasFingerprint(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serialNumber(t), Subject: pkix.Name{CommonName: "self"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	got := certificateOf(leaf)
	// The lengths of a 2048-bit modulus and of the usual exponent, as tools/fingerprint of Tasmota puts them.
	want := sha1.Sum(slices.Concat([]byte("\x00\x00\x00\x07ssh-rsa\x00\x00\x00\x03\x01\x00\x01\x00\x00\x01\x00"), key.N.Bytes()))
	if !slices.Equal(got.Tasmota, want[:]) || !got.SelfSigned {
		t.Errorf("got fingerprint %x, self-signed %v; want %x, true", got.Tasmota, got.SelfSigned, want)
	}
	pair := &tls.Certificate{Leaf: leaf}
	k := &keyPair{}
	k.pair.Store(pair)
	if end := (&TLS{source: k}).Stats().NotAfter; !end.Equal(leaf.NotAfter) {
		t.Errorf("got NotAfter %v, want %v", end, leaf.NotAfter)
	}
}
