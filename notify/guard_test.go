package notify

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

func TestIsPublic_KnowsWhatOnlyLooksLikeIt(t *testing.T) {
	for _, public := range []string{
		"1.1.1.1", "93.184.216.34", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "169.253.0.1", "192.0.1.1",
		"223.255.255.254", "2606:4700:4700::1111", "2a00:1450:4001::1", "2620:fe::fe", "::ffff:8.8.8.8",
	} {
		if !isPublic(netip.MustParseAddr(public)) {
			t.Errorf("%s is public", public)
		}
	}
	for _, private := range []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
		"100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
		"2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1", "2001:db8::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "3fff::1",
	} {
		if isPublic(netip.MustParseAddr(private)) {
			t.Errorf("%s is not public", private)
		}
	}
}

func TestGuard_JudgesPortAndEncryptionToo(t *testing.T) {
	g := guard{allow: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24"), netip.MustParsePrefix("fd00::/8")}}
	plain := context.WithValue(t.Context(), inClear{}, true)
	for _, tc := range []struct {
		ctx     context.Context
		address string
		want    error
	}{
		{t.Context(), "93.184.216.34:443", nil},
		{t.Context(), "93.184.216.34:8443", nil},
		{t.Context(), "[2606:4700:4700::1111]:443", nil},
		{t.Context(), "93.184.216.34:25", errPort},
		{t.Context(), "93.184.216.34:22", errPort},
		{plain, "93.184.216.34:80", errPlain},
		{t.Context(), "10.0.0.1:443", errPrivate},
		{t.Context(), "[::ffff:10.0.0.1]:443", errPrivate},
		{t.Context(), "[fe80::1%lo]:443", errPrivate},
		{t.Context(), "nonsense", errPrivate},
		{plain, "192.168.7.9:25", nil}, // the operator's word
		{plain, "[::ffff:192.168.7.9]:80", nil},
		{plain, "[fd00::7]:80", nil},
		{plain, "192.168.8.9:80", errPrivate},
	} {
		if err := g.control(tc.ctx, "tcp", tc.address, nil); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: got %v, want %v", tc.address, err, tc.want)
		}
	}
}

// nameServer answers every question for an IPv4 address with the next of addrs, over and over, and IPv6 with nothing. It is DNS by hand:
// RFC 1035 §4.1.
func nameServer(t *testing.T, addrs ...[]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var asked atomic.Int64
	go func() { // ends when the socket is closed
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			end := 12
			for end < n && b[end] != 0 {
				end += int(b[end]) + 1
			}
			question := b[12 : end+5]
			answer := append([]byte{b[0], b[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
			if binary.BigEndian.Uint16(b[end+1:]) == 1 { // A
				some := addrs[int(asked.Add(1)-1)%len(addrs)]
				answer[7] = byte(len(some))
				for _, a := range some {
					ip := netip.MustParseAddr(a).As4()
					answer = append(append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), ip[:]...)
				}
			}
			_, _ = conn.WriteTo(answer, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// Whatever a URL looks like, and whatever its name resolves to, nothing that is ours is reached.
func TestGuard_NoFormOfAnAddressLeadsInside(t *testing.T) {
	var reached atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(inside.Close)
	port := strconv.Itoa(inside.Listener.Addr().(*net.TCPAddr).Port)
	client := guard{resolver: nameServer(t, []string{"127.0.0.1"})}.client()
	hosts := []string{
		"127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "127.127.127.127", "0", "0.0.0.0", "2130706433", "017700000001",
		"0x7f000001", "0x7f.0x0.0x0.0x1", "0x7F.1", "0177.0.0.1", "0177.1", "127.0.0.1.", "127.000.000.001", "00000177.0.0.1", "[::1]", "[::]",
		"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[0000::1]", "[0:0:0:0:0:0:0:1]", "[::1%25lo]", "[64:ff9b::7f00:1]",
		"[2002:7f00:1::]", "[2001:0:7f00:1::]", "localtest.me", "127.0.0.1.nip.io", "www.127-0-0-1.sslip.io", "rebind.example", "user@127.0.0.1",
		"user:pw@127.0.0.1", "93.184.216.34@127.0.0.1", "example.com:80@127.0.0.1", "127。0。0。1", "①②⑦.⓪.⓪.①", "ⓛocalhost", "127.0.0.1%2f", "127.0.0.1%00",
		"169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "100.100.100.200", "168.63.129.16", "192.168.0.1", "10.0.0.1", "172.16.0.1", "[fe80::1%25eth0]",
		"[fc00::1]", "224.0.0.1", "255.255.255.255", "198.18.0.1", "spoofed.example\\@127.0.0.1", "127.0.0.1\t", "127.0.0.1#@example.com", "127.0.0.1?@example.com",
	}
	if len(hosts) < 60 {
		t.Fatalf("only %d forms", len(hosts))
	}
	for _, scheme := range []string{"http", "https"} {
		for _, host := range hosts {
			before, fragment, _ := strings.Cut(host, "#")
			address := scheme + "://" + before + ":" + port + "/hook"
			if fragment != "" {
				address += "#" + fragment
			}
			got, err := parseTarget(Webhook, address)
			if err != nil {
				continue // refused before it is stored
			}
			r, err := http.NewRequestWithContext(inPlain(t.Context(), got.webhook), http.MethodPost, got.webhook, http.NoBody)
			if err != nil {
				continue
			}
			if resp, err := client.Do(r); err == nil {
				resp.Body.Close()
				t.Errorf("%s: connected", address)
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("what is inside was reached %d times", n)
	}
	open := guard{allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, resolver: nameServer(t, []string{"127.0.0.1"})}.client()
	resp, err := open.Post("http://rebind.example:"+port, "", http.NoBody)
	if err != nil || reached.Load() != 1 {
		t.Fatalf("the operator's exception: got %v, reached %d; the test sees nothing", err, reached.Load())
	}
	resp.Body.Close()
}

// A name server that answers with a public address when it is asked first, and with one of ours after, gains nothing.
func TestGuard_IsNotFooledByRebinding(t *testing.T) {
	var reached atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(inside.Close)
	port := strconv.Itoa(inside.Listener.Addr().(*net.TCPAddr).Port)
	for name, answers := range map[string][][]string{
		"turns":    {{"10.9.8.7"}, {"127.0.0.1"}},
		"both":     {{"10.9.8.7", "127.0.0.1"}},
		"repeated": {{"127.0.0.1", "127.0.0.1", "127.0.0.1"}},
	} {
		client := guard{resolver: nameServer(t, answers...)}.client()
		for range 4 {
			_, err := client.Post("https://rebind.example:"+port, "", http.NoBody)
			if !errors.Is(err, errPrivate) {
				t.Errorf("%s: got %v, want %v", name, err, errPrivate)
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("what is inside was reached %d times", n)
	}
}
