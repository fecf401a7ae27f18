package drive

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// selfSigned writes a certificate for loopback that is its own authority, with the given serial number, and its key.
func selfSigned(t testing.TB, dir string, number int64) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

// overTLS starts a server that speaks TLS on every door.
func overTLS(t *testing.T) (s *instance, dir string, pool *x509.CertPool) {
	t.Helper()
	dir = t.TempDir()
	cert, key, pool := selfSigned(t, dir, 1)
	s = serve(t, t.TempDir(), "--https-listen", "127.0.0.1:0", "--mqtts-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	return s, dir, pool
}

// number is the serial number of the certificate a listener serves.
func (s *instance) number(listener string) int64 {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.addr[listener], &tls.Config{InsecureSkipVerify: true}) // the number is all that is asked
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestEndToEnd_EveryDoorOpensOverTLS(t *testing.T) {
	s, dir, pool := overTLS(t)
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	viewer := ann.watch("SN1")
	cmd := exec.Command(tool(t, "mosquitto_pub"), "-h", "127.0.0.1", "-p", s.port("mqtts"), "--cafile", filepath.Join(dir, "cert.pem"),
		"-u", "SN1", "-P", secret, "-t", "sensors/SN1/telemetry", "-q", "1", "-m", `{"over":"tls"}`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub over TLS: %v\n%s", err, out)
	}
	if got := string(nextReading(t, viewer).Data); got != `{"over":"tls"}` {
		t.Errorf("viewer got %s", got)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	for path, want := range map[string]string{"/readyz": "json", "/": "html"} {
		resp, err := (&http.Client{Transport: transport}).Get("https://" + s.addr["https"] + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(resp.Header.Get("Content-Type"), want) || resp.ProtoMajor != 2 {
			t.Errorf("GET %s over TLS = %d %s HTTP/%d, want 200 %s HTTP/2", path, resp.StatusCode, resp.Header.Get("Content-Type"), resp.ProtoMajor, want)
		}
	}
}

func TestEndToEnd_CertificatesAreReadAgain(t *testing.T) {
	s, dir, _ := overTLS(t)
	until := func(what string, want int64) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); s.number("mqtts") != want || s.number("https") != want; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: certificate %d is not served\n%s", what, want, s.log)
			}
			time.Sleep(20 * time.Millisecond) // asks a process of its own, again and again
		}
	}
	selfSigned(t, dir, 2)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until("SIGHUP", 2)
	selfSigned(t, dir, 3)
	until("changed files", 3)
}

// tunnelled connects paho through a WebSocket.
func tunnelled(t *testing.T, address, user, password string, header http.Header, pool *x509.CertPool) (paho.Client, error) {
	t.Helper()
	o := paho.NewClientOptions().AddBroker(address).SetClientID(user).SetUsername(user).SetPassword(password).SetAutoReconnect(false).
		SetConnectTimeout(10 * time.Second).SetHTTPHeaders(header)
	if pool != nil {
		o.SetTLSConfig(&tls.Config{RootCAs: pool})
	}
	c := paho.NewClient(o)
	token := c.Connect()
	if !token.WaitTimeout(20 * time.Second) {
		t.Fatal("paho neither connected nor failed")
	}
	if token.Error() == nil {
		t.Cleanup(func() { c.Disconnect(100) })
	}
	return c, token.Error()
}

