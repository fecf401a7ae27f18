package broker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/ingest"
	state "sensorcast/session"
	"sensorcast/telemetry"
	"sensorcast/wire"
)

const patience = 10 * time.Second // how long a test waits for what must come

// intake is a store-less ingest.Pipe whose commits the test makes.
type intake struct {
	accept  func(m ingest.Message) error // nil: takes everything
	auto    bool                         // commit at once
	journal func([]state.Change) error   // nil: takes everything

	mu       sync.Mutex
	cond     *sync.Cond
	messages []ingest.Message
	receipts []ingest.Receipt
	changes  []state.Change
	held     bool // changes are committed by the test
	refused  []string
}

func newIntake() *intake {
	in := &intake{}
	in.cond = sync.NewCond(&in.mu)
	return in
}

func autoIntake() *intake {
	in := newIntake()
	in.auto = true
	return in
}

func (in *intake) Accept(m ingest.Message, r ingest.Receipt) error {
	if in.accept != nil {
		if err := in.accept(m); err != nil {
			return err
		}
	}
	in.mu.Lock()
	m.Payload = bytes.Clone(m.Payload)
	in.messages = append(in.messages, m)
	if r != nil && !in.auto {
		in.receipts = append(in.receipts, r)
	}
	in.cond.Broadcast()
	in.mu.Unlock()
	if r != nil && in.auto {
		r.Committed(nil)
	}
	return nil
}

// Enter takes the readings of a burst as messages of their own.
func (in *intake) Enter(b *ingest.Burst) error {
	for _, r := range b.Readings() {
		if err := in.Accept(ingest.Message{SensorID: r.SensorID, Serial: r.Serial, Payload: r.Data, At: r.ReceivedAt, Shed: true, Via: r.Via}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (in *intake) Malformed(int64, string) {}

// Journal takes changes. Where no message's fate is open they are committed at once.
func (in *intake) Journal(changes []state.Change, r ingest.Receipt) error {
	if in.journal != nil {
		if err := in.journal(changes); err != nil {
			return err
		}
	}
	in.mu.Lock()
	in.changes = append(in.changes, changes...)
	auto := in.auto || len(in.receipts) == 0 && !in.held
	if r != nil && !auto {
		in.receipts = append(in.receipts, r)
	}
	in.cond.Broadcast()
	in.mu.Unlock()
	if r != nil && auto {
		r.Committed(nil)
	}
	return nil
}

func (in *intake) Refused(_ int64, reason string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.refused = append(in.refused, reason)
}

// hold leaves the commits of changes to the test, and release ends that.
func (in *intake) hold() { in.mu.Lock(); in.held = true; in.mu.Unlock() }

func (in *intake) release(t testing.TB) {
	in.mu.Lock()
	in.held = false
	n := len(in.receipts)
	in.mu.Unlock()
	in.commit(n, nil)
}

func (in *intake) journaled() []state.Change {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.changes)
}

// commit decides the fate of the n oldest messages that have none.
func (in *intake) commit(n int, err error) {
	in.mu.Lock()
	rs := in.receipts[:n]
	in.receipts = in.receipts[n:]
	in.mu.Unlock()
	for _, r := range rs {
		r.Committed(err)
	}
}

// await waits until n messages were accepted in all.
func (in *intake) await(t testing.TB, n int) {
	t.Helper()
	timer := time.AfterFunc(patience, in.cond.Broadcast)
	defer timer.Stop()
	deadline := time.Now().Add(patience)
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.messages) < n {
		if !time.Now().Before(deadline) {
			t.Fatalf("got %d messages, want %d", len(in.messages), n)
		}
		in.cond.Wait()
	}
}

func (in *intake) accepted() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var s []string
	for _, m := range in.messages {
		s = append(s, string(m.Payload))
	}
	return s
}

func (in *intake) reasons() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]string(nil), in.refused...)
}

// people is a fake of auth.Service's part: passwords in a map, and a switch for Live.
type people struct {
	dir      *auth.Directory
	password func(login, password string) (auth.Principal, error)
	dead     func(p auth.Principal) bool
}

func (p *people) Password(_ context.Context, login, password string, _ netip.Addr) (auth.Principal, error) {
	if p.password == nil {
		return auth.Principal{}, telemetry.ErrUnauthenticated
	}
	return p.password(login, password)
}

func (p *people) Live(who auth.Principal) bool { return p.dead == nil || !p.dead(who) }

// Bearer finds no API token: who has one is not Live either.
func (p *people) Bearer(int64, string) (auth.Principal, bool) { return auth.Principal{}, false }

