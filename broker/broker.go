// Package broker is the MQTT front door: it lets sensors and people in, hands telemetry to package ingest, holds acknowledgements back
// until the store has committed, and serves MQTT subscribers what they may see.
//
//	socket ─► listener ─► conn (frames, gate) ─► mochi ─► hook: identity, access, guard, publish ─► ingest
//	socket ◄─ wire.Pool ◄──── gate ◄───────────── mochi                                                │
//	                           ▲────────────────────────────── Committed ──────────────────────────────┘
//
// The protocol itself is mochi-mqtt v2.7.9's, which must not be exposed bare: a logged-in client can end the process with eight bytes,
// a slow one can stop all publishers, and much else. Everything here contains it from outside, through the net.Conn it is given and the
// hooks it calls; TestDefect… name what is contained.
//
// Invariants:
//   - A PUBACK or PUBREC for accepted telemetry leaves after its commit, in order; nothing a connection writes later overtakes it.
//   - One connection at a time holds a session, from its authentication until its goroutine has ended and every message it handed
//     over has met its fate. Session ids are scoped to the principal, so two principals never meet in one.
//   - Nothing that writes to a client waits for its socket, so no subscriber holds up a publisher.
//   - A delivery is checked against the policy as it stands at that moment.
//
// Locks: conn.mu guards one connection's outbound queue, sessions.mu the table of sessions, retained.mu and pending.mu their counts,
// Broker.mu the set of open connections and listeners. None is held while another is taken or while mochi or a socket is called.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/telemetry"
	"sensorcast/wire"
)

// Config bounds the front door. Zero fields take the defaults.
type Config struct {
	MaxPayload           int           // bytes of one payload; default 65,536
	ConnectTimeout       time.Duration // for a TLS handshake and the first packet together; default 10 s
	MaxClients           int           // connections logged in at once; default 100,000
	MaxPending           int           // connections not logged in yet; default 4,096
	MaxPendingPerAddress int           // of one address (IPv6: /64) other than loopback; default 256
	MaxSessions          int           // of one principal, connected or kept for it; default 100
	MaxFilters           int           // subscriptions of one client; default 1,000
	MaxRetainedBytes     int           // of all retained payloads; default 64 MiB
	SessionExpiry        time.Duration // sessions of absent clients are kept at most this long; default 7 days
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.MaxPayload, 64 << 10},
		{&c.MaxClients, 100_000},
		{&c.MaxPending, 4096},
		{&c.MaxPendingPerAddress, 256},
		{&c.MaxSessions, 100},
		{&c.MaxFilters, 1000},
		{&c.MaxRetainedBytes, 64 << 20},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = 10 * time.Second
	}
	if c.SessionExpiry <= 0 {
		c.SessionExpiry = 7 * 24 * time.Hour
	}
	return c
}

// packetSlack is what a PUBLISH may need beside its payload: fixed header, topic, packet id and v5 properties.
const packetSlack = 4 << 10

// Intake is where telemetry goes; *ingest.Pipe is one.
type Intake interface {
	// Accept takes m, or says why not, as ingest.Pipe.Accept does. It may block: the connection is then not read.
	Accept(m ingest.Message, r ingest.Receipt) error
	// Refused counts a publish or subscription outside the sensor's own topics.
	Refused(sensorID int64, reason string)
}

// identities proves who people are; *auth.Service is one.
type identities interface {
	passwords
	Live(p auth.Principal) bool
}

// Broker is the front door. Its methods are safe for concurrent use.
type Broker struct {
	cfg      Config
	service  identities
	dir      *auth.Directory
	pipe     Intake
	pool     *wire.Pool
	log      *slog.Logger
	server   *mqtt.Server
	sessions *sessions
	retained *retained
	pending  *pending
	relay    chan relayed
	stop     chan struct{} // closed by Close
	counters counters

	wg sync.WaitGroup // accept loops, connections, relay, sweeper

	mu        sync.Mutex
	conns     map[*conn]struct{}        // guarded by mu: every open connection
	listeners map[net.Listener]struct{} // guarded by mu
	closing   atomic.Bool               // set under mu
}

