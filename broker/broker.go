// Package broker is the MQTT front door: it lets sensors and people in, hands telemetry to package ingest, holds acknowledgements back
// until the store has committed, and serves MQTT subscribers what they may see.
//
//	socket ─► listener ─► conn: frames ─► handle ─► publish ───────────────► ingest
//	                                        │          └─► fanOut ─► session    │ journal
//	                                        └─► subscribe, delivery ─► session ─┘
//	socket ◄─ wire.Pool ◄──── gate ◄──────────────────────── session            │
//	                           ▲────────────────────────────── Committed ───────┘
//
// Protocol and sessions are this package's; the index of subscriptions and the encoding of the rarer packets are mochi-mqtt's, whose
// own server must not be exposed (docs/adr/0008).
//
// Invariants:
//   - A PUBACK or PUBREC for accepted telemetry leaves after its commit, in order; nothing a connection writes later overtakes it. So do
//     SUBACK, PUBREL and PUBCOMP after that of the changes they stand for.
//   - One connection at a time holds a session, from its authentication until its goroutine has ended and every message it handed
//     over has met its fate. Session ids are scoped to the principal, so two principals never meet in one.
//   - Nothing that writes to a client waits for its socket, so no subscriber holds up a publisher.
//   - A delivery is checked against the policy as it stands at that moment; a queued one again when it is sent.
//   - Deliveries of QoS 1 and 2 to one client keep their order, whether it is there or away.
//
// Locks: session.mu guards a session and may be held while conn.mu, which guards one connection's outbound queue, is taken. Apart from
// these two, none is held while another is taken: sessions.mu for the table, retained.mu, pending.mu and vestibule.mu for their counts, refusals.mu and departures.mu for
// what is remembered of sensors, news.mu for the
// statuses to be published, Broker.mu for the set of open connections and listeners. None is held while a socket, the store or the pipe is called.
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

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/auth"
	"sensorcast/ingest"
	state "sensorcast/session"
	"sensorcast/telemetry"
	"sensorcast/wire"
)

// Config bounds the front door. Zero fields take the defaults.
type Config struct {
	MaxPayload           int           // bytes of one payload; default 65,536
	ConnectTimeout       time.Duration // for a TLS handshake and the first packet together; default 10 s
	MaxClients           int           // connections logged in at once; default 100,000
	MaxPending           int           // connections not logged in yet; default 16,384
	MaxPendingPerAddress int           // of one address (IPv6: /64) other than loopback; default 256
	MaxSessions          int           // of one principal, connected or kept for it; default 100
	MaxFilters           int           // subscriptions of one client; default 1,000
	MaxRetainedBytes     int           // of all retained payloads; default 64 MiB
	MaxQueued            int           // deliveries one session has waiting or unacknowledged; default 10,000, at most 30,000
	MaxQueuedBytes       int           // and their payloads; default 4 MiB
	// PeerSerial names the sensor whose verified client certificate a connection has; nil: none ever has.
	PeerSerial    func(net.Conn) (serial string, ok bool)
	PublishRate   int           // messages a second one connection may publish, over it it is read no faster; 0: any
	PublishBytes  int           // the same in bytes of PUBLISH packets, but for their fixed headers
	SessionExpiry time.Duration // sessions of absent clients are kept at most this long; default 7 days
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.MaxPayload, 64 << 10},
		{&c.MaxClients, 100_000},
		{&c.MaxPending, 16_384},
		{&c.MaxPendingPerAddress, 256},
		{&c.MaxSessions, 100},
		{&c.MaxFilters, 1000},
		{&c.MaxRetainedBytes, 64 << 20},
		{&c.MaxQueued, 10_000},
		{&c.MaxQueuedBytes, 4 << 20},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	c.MaxQueued = min(c.MaxQueued, 30_000) // there are 65,535 packet ids
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
	// Enter takes all messages of a burst, as ingest.Pipe.Enter does. It never blocks.
	Enter(b *ingest.Burst) error
	// Malformed counts a message of a burst that could not be read.
	Malformed(sensorID int64, reason string)
	// Journal commits what changes in sessions, as ingest.Pipe.Journal does. It may block.
	Journal(changes []state.Change, r ingest.Receipt) error
	// Refused counts a publish or subscription outside the sensor's own topics.
	Refused(sensorID int64, reason string)
}

// identities proves who people are; *auth.Service is one.
type identities interface {
	passwords
	Live(p auth.Principal) bool
	// Bearer is who comes with an API token, as it is now; false when it opens nothing any more.
	Bearer(userID int64, tokenID string) (auth.Principal, bool)
}

// Broker is the front door. Its methods are safe for concurrent use.
type Broker struct {
	cfg        Config
	service    identities
	dir        *auth.Directory
	pipe       Intake
	commands   Commands
	states     States
	strangers  Strangers
	pool       *wire.Pool
	log        *slog.Logger
	index      index
	sessions   *sessions
	retained   *retained
	pending    *pending
	entrance   *vestibule
	refusals   *refusals
	departures departures
	relay      chan relayed
	news       *news
	stop       chan struct{} // closed by Close
	started    time.Time
	seats      atomic.Int64 // clients logged in
	counters   counters

	wg sync.WaitGroup // accept loops, connections, relay, sweeper

	mu        sync.Mutex
	conns     map[*conn]struct{}        // guarded by mu: every open connection
	listeners map[net.Listener]struct{} // guarded by mu
	closing   atomic.Bool               // set under mu
}

// Deps is what the front door stands on.
type Deps struct {
	Auth      *auth.Service
	Directory *auth.Directory
	Intake    Intake
	Commands  Commands
	States    States    // nil: there are no statuses
	Strangers Strangers // nil: nobody wants to know of them
	Pool      *wire.Pool
}

// New makes the front door. Call Start, then Serve for each listener; Close ends both.
func New(cfg Config, deps Deps, log *slog.Logger) (*Broker, error) {
	return newBroker(cfg, deps.Auth, deps, log)
}

func newBroker(cfg Config, service identities, deps Deps, log *slog.Logger) (*Broker, error) {
	cfg = cfg.withDefaults()
	if cfg.MaxPayload > math.MaxInt32/8 {
		return nil, telemetry.Invalid("max_payload", "must be at most %d bytes", math.MaxInt32/8)
	}
	b := &Broker{
		cfg:        cfg,
		service:    service,
		dir:        deps.Directory,
		pipe:       deps.Intake,
		commands:   deps.Commands,
		states:     deps.States,
		strangers:  deps.Strangers,
		pool:       deps.Pool,
		log:        log.With("component", "broker"),
		index:      newIndex(),
		started:    time.Now(),
		sessions:   newSessions(cfg.MaxSessions),
		retained:   newRetained(int64(cfg.MaxRetainedBytes)),
		pending:    newPending(cfg.MaxPending, cfg.MaxPendingPerAddress),
		entrance:   newVestibule(),
		refusals:   newRefusals(),
		departures: departures{last: map[string]telemetry.Departure{}},
		relay:      make(chan relayed, relayQueue),
		news:       newNews(),
		stop:       make(chan struct{}),
		conns:      map[*conn]struct{}{},
		listeners:  map[net.Listener]struct{}{},
	}
	return b, nil
}

// Start begins the housekeeping. It does not block.
func (b *Broker) Start() {
	b.wg.Go(b.relayReadings) // ends when stop closes
	b.wg.Go(b.publishNews)   // ends when stop closes
	b.wg.Go(b.sweep)         // ends when stop closes
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
	go func() { // ends with the last connection
		b.wg.Wait()
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
