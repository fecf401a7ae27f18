package api

import (
	"net/http"
	"net/netip"
	"strings"
)

// origination says from where a request came: the client's address, whether an untrusted proxy relayed it, and whether the client
// spoke TLS. Headers of proxies count only when the peer is one of Config.TrustedProxies; anybody else could write what they like
// into them and so escape every limit per address.
func (a *API) origination(r *http.Request) (client netip.Addr, relayed, secure bool) {
	secure = r.TLS != nil
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false, secure // a Unix socket or a test: no address
	}
	client = peer.Addr().Unmap().WithZone("")
	hops := r.Header.Values("X-Forwarded-For")
	if !a.trusts(client) {
		return client, len(hops) > 0 || r.Header.Get("Forwarded") != "", secure
	}
	secure = secure || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
	return a.lastUntrusted(client, hops), false, secure
}

// ClientAddr is the address a request came from, behind the trusted proxies; invalid where there is none. It is for handlers beside the
// API, so that all of the server has one opinion of who is who.
func (a *API) ClientAddr(r *http.Request) netip.Addr {
	client, _, _ := a.origination(r)
	return client
}

// lastUntrusted walks the chain from the nearest hop outwards. Each trusted proxy vouches for the one entry it appended; what lies
// beyond the first address that is not trusted, or cannot be read, is hearsay.
func (a *API) lastUntrusted(client netip.Addr, hops []string) netip.Addr {
	chain := strings.Split(strings.Join(hops, ","), ",")
	for i := len(chain) - 1; i >= 0 && a.trusts(client); i-- {
		next, err := parseHop(chain[i])
		if err != nil {
			break
		}
		client = next
	}
	return client
}

// parseHop reads one entry: an address, in brackets or with a port as some proxies write it.
func parseHop(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return withPort.Addr().Unmap().WithZone(""), nil
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return addr.Unmap().WithZone(""), err
}

func (a *API) trusts(addr netip.Addr) bool {
	for _, prefix := range a.cfg.TrustedProxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
