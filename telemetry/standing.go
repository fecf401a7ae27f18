package telemetry

// Cause is why a sensor is silent, as far as the server knows.
type Cause string

// The causes.
const (
	CauseUnknown      Cause = "unknown"         // it came by another door than MQTT, or nothing was noticed
	CauseDisconnected Cause = "disconnected"    // it said goodbye
	CauseKeepAlive    Cause = "keep_alive"      // it was not heard for one and a half times its keep-alive
	CauseLost         Cause = "connection_lost" // its connection ended without a goodbye
	CauseWill         Cause = "will"            // the same, and its will says more
	CauseClosed       Cause = "closed"          // the server ended its connection
	CauseRefused      Cause = "refused"         // it is not let in
	CauseNoData       Cause = "no_data"         // it is connected and sends nothing
	CauseNotBack      Cause = "not_back"        // it has not been heard since the server was started
	CauseThreshold    Cause = "threshold"       // no silence: a rule was broken
)

// Standing is how a sensor stands with the MQTT front door.
type Standing struct {
	Connected   bool
	Departure   Departure
	LastRefusal *Refusal // newest; nil: none since the server started
}

// Departure is how a sensor's last connection ended.
type Departure struct {
	At     Millis // zero: none has since the server started
	Cause  Cause  // disconnected, keep_alive, connection_lost, will or closed
	Detail string // of a will its text, of a connection that was closed the reason, in words
}
