package notify

import "net/netip"

// special are networks that look like others' and lead to nobody, to ourselves, or into a network of ours by another way: RFC 6890 and what
// came after it. IPv6 beyond 2000::/3 is refused as a whole: link-local, unique local, multicast, NAT64 (64:ff9b::/96), IPv4-compatible.
var special = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),    // carrier-grade NAT; some clouds' metadata
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's host, by a public address
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"), // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"), // and broadcast
	netip.MustParsePrefix("2001::/23"),   // Teredo, ORCHID, benchmarking
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4 wraps any IPv4 address
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
}

var unicast6 = netip.MustParsePrefix("2000::/3")

// isPublic reports whether addr is somebody's on the internet.
func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap() // ::ffff:127.0.0.1 is 127.0.0.1
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.Zone() != "" || addr.Is6() && !unicast6.Contains(addr) {
		return false
	}
	return !within(special[:], addr)
}

func within(networks []netip.Prefix, addr netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}