func TestEndToEnd_PahoPublishesAndSubscribesThroughWebSockets(t *testing.T) {
	s, _, pool := overTLS(t)
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	for name, address := range map[string]string{"ws": "ws://" + s.addr["http"] + "/mqtt", "wss": "wss://" + s.addr["https"] + "/mqtt"} {
		person, err := tunnelled(t, address, "ann", ann.password, nil, pool)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := make(chan string, 10)
		if sub := person.Subscribe("+/+/telemetry", 2, func(_ paho.Client, m paho.Message) { got <- m.Topic() + " " + string(m.Payload()) }); !sub.WaitTimeout(10*time.Second) || sub.Error() != nil {
			t.Fatalf("%s: subscribe: %v", name, sub.Error())
		}
		sensor, err := tunnelled(t, address, "SN1", secret, nil, pool)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for qos := range byte(3) {
			payload := fmt.Sprintf(`{"via":%q,"qos":%d,"pad":%q}`, name, qos, strings.Repeat("x", 20_000))
			if tok := sensor.Publish("sensors/SN1/telemetry", qos, false, payload); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
				t.Fatalf("%s: publish with QoS %d: %v", name, qos, tok.Error())
			}
			select {
			case line := <-got:
				if want := "sensors/SN1/telemetry " + payload; line != want {
					t.Errorf("%s: subscriber got %.80s, want %.80s", name, line, want)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: QoS %d did not arrive\n%s", name, qos, s.log)
			}
		}
		if _, err := tunnelled(t, address, "SN1", "wrong", nil, pool); err == nil {
			t.Errorf("%s: a wrong secret was let in", name)
		}
		if _, err := tunnelled(t, address, "SN1", secret, http.Header{"Origin": {"https://evil.example"}}, pool); err == nil {
			t.Errorf("%s: a foreign page was let in", name)
		}
		person.Disconnect(100)
		sensor.Disconnect(100)
	}
	if err := s.terminate(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, s.log)
	}
}

func TestEndToEnd_TunnelKnowsTheClientBehindATrustedProxy(t *testing.T) {
	s := serve(t, t.TempDir(), "--trusted-proxies", "127.0.0.0/8", "--log-level", "debug")
	secret := s.register("ann").sensor("SN1")
	if _, err := tunnelled(t, "ws://"+s.addr["http"]+"/mqtt", "SN1", secret, http.Header{"X-Forwarded-For": {"203.0.113.7"}}, nil); err != nil {
		t.Fatal(err)
	}
	s.awaitLog(t, `"remote":"203.0.113.7"`)
}

// awaitLog waits until the log holds what: a line about a client may come after its CONNACK.
func (s *instance) awaitLog(t *testing.T, what string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(s.log.String(), what); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not hold %s:\n%s", what, s.log)
		}
	}
}

func TestEndToEnd_ProxyProtocolCarriesTheClientsAddress(t *testing.T) {
	s := serve(t, t.TempDir(), "--proxy-protocol-from", "127.0.0.0/8", "--log-level", "debug")
	secret := s.register("ann").sensor("SN1") // HTTP is not among the listeners, and needs no header
	o := paho.NewClientOptions().AddBroker("tcp://" + s.addr["mqtt"]).SetUsername("SN1").SetPassword(secret).SetAutoReconnect(false)
	o.SetCustomOpenConnectionFn(func(to *url.URL, _ paho.ClientOptions) (net.Conn, error) {
		c, err := net.Dial("tcp", to.Host)
		if err == nil {
			_, err = io.WriteString(c, "PROXY TCP4 203.0.113.7 192.0.2.1 51000 1883\r\n")
		}
		return c, err
	})
	c := paho.NewClient(o)
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("connect through the proxy: %v\n%s", tok.Error(), s.log)
	}
	defer c.Disconnect(100)
	if tok := c.Publish("sensors/SN1/telemetry", 1, false, `{"a":1}`); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("publish through the proxy: %v", tok.Error())
	}
	s.awaitLog(t, `"remote":"203.0.113.7"`)
	if out, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", `{}`); err == nil {
		t.Errorf("a trusted proxy without a header was served: %s", out)
	}
	admin := &person{s: &instance{t: t, addr: map[string]string{"http": s.addr["admin"]}}}
	if _, metrics := admin.request("GET", "/metrics", "", nil); !strings.Contains(string(metrics), "sensorcast_proxy_protocol_refused_total 1") {
		t.Errorf("the refused connection is not counted:\n%.2000s", metrics)
	}
}
