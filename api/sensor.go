package api

import (
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/telemetry"
)

// sensor is a registry entry as those who may see it see it.
type sensor struct {
	ID           string          `json:"id"`
	Serial       string          `json:"serial_no"`
	Name         string          `json:"name"`
	Description  string          `json:"description"`
	MACAddress   string          `json:"mac_address"`
	SensorType   string          `json:"sensor_type"`
	Manufacturer string          `json:"manufacturer"`
	Tags         []string        `json:"tags" nullable:"false"`
	Owner        string          `json:"owner" doc:"The owner's user name"`
	Access       string          `json:"access" enum:"owner" doc:"What the asker is to the sensor"`
	State        telemetry.State `json:"state" enum:"online,silent,never_seen"`
	Connected    bool            `json:"connected" doc:"Whether it holds an MQTT connection now"`
	LastSeenAt   Timestamp       `json:"last_seen_at" nullable:"true" doc:"Arrival of its last fresh, valid reading"`
	SilenceAfter *int64          `json:"silence_after" doc:"Seconds; null: the server's default"`
	Latest       *reading        `json:"latest" doc:"Its newest reading by time"`
	Problems     problems        `json:"problems"`
	CreatedAt    Timestamp       `json:"created_at"`
	UpdatedAt    Timestamp       `json:"updated_at"`
}

// problems tells an owner why nothing arrives.
type problems struct {
	Malformed  int64     `json:"malformed" doc:"Payloads that could not be read"`
	Refused    int64     `json:"refused" doc:"Publishes and subscriptions outside its own topics"`
	LastReason *string   `json:"last_reason"`
	LastAt     Timestamp `json:"last_at" nullable:"true"`
}

// TransformSchema says that latest may be null, which huma cannot say of an object.
func (sensor) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	s.Properties["latest"] = &huma.Schema{
		Description: s.Properties["latest"].Description,
		OneOf:       []*huma.Schema{r.Schema(reflect.TypeFor[reading](), true, ""), {Type: "null"}},
	}
	return s
}

// sensorOf shows s.
func (a *API) sensorOf(s telemetry.Sensor) sensor {
	shown := sensor{
		ID:           s.UID,
		Serial:       s.Serial,
		Name:         s.Name,
		Description:  s.Description,
		MACAddress:   s.MACAddress,
		SensorType:   s.SensorType,
		Manufacturer: s.Manufacturer,
		Tags:         s.Tags,
		Owner:        s.Owner,
		Access:       "owner",
		Connected:    a.deps.Presence != nil && a.deps.Presence.Connected(s.Serial),
		State:        s.Status.State(),
		LastSeenAt:   Timestamp(s.Status.LastSeenAt),
		Problems: problems{
			Malformed:  s.Status.Problems.Malformed,
			Refused:    s.Status.Problems.Refused,
			LastReason: nullable(s.Status.Problems.LastReason),
			LastAt:     Timestamp(s.Status.Problems.LastAt),
		},
		CreatedAt: Timestamp(s.CreatedAt),
		UpdatedAt: Timestamp(s.UpdatedAt),
	}
	if shown.Tags == nil {
		shown.Tags = []string{}
	}
	if s.SilenceAfter > 0 {
		seconds := int64(s.SilenceAfter / time.Second)
		shown.SilenceAfter = &seconds
	}
	if s.Status.Latest != nil {
		latest := readingOf(*s.Status.Latest)
		shown.Latest = &latest
	}
	return shown
}
