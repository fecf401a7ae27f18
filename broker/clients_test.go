package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os/exec"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/ingest"
	state "sensorcast/session"
)

// committer is an intake that commits at once from a goroutine of its own, as ingest does.
type committer struct {
	in   chan ingest.Receipt
	done chan struct{}
}

func newCommitter() *committer {
	c := &committer{in: make(chan ingest.Receipt, 1<<16), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for r := range c.in {
			r.Committed(nil)
		}
	}()
	return c
}

func (c *committer) Accept(_ ingest.Message, r ingest.Receipt) error {
	if r != nil {
		c.in <- r
	}
	return nil
}

func (c *committer) Enter(*ingest.Burst) error { return nil }

func (c *committer) Malformed(int64, string) {}

func (c *committer) Journal(_ []state.Change, r ingest.Receipt) error {
	return c.Accept(ingest.Message{}, r)
}

func (c *committer) Refused(int64, string) {}

func (c *committer) close() { close(c.in); <-c.done }

func TestPaho_PublishesAndSubscribes(t *testing.T) {
	h := start(t, autoIntake())
	connect := func(id, user, pass string) paho.Client {
		c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + h.addr).SetClientID(id).SetUsername(user).SetPassword(pass).SetAutoReconnect(false))
		done(t, c.Connect())
		t.Cleanup(func() { c.Disconnect(0) })
		return c
	}
	const all = 300
	var mu sync.Mutex
	got := map[string]int{}
	full := make(chan struct{})
	ann := connect("viewer", "ann", "pw")
	done(t, ann.Subscribe("sensors/+/telemetry", 2, func(_ paho.Client, m paho.Message) {
		mu.Lock()
		defer mu.Unlock()
		got[string(m.Payload())]++
		if len(got) == all {
			close(full)
		}
	}))
	sensor := connect("sensor", "A", secretOf("A"))
	var tokens []paho.Token
	for i := range all {
		tokens = append(tokens, sensor.Publish("sensors/A/telemetry", byte(i%3), false, fmt.Sprint(i)))
	}
	for _, tok := range tokens {
		done(t, tok)
	}
	select {
	case <-full:
	case <-time.After(patience):
		t.Fatalf("got %d of %d messages", len(got), all)
	}
	if n := len(h.in.accepted()); n != all {
		t.Errorf("got %d handed over, want %d", n, all)
	}
}

func done(t *testing.T, tok paho.Token) {
	t.Helper()
	if !tok.WaitTimeout(patience) {
		t.Fatal("timed out")
	}
	if err := tok.Error(); err != nil {
		t.Fatal(err)
	}
}

func TestTLS_WorksAndItsHandshakeIsBounded(t *testing.T) {
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	defer web.Close()
	h := newHouse(t, autoIntake(), func(_ *house, cfg *Config) { cfg.ConnectTimeout = 300 * time.Millisecond })
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.ServeTLS(plain, web.TLS) }()
	mute, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()

	c := paho.NewClient(paho.NewClientOptions().AddBroker("ssl://" + plain.Addr().String()).SetClientID("x").SetUsername("A").SetPassword(secretOf("A")).
		SetTLSConfig(&tls.Config{InsecureSkipVerify: true}).SetAutoReconnect(false))
	done(t, c.Connect())
	var tokens []paho.Token
	for i := range 100 {
		tokens = append(tokens, c.Publish("sensors/A/telemetry", 1, false, fmt.Sprint(i)))
	}
	for _, tok := range tokens {
		done(t, tok)
	}
	mute.SetReadDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(mute); err != nil || len(b) > 0 {
		t.Errorf("silent handshake: got %d bytes, %v, want the end", len(b), err)
	}
	c.Disconnect(10)
	h.close(t)
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// Whatever the cuts, large reads and small, every message is handed over once, in order, and acknowledged in order.
func TestConn_CutsDoNotMatter(t *testing.T) {
	h := start(t, autoIntake())
	for round := range 20 {
		random := rand.New(rand.NewPCG(1, uint64(round)))
		serial := []string{"A", "B", "C"}[round%3]
		p := h.login(t, serial)
		before := len(h.in.accepted())
		const all = 200
		var stream []byte
		var want []string
		for id := uint16(1); id <= all; id++ {
			payload := fmt.Sprintf("%d.%d.%0*d", round, id, 1+random.IntN([]int{10, 600, 5000}[round%3]), 0)
			want = append(want, payload)
			stream = append(stream, encode(publish("sensors/"+serial+"/telemetry", payload, 1, id))...)
		}
		go func() {
			for len(stream) > 0 {
				n := min(1+random.IntN([]int{3, 700, 70_000}[random.IntN(3)]), len(stream))
				if _, err := p.c.Write(stream[:n]); err != nil {
					return
				}
				stream = stream[n:]
			}
		}()
		for id := uint16(1); id <= all; id++ {
			if got := p.want(packets.Puback).PacketID; got != id {
				t.Fatalf("round %d: got PUBACK %d, want %d", round, got, id)
			}
		}
		got := h.in.accepted()[before:]
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("round %d: message %d differs", round, i)
			}
		}
		p.c.Close()
	}
}

