package telemetry

// Reading is one set of metrics a sensor sent at one moment. It is a value; Data is shared and must never be written to.
type Reading struct {
	SensorID   int64  // the store's number of the sensor; never reused
	Serial     string // the sensor's serial_no
	Seq        int64  // position in the server's one reading log, rising, with holes; given by package ingest
	Time       Millis // when it was measured, by the sensor's clock; the arrival where the sensor gave none or an impossible one
	ReceivedAt Millis // when it arrived here
	Data       []byte // one compact JSON object: the metrics, as sent
	Key        Key    // what makes a resent reading recognisable; zero when the sensor gave neither id nor time
	Suspect    bool   // the sensor's own time lay too far ahead and was replaced by the arrival
	Via        Via    // the door it came through
}

// Key identifies a reading beyond its transport, so that one sent twice is stored once: a truncated SHA-256 over the sensor
// and the reading's id, or its time followed by one over the sensor, its time and its data.
type Key [16]byte

// IsZero reports whether the reading carries nothing to recognise it by.
func (k Key) IsZero() bool { return k == Key{} }

// Via says which door a reading came through.
type Via uint8

// The doors.
const (
	ViaMQTT Via = iota
	ViaWebSocket
	ViaHTTP
)

// String names the door for logs and metric labels.
func (v Via) String() string {
	switch v {
	case ViaMQTT:
		return "mqtt"
	case ViaWebSocket:
		return "websocket"
	case ViaHTTP:
		return "http"
	}
	return "unknown"
}
