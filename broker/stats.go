package broker

import "sync/atomic"

type counters struct {
	accepted, acceptErrors, crowded             atomic.Int64
	loginFailures, throttled                    atomic.Int64
	takeovers, panics, violations               atomic.Int64
	slow, stalled, unstored, unavailable        atomic.Int64
	malformed, refusedPublishes, refusedFilters atomic.Int64
	retainRefused, dropped, relayDropped        atomic.Int64
	alertsDropped                               atomic.Int64
	revoked, readPauses, paced, pacedBytes      atomic.Int64
	received, sent, receivedBytes, sentBytes    atomic.Int64 // packets and bytes
}

// Stats are counts since the start, except where they say "now".
type Stats struct {
	Accepted      int64 // sockets accepted
	AcceptErrors  int64 // failures of accept(2), each retried
	Crowded       int64 // sockets closed because too many were waiting to log in
	LoginFailures int64 // logins refused for who they claimed to be
	Throttled     int64 // logins refused for being too many, or for an overloaded server
	Takeovers     int64 // connections ended by a newer one of the same session
	Revoked       int64 // connections ended because their authority did
	Panics        int64 // panics contained to their connection
	Violations    int64 // connections closed for bytes that are no MQTT, or too large

	Slow        int64 // connections closed because more waited for them than they may keep waiting
	Stalled     int64 // connections closed because they took no byte for the stall timeout
	Unstored    int64 // connections closed because the store failed under an unacknowledged message
	Unavailable int64 // connections closed because ingest took nothing
	ReadPauses  int64 // times a connection was not read because too much of it was uncommitted
	Paced       int64 // times a connection was not read because it had published too many messages for its rate
	PacedBytes  int64 // the same of bytes

	Malformed        int64 // publishes acknowledged but not taken
	RefusedPublishes int64 // publishes outside the client's own topics
	RefusedFilters   int64 // subscriptions not granted
	RetainRefused    int64 // publishes relayed but not retained for lack of room
	Dropped          int64 // deliveries dropped because the subscriber's queue was full, there or away
	AlertsDropped    int64 // steps of alerts not published because too many waited for it
	RelayDropped     int64 // readings from other doors not relayed to MQTT subscribers because the queue was full

	Connections   int   // open now, logged in or not
	Pending       int   // of these not logged in yet
	Sessions      int   // now, with those kept for absent clients
	Subscriptions int64 // now
	Retained      int   // sensors' retained messages now
	RetainedBytes int64 // and their payloads

	BytesReceived, BytesSent     int64
	PacketsReceived, PacketsSent int64
}

// Stats returns the present figures.
func (b *Broker) Stats() Stats {
	c := &b.counters
	s := Stats{
		Accepted: c.accepted.Load(), AcceptErrors: c.acceptErrors.Load(), Crowded: c.crowded.Load(),
		LoginFailures: c.loginFailures.Load(), Throttled: c.throttled.Load(), Takeovers: c.takeovers.Load(), Revoked: c.revoked.Load(),
		Panics: c.panics.Load(), Violations: c.violations.Load(), Slow: c.slow.Load(), Stalled: c.stalled.Load(),
		Unstored: c.unstored.Load(), Unavailable: c.unavailable.Load(), ReadPauses: c.readPauses.Load(),
		Malformed: c.malformed.Load(), RefusedPublishes: c.refusedPublishes.Load(), RefusedFilters: c.refusedFilters.Load(),
		RetainRefused: c.retainRefused.Load(), Dropped: c.dropped.Load(), RelayDropped: c.relayDropped.Load(),
		AlertsDropped: c.alertsDropped.Load(),
		Pending:       b.pending.count(), Subscriptions: b.sessions.subscriptions.Load(),
		Paced:         c.paced.Load(),
		PacedBytes:    c.pacedBytes.Load(),
		BytesReceived: c.receivedBytes.Load(), BytesSent: c.sentBytes.Load(),
		PacketsReceived: c.received.Load(), PacketsSent: c.sent.Load(),
	}
	s.Sessions = b.sessions.count()
	s.Retained, s.RetainedBytes = b.retained.count()
	b.mu.Lock()
	s.Connections = len(b.conns)
	b.mu.Unlock()
	return s
}
