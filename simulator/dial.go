package simulator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"sensorcast/telemetry"
)

// writeTimeout is how long a broker may leave a packet unread before the connection is given up. Long, because holding back is how
// a broker says it is busy.
const writeTimeout = 30 * time.Second

// dialer opens sockets to one broker. It is safe for concurrent use.
type dialer struct {
	broker  *url.URL
	tls     *tls.Config // nil: plain
	timeout time.Duration
}

func newDialer(broker, caFile string, timeout time.Duration) (*dialer, error) {
	u, err := parseBroker(broker)
	if err != nil {
		return nil, err
	}
	d := &dialer{broker: u, timeout: timeout}
	switch u.Scheme {
	case "ssl", "wss":
		if d.tls, err = tlsConfig(caFile); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// String is the broker's address without a password.
func (d *dialer) String() string { return d.broker.Redacted() }

// parseBroker reads a broker URL; the scheme comes back as tcp, ssl, ws or wss, the host with a port.
func parseBroker(broker string) (*url.URL, error) {
	if !strings.Contains(broker, "://") {
		broker = "tcp://" + broker
	}
	u, err := url.Parse(broker)
	if err != nil { // its text would repeat the URL, which may hold a password
		return nil, telemetry.Invalid("broker", "must be a URL such as tcp://host:1883")
	}
	var port string
	switch strings.ToLower(u.Scheme) {
	case "tcp", "mqtt":
		u.Scheme, port = "tcp", "1883"
	case "ssl", "tls", "mqtts":
		u.Scheme, port = "ssl", "8883"
	case "ws":
		u.Scheme, port = "ws", "80"
	case "wss":
		u.Scheme, port = "wss", "443"
	default:
		return nil, telemetry.Invalid("broker", "scheme must be tcp, mqtt, ssl, tls, mqtts, ws or wss")
	}
	if u.Hostname() == "" {
		return nil, telemetry.Invalid("broker", "must name a host")
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return u, nil
}

// tlsConfig trusts the authorities in a PEM file, or the system's when there is none. There is no way to skip verification.
func tlsConfig(caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %q: %w", caFile, telemetry.Invalid("ca_file", "holds no PEM certificate"))
	}
	return config, nil
}

// dial opens one socket. TCP and TLS give up as soon as ctx ends; a WebSocket handshake, which paho makes without a context, may go
// on unseen for the dialer's timeout and is then closed.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var conn net.Conn
	var err error
	switch d.broker.Scheme {
	case "tcp":
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", d.broker.Host)
	case "ssl":
		conn, err = (&tls.Dialer{Config: d.tls}).DialContext(ctx, "tcp", d.broker.Host)
	default:
		u := *d.broker
		u.User = nil // the log-in travels in CONNECT
		conn, err = mqtt.NewWebsocket(u.String(), d.tls, d.timeout, nil, nil)
	}
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &timedConn{Conn: conn}, nil
}

// timedConn gives every write its own deadline. paho would set one around the writes of PUBLISH only, and while another goroutine may
// be writing a ping, which a WebSocket does not allow.
type timedConn struct {
	net.Conn
	mu sync.Mutex // one writer at a time, which sockets demand anyhow; Close does not take it and ends a blocked write
}

func (c *timedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetWriteDeadline does nothing: see timedConn.
func (c *timedConn) SetWriteDeadline(time.Time) error { return nil }