// New makes the front door. Call Start, then Serve for each listener; Close ends both.
func New(cfg Config, service *auth.Service, dir *auth.Directory, pipe Intake, pool *wire.Pool, log *slog.Logger) (*Broker, error) {
	return newBroker(cfg, service, dir, pipe, pool, log)
}

func newBroker(cfg Config, service identities, dir *auth.Directory, pipe Intake, pool *wire.Pool, log *slog.Logger) (*Broker, error) {
	cfg = cfg.withDefaults()
	if cfg.MaxPayload > math.MaxInt32/8 {
		return nil, telemetry.Invalid("max_payload", "must be at most %d bytes", math.MaxInt32/8)
	}
	b := &Broker{
		cfg:       cfg,
		service:   service,
		dir:       dir,
		pipe:      pipe,
		pool:      pool,
		log:       log.With("component", "broker"),
		sessions:  newSessions(cfg.MaxSessions),
		retained:  newRetained(int64(cfg.MaxRetainedBytes)),
		pending:   newPending(cfg.MaxPending, cfg.MaxPendingPerAddress),
		relay:     make(chan relayed, relayQueue),
		stop:      make(chan struct{}),
		conns:     map[*conn]struct{}{},
		listeners: map[net.Listener]struct{}{},
	}
	b.server = mqtt.New(&mqtt.Options{
		Capabilities:             capabilities(cfg),
		ClientNetReadBufferSize:  readBuffer,
		ClientNetWriteBufferSize: 1, // mochi gathers nothing: one Write is one packet, and conn gathers
		Logger:                   slog.New(newQuiet(b.log.Handler())),
		SysTopicResendInterval:   30,
		InlineClient:             true,
	})
	if err := b.server.AddHook(&hook{b: b}, nil); err != nil {
		return nil, fmt.Errorf("add hook: %w", err)
	}
	return b, nil
}

func capabilities(cfg Config) *mqtt.Capabilities {
	c := mqtt.NewDefaultServerCapabilities() // a literal would leave features off
	c.MaximumClients = int64(cfg.MaxClients)
	c.MaximumMessageExpiryInterval = 0              // else retained messages vanish after a day and publishers' messages get an expiry
	c.MaximumSessionExpiryInterval = math.MaxUint32 // sessions expire here, in sweep: mochi's own expiry leaves subscriptions behind
	c.MaximumPacketSize = uint32(cfg.MaxPayload + packetSlack)
	c.MaximumClientWritesPending = deliveriesPending
	c.MaximumInflight = 1024
	c.ReceiveMaximum = receiveMaximum
	c.TopicAliasMaximum = 0 // mochi asks the policy before it resolves an alias
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	return c
}

// Start begins the housekeeping. It does not block.
func (b *Broker) Start() error {
	if err := b.server.Serve(); err != nil { // no listeners of its own: starts the event loop
		return fmt.Errorf("start mqtt: %w", err)
	}
	b.wg.Go(b.relayReadings) // ends when stop closes
	b.wg.Go(b.sweep)         // ends when stop closes
	return nil
}

// Close stops accepting and reading, sends what is owed (acknowledgements of what still commits, then DISCONNECT to v5 clients) and
// waits for every connection. The pipe must still be committing. When ctx ends first the sockets are cut and ctx's error is returned.
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	if b.closing.Swap(true) {
		b.mu.Unlock()
		return nil
	}
	var errs []error
	for l := range b.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close listener: %w", err))
		}
	}
	open := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		open = append(open, c)
	}
	b.mu.Unlock()
	close(b.stop)
	for _, c := range open {
		c.end(packets.ErrServerShuttingDown)
	}

	ended := make(chan struct{})
	go func() { // ends with the last connection; mochi waits for the same
		b.wg.Wait()
		errs = append(errs, b.server.Close())
		close(ended)
	}()
	select {
	case <-ended:
		return errors.Join(errs...)
	case <-ctx.Done():
		for _, c := range open {
			c.raw.Close()
		}
		return fmt.Errorf("close mqtt connections: %w", ctx.Err())
	}
}

// Connected reports whether the sensor has a connection.
func (b *Broker) Connected(serial string) bool { return b.sessions.connected(serial) }
