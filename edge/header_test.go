package edge

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pires/go-proxyproto"
)

// headerV2 is a version 2 header for a TCP client, with an extension of the given size.
func headerV2(t testing.TB, client string, extension int) []byte {
	t.Helper()
	addr, err := net.ResolveTCPAddr("tcp", client)
	if err != nil {
		t.Fatal(err)
	}
	dest := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1883}
	if addr.IP.To4() == nil {
		dest.IP = net.ParseIP("2001:db8::1")
	}
	h := proxyproto.HeaderProxyFromAddrs(2, addr, dest)
	if extension > 0 {
		if err := h.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, extension)}}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// local is the header of a connection the proxy makes for itself.
var local = append(slices.Clone(proxyproto.SIGV2), 0x20, 0, 0, 0)

func TestReadHeader_TakesTheHeaderAndNotAByteMore(t *testing.T) {
	longest := "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
	for name, c := range map[string]struct {
		header []byte
		want   string // the client's address; "": the proxy's own counts
	}{
		"v1 IPv4":            {[]byte("PROXY TCP4 203.0.113.7 192.0.2.1 51000 1883\r\n"), "203.0.113.7:51000"},
		"v1 IPv6":            {[]byte("PROXY TCP6 2001:db8::7 2001:db8::1 51000 1883\r\n"), "[2001:db8::7]:51000"},
		"v1 longest":         {[]byte(longest), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
		"v1 unknown":         {[]byte("PROXY UNKNOWN\r\n"), ""},
		"v1 unknown, filled": {[]byte("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), ""},
		"v2 IPv4":            {headerV2(t, "203.0.113.7:51000", 0), "203.0.113.7:51000"},
		"v2 IPv6":            {headerV2(t, "[2001:db8::7]:51000", 0), "[2001:db8::7]:51000"},
		"v2 with extensions": {headerV2(t, "203.0.113.7:51000", 3000), "203.0.113.7:51000"},
		"v2 local":           {local, ""},
	} {
		for _, after := range []string{"", "\r\n\r\nfirst bytes of the client"} {
			for kind, in := range map[string]func(io.Reader) io.Reader{"at once": func(r io.Reader) io.Reader { return r }, "in bytes": iotest.OneByteReader} {
				r := in(io.MultiReader(bytes.NewReader(c.header), strings.NewReader(after)))
				client, err := readHeader(r)
				got := ""
				if client != nil {
					got = client.String()
				}
				if err != nil || got != c.want {
					t.Errorf("%s, %s: got %q, %v; want %q", name, kind, got, err, c.want)
				}
				if rest, _ := io.ReadAll(r); string(rest) != after {
					t.Errorf("%s, %s: %q is left, want %q", name, kind, rest, after)
				}
			}
		}
	}
}

// hugeV2 announces more than anybody has to say.
var hugeV2 = append(slices.Clone(proxyproto.SIGV2), 0x20, 0x11, 0xff, 0xff)

func TestReadHeader_RefusesWhatIsNone(t *testing.T) {
	for name, text := range map[string][]byte{
		"an MQTT CONNECT":          []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"),
		"TLS":                      {0x16, 3, 1, 2, 0},
		"HTTP":                     []byte("GET / HTTP/1.1\r\n\r\n"),
		"PUT, which begins with P": []byte("PUT /telemetry HTTP/1.1\r\n"),
		"nothing":                  nil,
		"an endless line":          []byte("PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n"),
		"a wrong address":          []byte("PROXY TCP4 300.1.1.1 192.0.2.1 1 1\r\n"),
		"another family":           []byte("PROXY TCP4 2001:db8::7 2001:db8::1 1 1\r\n"),
		"a port too many":          []byte("PROXY TCP4 203.0.113.7 192.0.2.1 65536 1\r\n"),
		"a bare line feed":         []byte("PROXY TCP4 203.0.113.7 192.0.2.1 1 1\n" + strings.Repeat(" ", 100)),
		"a cut line":               []byte("PROXY TCP4 203.0.113.7"),
		"a broken signature":       []byte("\r\n\r\n\x00\r\nQUIT\r!\x11\x00\x0c"),
		"a huge length":            append(hugeV2, make([]byte, 0xffff)...),
		"a short length":           append(slices.Clone(proxyproto.SIGV2), 0x21, 0x11, 0, 4, 1, 2, 3, 4),
		"version 3":                append(slices.Clone(proxyproto.SIGV2), 0x31, 0x11, 0, 0),
		"cut addresses":            headerV2(t, "203.0.113.7:51000", 0)[:20],
	} {
		if client, err := readHeader(bytes.NewReader(text)); err == nil {
			t.Errorf("%s: got client %v, want an error", name, client)
		}
	}
}

// Whatever comes, reading ends within the header's bound, and what it took is one header: fed again alone it gives the same client.
func FuzzReadHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 192.0.2.1 51000 1883\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\n\r\n"))
	f.Add(headerV2(f, "203.0.113.7:51000", 3))
	f.Add(append(headerV2(f, "[2001:db8::7]:51000", 0), 0x10))
	f.Add(local)
	f.Add(append(hugeV2, make([]byte, 0xffff)...))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bytes.NewReader(text)
		client, err := readHeader(r)
		taken := len(text) - r.Len()
		if taken > prefixBytes+maxRestBytes {
			t.Fatalf("took %d bytes of %q", taken, text)
		}
		if err != nil {
			return
		}
		again, err := readHeader(bytes.NewReader(text[:taken]))
		if err != nil || (again == nil) != (client == nil) || again != nil && again.String() != client.String() {
			t.Fatalf("%q alone: got %v, %v; want %v", text[:taken], again, err, client)
		}
		if client != nil && client.IP.To16() == nil {
			t.Fatalf("%q: client %v has no address", text[:taken], client)
		}
	})
}