// FuzzConn_AnyBytes sends hostile bytes after a good login, in two pieces; the server must survive, and close or answer a ping.
func FuzzConn_AnyBytes(f *testing.F) {
	for _, pk := range []packets.Packet{
		publish("sensors/A/telemetry", "1", 2, 1), publish("sensors/A/telemetry", "1", 0, 0), subscribe(1, 1, "sensors/A/#"), ack(packets.Pubrel, 1), ack(packets.Puback, 1),
		{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}}, {FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}, connectPacket("A", "x"),
	} {
		for _, v := range []byte{4, 5} {
			pk.ProtocolVersion = v
			f.Add(v, encode(pk), uint16(3))
		}
	}
	f.Add(byte(5), []byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}, uint16(0))
	h := start(f, autoIntake())
	control := h.login(f, "B")
	f.Fuzz(func(t *testing.T, version byte, in []byte, cut uint16) {
		p := h.login(t, "A", func(pk *packets.Packet) { pk.ProtocolVersion = 4 + version&1 })
		n := min(int(cut), len(in))
		p.c.Write(in[:n])
		p.c.Write(in[n:])
		p.c.(*net.TCPConn).CloseWrite()
		p.c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, p.c); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatal("connection hangs")
			}
		}
		control.t = t
		control.wantAlive()
	})
}

var (
	_ Intake          = (*ingest.Pipe)(nil)
	_ ingest.Observer = (*Broker)(nil)
	_ auth.Watcher    = (*Broker)(nil)
)

// The tool everybody debugs with.
func TestMosquitto_JustWorks(t *testing.T) {
	for _, tool := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v; install it with: sudo apt-get install mosquitto-clients", err)
		}
	}
	h := start(t, autoIntake())
	host, port, _ := net.SplitHostPort(h.addr)
	for _, version := range []string{"mqttv311", "mqttv5"} {
		args := func(id, user, pass string, more ...string) []string {
			return append([]string{"-h", host, "-p", port, "-V", version, "-i", id, "-u", user, "-P", pass}, more...)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		sub := exec.CommandContext(ctx, "mosquitto_sub", args("sub", "ann", "pw", "-q", "2", "-t", "sensors/+/telemetry", "-t", "sensors/C/telemetry", "-v", "-C", "3")...)
		var out bytes.Buffer
		sub.Stdout = &out
		if err := sub.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "mosquitto_sub subscribes", func() bool { return h.Stats().Subscriptions == 1 })
		for qos := range 3 {
			pub := exec.CommandContext(ctx, "mosquitto_pub", args("pub", "A", secretOf("A"), "-q", fmt.Sprint(qos), "-t", "sensors/A/telemetry", "-m", fmt.Sprint(qos))...)
			if b, err := pub.CombinedOutput(); err != nil {
				t.Fatalf("%s, QoS %d: %v: %s", version, qos, err, b)
			}
		}
		if err := sub.Wait(); err != nil {
			t.Errorf("%s: mosquitto_sub: %v", version, err)
		}
		if got, want := out.String(), "sensors/A/telemetry 0\nsensors/A/telemetry 1\nsensors/A/telemetry 2\n"; got != want {
			t.Errorf("%s: got %q, want %q", version, got, want)
		}
		eventually(t, "mosquitto_sub is gone", func() bool { return h.Stats().Subscriptions == 0 })
	}
}
