package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"sensorcast/edge"
)

// secure are the settings of what stands between the network and the doors.
type secure struct {
	TLSCert       string   `name:"tls-cert" placeholder:"FILE" help:"Certificate chain (PEM) for MQTT and HTTP over TLS; read again when it changes and on SIGHUP."`
	TLSKey        string   `name:"tls-key" placeholder:"FILE" help:"Its private key (PEM)."`
	ACMEDomain    []string `name:"acme-domain" placeholder:"NAME" help:"Obtain certificates for these names by ACME, in place of files. Whoever sets it agrees to the authority's terms."`
	ACMEEmail     string   `name:"acme-email" placeholder:"ADDRESS" help:"Where the ACME authority may write to."`
	ACMEDirectory string   `name:"acme-directory" default:"https://acme-v02.api.letsencrypt.org/directory" placeholder:"URL" help:"The ACME authority."`

	MQTTClientCA   string `name:"mqtt-client-ca" placeholder:"FILE" help:"Authorities (PEM) of client certificates on --mqtts-listen; empty: none are asked for."`
	MQTTClientCert string `name:"mqtt-client-cert" default:"optional" enum:"optional,require" help:"Whether MQTT over TLS needs one: ${enum}."`

	ProxyProtocolFrom []string `name:"proxy-protocol-from" placeholder:"CIDR" help:"Proxies whose connections begin with a PROXY protocol header (version 1 or 2)."`
	ProxyProtocolOn   []string `name:"proxy-protocol-on" default:"mqtt,mqtts" enum:"http,https,mqtt,mqtts" placeholder:"LISTENER" help:"The listeners on which they do: ${enum}."`
}

// check finds what contradicts itself. The addresses are those of the listeners that speak TLS.
func (s *secure) check(mqtts, https string) error {
	files, acme := s.TLSCert != "" || s.TLSKey != "", len(s.ACMEDomain) > 0
	switch {
	case files && (s.TLSCert == "" || s.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key belong together: give both or neither")
	case files && acme:
		return errors.New("--acme-domain and --tls-cert are two sources for one certificate: choose one")
	case mqtts != "" && !files && !acme:
		return errors.New("--mqtts-listen needs a certificate: --tls-cert and --tls-key, or --acme-domain")
	case https != "" && !files && !acme:
		return errors.New("--https-listen needs a certificate: --tls-cert and --tls-key, or --acme-domain")
	case acme && mqtts == "" && https == "":
		return errors.New("--acme-domain obtains certificates nobody uses: set --https-listen or --mqtts-listen")
	case s.ACMEEmail != "" && !acme:
		return errors.New("--acme-email is of no use without --acme-domain")
	case s.MQTTClientCA != "" && mqtts == "":
		return errors.New("--mqtt-client-ca needs --mqtts-listen: certificates come with TLS")
	case s.MQTTClientCert == "require" && s.MQTTClientCA == "":
		return errors.New("--mqtt-client-cert require needs --mqtt-client-ca: without it no certificate can be verified")
	}
	for _, name := range s.ACMEDomain {
		if err := checkDomain(name); err != nil {
			return err
		}
	}
	if u, err := url.Parse(s.ACMEDirectory); acme && (err != nil || u.Scheme != "https" || u.Host == "") { // RFC 8555 §6.1
		return fmt.Errorf("--acme-directory: %q is not an https address", s.ACMEDirectory)
	}
	_, err := s.proxyProtocolFrom()
	return err
}

// checkDomain refuses what an authority would refuse later, in the log where nobody looks.
func checkDomain(name string) error {
	_, notAddress := netip.ParseAddr(name)
	switch {
	case strings.HasPrefix(name, "*."):
		return fmt.Errorf("--acme-domain: %q is a wildcard, which needs a DNS challenge; name the hosts", name)
	case notAddress == nil, !strings.Contains(strings.Trim(name, "."), "."), strings.ContainsAny(name, "/: *"):
		return fmt.Errorf("--acme-domain: %q is not a public host name such as sensors.example.com", name)
	}
	return nil
}

func (s *secure) proxyProtocolFrom() ([]netip.Prefix, error) {
	return prefixes("--proxy-protocol-from", s.ProxyProtocolFrom)
}

// proxied reports whether the PROXY protocol is spoken on a listener.
func (s *secure) proxied(listener string) bool {
	return len(s.ProxyProtocolFrom) > 0 && slices.Contains(s.ProxyProtocolOn, listener)
}

// edge is the configuration of package edge.
func (s *secure) edge(dataDir string) edge.Config {
	return edge.Config{
		CertFile: s.TLSCert, KeyFile: s.TLSKey,
		ACME: edge.ACME{
			Domains: s.ACMEDomain, Email: s.ACMEEmail, Directory: s.ACMEDirectory, CacheDir: filepath.Join(dataDir, "acme"),
		},
		ClientCAFile: s.MQTTClientCA, RequireClientCert: s.MQTTClientCert == "require",
	}
}
