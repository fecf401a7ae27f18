package api

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestOrigination_BelievesOnlyTrustedProxies(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		name    string
		trusted []netip.Prefix
		peer    string
		header  http.Header
		client  string
		relayed bool
		secure  bool
	}{
		{"no proxy", nil, "192.0.2.1:5000", nil, "192.0.2.1", false, false},
		{"header from a stranger", nil, "192.0.2.1:5000", http.Header{"X-Forwarded-For": {"10.0.0.1"}, "X-Forwarded-Proto": {"https"}}, "192.0.2.1", true, false},
		{"trusted proxy", []netip.Prefix{prefix("192.0.2.0/24")}, "192.0.2.1:5000", http.Header{"X-Forwarded-For": {"203.0.113.7"}, "X-Forwarded-Proto": {"https"}}, "203.0.113.7", false, true},
		{"client's own lie in front", []netip.Prefix{prefix("192.0.2.0/24")}, "192.0.2.1:5000", http.Header{"X-Forwarded-For": {"127.0.0.1, 203.0.113.7"}}, "203.0.113.7", false, false},
		{"two proxies, two headers", []netip.Prefix{prefix("192.0.2.0/24")}, "192.0.2.1:5000", http.Header{"X-Forwarded-For": {"203.0.113.7", "192.0.2.9"}}, "203.0.113.7", false, false},
		{"proxy without header", []netip.Prefix{prefix("192.0.2.0/24")}, "192.0.2.1:5000", nil, "192.0.2.1", false, false},
		{"rubbish ends the chain", []netip.Prefix{prefix("192.0.2.0/24")}, "192.0.2.1:5000", http.Header{"X-Forwarded-For": {"203.0.113.7, unknown, 192.0.2.9"}}, "192.0.2.9", false, false},
		{"with ports and brackets", []netip.Prefix{prefix("::1/128")}, "[::1]:5000", http.Header{"X-Forwarded-For": {"[2001:db8::7]:443"}}, "2001:db8::7", false, false},
		{"brackets without port", []netip.Prefix{prefix("::1/128")}, "[::1]:5000", http.Header{"X-Forwarded-For": {"[2001:db8::7]"}}, "2001:db8::7", false, false},
		{"IPv4 in IPv6 is IPv4", []netip.Prefix{prefix("192.0.2.0/24")}, "[::ffff:192.0.2.1]:5000", http.Header{"X-Forwarded-For": {"::ffff:203.0.113.7"}}, "203.0.113.7", false, false},
		{"all hops trusted", []netip.Prefix{prefix("0.0.0.0/0")}, "192.0.2.1:5000", http.Header{"X-Forwarded-For": {"10.0.0.1, 10.0.0.2"}}, "10.0.0.1", false, false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		if c.header != nil {
			r.Header = c.header
		}
		a := &API{cfg: Config{TrustedProxies: c.trusted}}
		client, relayed, secure := a.origination(r)
		if client.String() != c.client || relayed != c.relayed || secure != c.secure {
			t.Errorf("%s: got %v relayed %v secure %v, want %v %v %v", c.name, client, relayed, secure, c.client, c.relayed, c.secure)
		}
	}
}

func TestOrigination_OwnTLSIsSecure(t *testing.T) {
	r := httptest.NewRequest("GET", "https://example.org/", nil) // sets r.TLS
	if _, _, secure := (&API{}).origination(r); !secure {
		t.Errorf("a request that came by TLS was not taken as secure")
	}
}

func FuzzOrigination_NeverLeavesTheTrustedChain(f *testing.F) {
	f.Add("203.0.113.7, 192.0.2.9")
	f.Add("[::1]:1,,")
	f.Fuzz(func(t *testing.T, hops string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = http.Header{"X-Forwarded-For": {hops}}
		r.RemoteAddr = "198.51.100.1:1"
		a := &API{cfg: Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
		if client, _, _ := a.origination(r); client.String() != "198.51.100.1" {
			t.Errorf("%q: got %v from an untrusted peer", hops, client)
		}
		r.RemoteAddr = "192.0.2.1:1"
		if client, _, _ := a.origination(r); !client.IsValid() {
			t.Errorf("%q: got no address", hops)
		}
	})
}
