package simulator

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// selfSigned makes a certificate for 127.0.0.1 and the PEM file that trusts it.
func selfSigned(t *testing.T) (config *tls.Config, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, caFile
}

func TestDial_TLSTrustsTheCAFileAndNothingElse(t *testing.T) {
	config, caFile := selfSigned(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	broker := serveBroker(t, listener, &testHook{})
	cfg := Config{Broker: "mqtts://" + broker.address, CAFile: caFile, Sensors: 3, QoS: 1, Count: 2, Interval: 5 * time.Millisecond}
	if r := mustRun(t, t.Context(), cfg); r.Acknowledged != 6 {
		t.Errorf("report: %s", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg.CAFile = ""
	cfg.OnStatus = func(s Status) {
		if s.Unreachable > 0 {
			cancel()
		}
	}
	if r, err := Run(ctx, cfg); !errors.Is(err, ErrNeverConnected) || r.Unreachable == 0 || !strings.Contains(r.LastError, "certificate") {
		t.Errorf("without the CA file: got %v, report: %s", err, r)
	}
}

func TestDial_WebSocket(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0") // mochi's WebSocket listener does not tell which port it got
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	broker := serveBroker(t, free, &testHook{})
	_ = free.Close()
	if err := broker.server.AddListener(listeners.NewWebsocket(listeners.Config{ID: "ws", Address: address})); err != nil {
		t.Fatal(err)
	}
	if err := broker.server.Serve(); err != nil {
		t.Fatal(err)
	}
	r := mustRun(t, t.Context(), Config{Broker: "ws://" + address + "/mqtt", Sensors: 3, QoS: 2, InFlight: 4, Count: 10, Rate: 600, ReconnectMin: 20 * time.Millisecond})
	if r.Acknowledged != 30 {
		t.Errorf("report: %s", r)
	}
}