// house is a running broker with sensors A, B (owner 1) and C (owner 2), each with the secret "secret-of-X", and people ann (1,
// admin) and bob (2).
type house struct {
	*Broker
	in     *intake
	people *people
	auth   identities      // in place of people
	known  *auth.Directory // in place of the one with A, B and C
	addr   string
	log    *logBuffer
	pool   *wire.Pool
	outbox *outbox
	told   States          // nil: no statuses
	porter Strangers       // nil: strangers are not reported
	kept   *state.Snapshot // what to start with
}

func secretOf(serial string) string { return "secret-of-" + serial }

// passwordOf is a sensor's secret or a person's password.
func passwordOf(user string) string {
	if len(user) == 1 {
		return secretOf(user)
	}
	return "pw"
}

func sensorID(serial string) int64 { return int64(serial[0]) }

type option func(*house, *Config)

func newHouse(t testing.TB, in *intake, opts ...option) *house {
	t.Helper()
	keys, err := auth.LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := auth.NewDirectory(keys)
	for serial, owner := range map[string]int64{"A": 1, "B": 1, "C": 2} {
		dir.Put(auth.Device{SensorID: sensorID(serial), Serial: serial, OwnerID: owner, Secrets: []auth.Secret{{Hash: dir.HashSecret(secretOf(serial))}}})
	}
	h := &house{in: in, log: &logBuffer{}, pool: wire.NewPool(2, 0)}
	h.people = &people{dir: dir, password: func(login, password string) (auth.Principal, error) {
		switch {
		case login == "ann" && password == "pw":
			return auth.Principal{Kind: auth.Person, UserID: 1, Username: "ann", Role: auth.RoleAdmin}, nil
		case login == "bob" && password == "pw":
			return auth.Principal{Kind: auth.Person, UserID: 2, Username: "bob", Role: auth.RoleUser}, nil
		}
		return auth.Principal{}, telemetry.ErrUnauthenticated
	}}
	var cfg Config
	for _, o := range opts {
		o(h, &cfg)
	}
	var service identities = h.people
	if h.auth != nil {
		service, dir = h.auth, h.known
	}
	if h.outbox == nil {
		h.outbox = &outbox{}
	}
	b, err := newBroker(cfg, service, Deps{Directory: dir, Intake: in, Commands: h.outbox, States: h.told, Strangers: h.porter, Pool: h.pool}, slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	h.Broker = b
	if h.kept != nil {
		b.Restore(*h.kept, dir.Serials())
	}
	b.Start()
	return h
}

// start is newHouse with a listener, closed with the test.
func start(t testing.TB, in *intake, opts ...option) *house {
	t.Helper()
	h := newHouse(t, in, opts...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	t.Cleanup(func() {
		h.close(t)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return h
}

func (h *house) close(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	h.pool.Close()
}

// say publishes as the server does.
func (h *house) say(topic, payload string) {
	h.publish(&state.Message{Topic: topic, Payload: []byte(payload)})
}

// logBuffer keeps the log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// peer is a hand-driven MQTT client.
type peer struct {
	early   []packets.Packet // deliveries that came before the SUBACK somebody waited for
	t       testing.TB
	c       net.Conn
	r       *bufio.Reader
	version byte
}

func (h *house) dial(t testing.TB) *peer {
	t.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{t: t, c: c, r: bufio.NewReader(c), version: 4}
}

type connectOption func(*packets.Packet)

func v5(pk *packets.Packet) { pk.ProtocolVersion = 5 }
func persistently(pk *packets.Packet) {
	pk.Connect.Clean = false
	if pk.ProtocolVersion == 5 {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
	}
}

func clientID(id string) connectOption {
	return func(pk *packets.Packet) { pk.Connect.ClientIdentifier = id }
}

func will(topic, payload string, retain bool) connectOption {
	return func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillRetain = true, topic, []byte(payload), retain
	}
}

func connectPacket(user, pass string, opts ...connectOption) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: 4}
	pk.Connect.ProtocolName = []byte("MQTT")
	pk.Connect.Clean = true
	pk.Connect.Keepalive = 60
	pk.Connect.ClientIdentifier = "client"
	if user != "" {
		pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte(user)
	}
	if pass != "" {
		pk.Connect.PasswordFlag, pk.Connect.Password = true, []byte(pass)
	}
	for _, o := range opts {
		o(&pk)
	}
	return pk
}

// connect sends CONNECT and returns the CONNACK.
func (p *peer) connect(user, pass string, opts ...connectOption) packets.Packet {
	p.t.Helper()
	pk := connectPacket(user, pass, opts...)
	p.version = pk.ProtocolVersion
	p.send(pk)
	return p.want(packets.Connack)
}

// login connects and insists on success.
func (h *house) login(t testing.TB, user string, opts ...connectOption) *peer {
	t.Helper()
	p := h.dial(t)
	if ack := p.connect(user, passwordOf(user), opts...); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK of %s: got code %#x, want 0", user, ack.ReasonCode)
	}
	return p
}

