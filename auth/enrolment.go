package auth

import "sensorcast/telemetry"

// Enrolment is a sensor on its way into the registry.
type Enrolment struct {
	Sensor telemetry.Sensor
	Secret [32]byte `json:"-"` // the hash of its first secret, as in Secret
}
