package auth

import "sensorcast/telemetry"

// Arrival is a sensor on its way into the registry.
type Arrival struct {
	Sensor telemetry.Sensor
	Secret [32]byte `json:"-"` // the hash of its first secret, as in Secret
}