func encode(pk packets.Packet) []byte {
	var b bytes.Buffer
	var err error
	pk.Mods.AllowResponseInfo = true
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&b)
	case packets.Publish:
		err = pk.PublishEncode(&b)
	case packets.Puback:
		err = pk.PubackEncode(&b)
	case packets.Pubrec:
		err = pk.PubrecEncode(&b)
	case packets.Pubrel:
		err = pk.PubrelEncode(&b)
	case packets.Pubcomp:
		err = pk.PubcompEncode(&b)
	case packets.Subscribe:
		err = pk.SubscribeEncode(&b)
	case packets.Unsubscribe:
		err = pk.UnsubscribeEncode(&b)
	case packets.Pingreq:
		err = pk.PingreqEncode(&b)
	case packets.Disconnect:
		err = pk.DisconnectEncode(&b)
	default:
		err = fmt.Errorf("no encoding for type %d", pk.FixedHeader.Type)
	}
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

func (p *peer) send(pks ...packets.Packet) {
	p.t.Helper()
	var b []byte
	for _, pk := range pks {
		pk.ProtocolVersion = p.version
		b = append(b, encode(pk)...)
	}
	p.raw(b)
}

func (p *peer) raw(b []byte) {
	p.t.Helper()
	if _, err := p.c.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// next returns the next packet.
func (p *peer) next() (packets.Packet, error) {
	if len(p.early) > 0 {
		pk := p.early[0]
		p.early = p.early[1:]
		return pk, nil
	}
	return p.read()
}

func (p *peer) read() (packets.Packet, error) {
	p.c.SetReadDeadline(time.Now().Add(patience))
	pk := packets.Packet{ProtocolVersion: p.version}
	first, err := p.r.ReadByte()
	if err != nil {
		return pk, err
	}
	pk.FixedHeader.Type = first >> 4 // not Decode: it refuses what only clients may receive
	pk.FixedHeader.Qos, pk.FixedHeader.Retain, pk.FixedHeader.Dup = first>>1&3, first&1 == 1, first&8 != 0
	if pk.FixedHeader.Remaining, _, err = packets.DecodeLength(p.r); err != nil {
		return pk, err
	}
	body := make([]byte, pk.FixedHeader.Remaining)
	if _, err = io.ReadFull(p.r, body); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubrel:
		err = pk.PubrelDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	}
	return pk, err
}

// want takes one packet and insists on its type. Deliveries may come before the SUBACK of their subscription (MQTT 5.0 §3.8.4), which waits for
// its commit; they are kept for later.
func (p *peer) want(kind byte) packets.Packet {
	p.t.Helper()
	pk, err := p.next()
	for kind == packets.Suback && err == nil && pk.FixedHeader.Type == packets.Publish {
		p.early = append(p.early, pk)
		pk, err = p.read()
	}
	if err != nil {
		p.t.Fatalf("got %v, want %s", err, packets.PacketNames[kind])
	}
	if pk.FixedHeader.Type != kind {
		p.t.Fatalf("got %s (code %#x, topic %q), want %s", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode, pk.TopicName, packets.PacketNames[kind])
	}
	return pk
}

// wantEnd insists that the server closes, sending nothing more.
func (p *peer) wantEnd() {
	p.t.Helper()
	pk, err := p.next()
	if err == nil {
		p.t.Fatalf("got %s (code %#x), want the end of the connection", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		p.t.Fatalf("connection is still open")
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		p.t.Fatalf("connection is still open")
	}
}

// wantAlive insists that the server answers a ping, and that nothing else was sent before.
func (p *peer) wantAlive() {
	p.t.Helper()
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	p.want(packets.Pingresp)
}

func publish(topic, payload string, qos byte, id uint16) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, TopicName: topic, Payload: []byte(payload), PacketID: id}
}

func retain(pk packets.Packet) packets.Packet {
	pk.FixedHeader.Retain = true
	return pk
}

func subscribe(id uint16, qos byte, filters ...string) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: id}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: qos})
	}
	return pk
}

// subscribe subscribes and returns the codes.
func (p *peer) subscribe(qos byte, filters ...string) []byte {
	p.t.Helper()
	p.send(subscribe(7, qos, filters...))
	return p.want(packets.Suback).ReasonCodes
}

func ack(kind byte, id uint16) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id}
	if kind == packets.Pubrel {
		pk.FixedHeader.Qos = 1
	}
	return pk
}

// eventually polls for what has no event to wait for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}
