package simulator

import (
	"math"
	"strconv"
	"time"
)

// Profile is a kind of sensor: what it measures and how the registry should describe it.
type Profile struct {
	Name       string // as in Config.Profiles
	Title      string // for people
	SensorType string // sensor_type of the registry
	Metrics    []Metric
}

// Metric is one named value of a profile.
type Metric struct {
	Name     string
	Unit     string // SenML unit (RFC 8428 §12.1), empty where there is none
	Decimals int    // of a number, as the real device would round
	// Labels make it a text: the value counts into them. Switch makes it true or false.
	Labels []string
	Switch bool
	Signal Signal
}

// Manufacturer is what simulated sensors say who made them.
const Manufacturer = "Sensorcast simulator"

// Profiles returns all kinds of sensor there are, a fresh slice each time.
func Profiles() []Profile {
	battery := Metric{Name: "battery", Unit: "%EL", Decimals: 1, Signal: batteryPercent}
	rssi := Metric{Name: "rssi", Unit: "dBm", Signal: signalStrength}
	return []Profile{
		{Name: "room", Title: "Room climate", SensorType: "wall_mount", Metrics: []Metric{
			{Name: "temperature", Unit: "Cel", Decimals: 2, Signal: roomTemperature},
			{Name: "humidity", Unit: "%RH", Decimals: 1, Signal: roomHumidity},
			{Name: "co2", Unit: "ppm", Signal: co2},
			{Name: "occupied", Switch: true, Signal: occupied},
		}},
		{Name: "weather", Title: "Weather station", SensorType: "outdoor", Metrics: []Metric{
			{Name: "temperature", Unit: "Cel", Decimals: 1, Signal: outdoorTemperature},
			{Name: "humidity", Unit: "%RH", Decimals: 1, Signal: outdoorHumidity},
			{Name: "pressure", Unit: "hPa", Decimals: 1, Signal: pressure},
			{Name: "wind_speed", Unit: "m/s", Decimals: 1, Signal: wind},
			{Name: "illuminance", Unit: "lx", Signal: illuminance},
		}},
		{Name: "meter", Title: "Energy meter", SensorType: "energy_meter", Metrics: []Metric{
			{Name: "power", Unit: "W", Decimals: 1, Signal: powerWatts},
			{Name: "energy", Unit: "kWh", Decimals: 2, Signal: energyKilowattHours},
			{Name: "voltage", Unit: "V", Decimals: 1, Signal: voltage},
			{Name: "current", Unit: "A", Decimals: 2, Signal: current},
		}},
		{Name: "people", Title: "People counter", SensorType: "ceiling_mount", Metrics: []Metric{
			{Name: "numberOfPerson", Signal: hallPersons},
			{Name: "status", Labels: []string{"vacant", "occupied"}, Signal: hallInUse},
			{Name: "entered", Signal: entered},
		}},
		{Name: "door", Title: "Door", SensorType: "door", Metrics: []Metric{
			{Name: "open", Switch: true, Signal: doorOpen},
			battery,
			rssi,
		}},
	}
}

func profileNames() []string {
	var names []string
	for _, p := range Profiles() {
		names = append(names, p.Name)
	}
	return names
}

func profileNamed(name string) (Profile, bool) {
	for _, p := range Profiles() {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// appendValue writes the metric's value at t as JSON, rounded like the device would.
func (m *Metric) appendValue(b []byte, seed uint64, t time.Time) []byte {
	v := m.Signal(seed, t)
	switch {
	case m.Switch:
		return strconv.AppendBool(b, v >= 0.5)
	case len(m.Labels) > 0:
		i := min(max(int(v), 0), len(m.Labels)-1)
		return strconv.AppendQuote(b, m.Labels[i])
	}
	return strconv.AppendFloat(b, round(v, m.Decimals), 'f', -1, 64)
}

// round gives v with that many decimals and never a negative zero, which would print as -0.
func round(v float64, decimals int) float64 {
	scale := math.Pow10(decimals)
	return math.Round(v*scale)/scale + 0
}
