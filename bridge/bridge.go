// Package bridge carries readings from MQTT to browsers: the hub, and one session for each open WebSocket or event stream.
//
//	ingest ──Observe──► Hub ─► room of the sensor ─► outbox of each session ─► wire ─► socket
//	GET /ws?ticket= ──► handshake ─► join (snapshot, registration, hello) ─► session, read when its socket has something to read
//	           &since= ──► replay (store, memory, registration) ──┘
//	GET /api/v1/events ──► Events ─► join ─► session, whose frames a transcript rewrites between outbox and wire
//	GET /mqtt ──► tunnel ─► carrier, a net.Conn for package broker, which the hub knows nothing more of
//
// Invariants:
//
//   - Nobody sees what is not theirs. A session holds a redeemed ticket; registration comes first and the check of authority after it,
//     so a change of authority at any moment either fails the check or finds the session registered and closes it.
//   - No gap and no duplicate between hello and live. The hub remembers the newest reading of every sensor since it started, because live
//     runs ahead of the store; the store is asked first, then, in one critical section, the session is registered and S, the last Seq
//     observed, is noted together with what is newest then. Whatever was read up to S is in the store's answer or in the hub's memory;
//     whatever comes after S goes through the session's outbox.
//   - No gap and no duplicate between connections. When a reading is sent, whatever lies below its seq has been sent or announced as left out
//     (see backlog); so the highest seq a viewer has read is where it goes on (see replay).
//   - A frame is encoded once, however many watch, and never changed.
//   - A session holds at most a bounded number of bytes. What does not fit is conflated: the newest reading of each sensor survives and
//     the gap is announced. One slow socket delays no other.
//   - After the upgrade nothing but package wire writes to a session's socket and nothing but its carrier to a tunnel's, so frames never interleave.
//     gorilla/websocket upgrades, and reads tunnels.
//
// Locks: Hub.mu guards rooms, membership and the indices of sessions; outbox.mu guards what waits for one socket. Hub.mu may be held when
// outbox.mu is taken, never the reverse. Both are held for memory operations only.
package bridge

import (
	"context"
	"time"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// Config sets the limits and intervals of the hub. Zero fields take the defaults.
type Config struct {
	// AllowedOrigins are the pages that may open a WebSocket beside the server's own: scheme, host and, unless it is the scheme's default,
	// port, such as "https://app.example.com". There are no wildcards.
	AllowedOrigins []string

	MaxSessions  int           // sockets open at once; default 50,000
	PingEvery    time.Duration // how often a peer is asked for a sign of life; default 25 s
	PeerTimeout  time.Duration // a peer that sent nothing for so long is taken for dead; default 60 s
	Lifetime     time.Duration // a session ends after this, give or take a fifth; default 12 h
	CloseTimeout time.Duration // what a closing handshake may take before the socket is closed without it; default 2 s

	Epoch   func() string // names the history in which Seq has its meaning; nil: empty
	LastSeq func() int64  // the end of the log when New is called; nil: zero

	// StateOf is the state of a sensor, by its number, as StateChanged tells it. It touches memory only. nil: no sensor is ever silent.
	StateOf func(sensorID int64) (telemetry.State, telemetry.Millis)
}

const (
	defaultMaxSessions  = 50_000
	defaultPingEvery    = 25 * time.Second
	defaultPeerTimeout  = 60 * time.Second
	defaultLifetime     = 12 * time.Hour
	defaultCloseTimeout = 2 * time.Second

	maxSensors = 20_000 // of one session: bounds its hello and what registering it costs everybody else
)

func (c Config) withDefaults() Config {
	if c.MaxSessions <= 0 {
		c.MaxSessions = defaultMaxSessions
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.PingEvery, defaultPingEvery},
		{&c.PeerTimeout, defaultPeerTimeout},
		{&c.Lifetime, defaultLifetime},
		{&c.CloseTimeout, defaultCloseTimeout},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Epoch == nil {
		c.Epoch = func() string { return "" }
	}
	if c.LastSeq == nil {
		c.LastSeq = func() int64 { return 0 }
	}
	return c
}

// Tickets turns tickets into claims; *auth.Service does.
type Tickets interface {
	// RedeemTicket spends a ticket. telemetry.ErrUnauthenticated or telemetry.ErrForbidden when it is worth nothing.
	RedeemTicket(token string) (auth.Claim, error)
	// MintResume makes a token that brings a session like the claim's back, once, within ttl.
	MintResume(claim auth.Claim, ttl time.Duration) (string, error)
	// RedeemResume spends such a token, durably. Errors as of RedeemTicket.
	RedeemResume(ctx context.Context, token string) (auth.Claim, error)
	// Live reports whether what the principal proved still stands. No I/O.
	Live(p auth.Principal) bool
}

// Snapshots reads what the store knows of sensors now; package store does.
type Snapshots interface {
	// Snapshot returns id, serial, name and status of the sensors, in the order asked for; unknown ones are left out.
	Snapshot(ctx context.Context, serials []string) ([]telemetry.Sensor, error)
}

// Kept is all the hub asks of the store.
type Kept interface {
	Snapshots
	Log
}

// Intake takes what sensors send over their WebSocket; *ingest.Pipe does.
type Intake interface {
	Accept(m ingest.Message, r ingest.Receipt) error
}
