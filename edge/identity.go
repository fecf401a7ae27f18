package edge

import (
	"crypto/tls"
	"crypto/x509"
	"net"

	"sensorcast/telemetry"
)

// PeerSerial returns the serial number in the client certificate of c, a connection accepted with TLS.MQTT whose handshake is done. ok is
// false when there is no certificate, when it was not verified against the client authorities, or when it names no sensor. c may be the
// *tls.Conn or wrap it with a NetConn method.
//
// The name is the subject's common name, which is where every tool puts it and which is as long as a serial number may be. A certificate
// without one, as newer authorities make them, names the sensor by its only DNS or URI name; of several none is chosen, for whoever asked
// for the certificate may have had a say in some of them. The comparison is exact.
func PeerSerial(c net.Conn) (serial string, ok bool) {
	for {
		if secure, isTLS := c.(*tls.Conn); isTLS {
			return serialOf(secure.ConnectionState())
		}
		outer, wraps := c.(interface{ NetConn() net.Conn })
		if !wraps {
			return "", false
		}
		c = outer.NetConn()
	}
}

func serialOf(state tls.ConnectionState) (string, bool) {
	if !state.HandshakeComplete || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return "", false
	}
	name := nameOf(state.VerifiedChains[0][0])
	return name, telemetry.CheckSerial(name) == nil
}

func nameOf(leaf *x509.Certificate) string {
	switch {
	case leaf.Subject.CommonName != "":
		return leaf.Subject.CommonName
	case len(leaf.DNSNames) == 1 && len(leaf.URIs) == 0:
		return leaf.DNSNames[0]
	case len(leaf.DNSNames) == 0 && len(leaf.URIs) == 1:
		return leaf.URIs[0].String()
	}
	return ""
}
