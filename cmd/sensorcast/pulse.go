package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"slices"

	"sensorcast/pulse"
)

// openPulse makes the self-test. It needs the addresses to be bound, and tests once it is started.
func (s *server) openPulse() {
	s.pulse = pulse.New(pulse.Config{
		Dial: s.dialOwnDoor(), Every: s.settings.HeartbeatEvery, URL: s.settings.HeartbeatURL,
	}, s.directory, s.log)
}

// ready asks the parts behind the doors, and the doors.
func (s *server) ready(ctx context.Context) error {
	if err := s.store.Ready(ctx); err != nil {
		return err
	}
	return s.pulse.Doubt()
}

// unknownProxy says that the connection is the proxy's own, as a health check's is (PROXY protocol version 1).
const unknownProxy = "PROXY UNKNOWN\r\n"

// dialOwnDoor returns how a client on this machine gets to the MQTT door, the plain one if there is one; nil when it cannot.
func (s *server) dialOwnDoor() func(context.Context) (net.Conn, error) {
	name, secure := "mqtt", (*tls.Config)(nil)
	l := s.listeners.get(name)
	if l == nil {
		name = "mqtts"
		if l = s.listeners.get(name); l == nil || s.settings.MQTTClientCert == "require" {
			return nil
		}
		// Who answers at our own address is us. Whether clients can trust the certificate is not what is tested.
		secure = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
		if len(s.settings.ACMEDomain) > 0 {
			secure.ServerName = s.settings.ACMEDomain[0]
		}
	}
	address := ownAddress(l.Addr())
	proxied := s.settings.proxied(name) && s.trustsAsProxy(address)
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		if proxied {
			if _, err := io.WriteString(conn, unknownProxy); err != nil {
				_ = conn.Close()
				return nil, err
			}
		}
		if secure != nil {
			conn = tls.Client(conn, secure)
		}
		return conn, nil
	}
}

// ownAddress is where a listener is reached from this machine.
func ownAddress(bound net.Addr) string {
	at, err := netip.ParseAddrPort(bound.String())
	if err != nil || !at.Addr().IsUnspecified() {
		return bound.String()
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()).String() // [::] takes it too
}

// trustsAsProxy reports whether connections from this machine to address must begin with a PROXY header. They come from the address itself.
func (s *server) trustsAsProxy(address string) bool {
	trusted, _ := s.settings.proxyProtocolFrom() // Validate has read it
	at, err := netip.ParseAddrPort(address)
	return err == nil && slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(at.Addr().Unmap()) })
}
