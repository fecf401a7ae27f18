package api

import (
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
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
	Access       string          `json:"access" enum:"owner,manager,viewer" doc:"What the asker is to the sensor"`
	State        telemetry.State `json:"state" enum:"online,silent,never_seen"`
	Connected    bool            `json:"connected" doc:"Whether it holds an MQTT connection now"`
	LastSeenAt   Timestamp       `json:"last_seen_at" nullable:"true" doc:"Arrival of its last fresh, valid reading"`
	SilenceAfter *int64          `json:"silence_after" doc:"Seconds; null: the server's default"`
	SilenceMode  silenceMode     `json:"silence_mode" enum:"fixed,learned" doc:"learned: its own rhythm says how long it may be silent, and silence_after only until that is known"`
	Cadence      *rhythm         `json:"cadence" doc:"Its rhythm; null: not known yet"`
	Latest       *reading        `json:"latest" doc:"Its newest reading by time"`
	Problems     *problems       `json:"problems" doc:"null for viewers"`
	CreatedAt    Timestamp       `json:"created_at"`
	UpdatedAt    Timestamp       `json:"updated_at"`
}

// problems tells who manages a sensor why nothing arrives.
type problems struct {
	Malformed  int64     `json:"malformed" doc:"Payloads that could not be read"`
	Refused    int64     `json:"refused" doc:"Publishes and subscriptions outside its own topics"`
	LastReason *string   `json:"last_reason"`
	LastAt     Timestamp `json:"last_at" nullable:"true"`
}

// silenceMode is how it is found out how long a sensor may be silent.
type silenceMode string

const (
	silenceFixed   silenceMode = "fixed"
	silenceLearned silenceMode = "learned"
)

// rhythm is what a sensor's readings have shown of how often they come.
type rhythm struct {
	TypicalSeconds float64   `json:"typical_seconds" doc:"Between two readings, usually"`
	ExpectedBy     Timestamp `json:"expected_by" doc:"When its next reading should be here; but for a few in a hundred they are"`
}

// TransformSchema says that latest, cadence and problems may be null, which huma cannot say of objects.
func (sensor) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	for name, t := range map[string]reflect.Type{"latest": reflect.TypeFor[reading](), "cadence": reflect.TypeFor[rhythm](), "problems": reflect.TypeFor[problems]()} {
		s.Properties[name] = &huma.Schema{
			Description: s.Properties[name].Description,
			OneOf:       []*huma.Schema{r.Schema(t, true, ""), {Type: "null"}},
		}
	}
	return s
}

// shownTo shows s as p sees it. Viewers are not told what is wrong with it: that is for who can mend it, and may quote what the sensor sent
// elsewhere. telemetry.ErrNotFound when p sees it no more.
func (a *API) shownTo(p auth.Principal, s telemetry.Sensor) (sensor, error) {
	dev, err := a.sensorFor(p, auth.View, s.Serial)
	if err != nil || dev.SensorID != s.ID {
		return sensor{}, telemetry.ErrNotFound
	}
	shown, access := a.sensorOf(s), dev.AccessOf(p.UserID)
	if shown.Access = access.String(); access < auth.ManagerAccess {
		shown.Problems = nil
	}
	return shown, nil
}

// sensorOf shows s as its owner sees it.
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
		Access:       auth.OwnerAccess.String(),
		Connected:    a.deps.Presence != nil && a.deps.Presence.Connected(s.Serial),
		State:        s.Status.State(),
		SilenceMode:  silenceFixed,
		Cadence:      a.rhythmOf(s),
		LastSeenAt:   Timestamp(s.Status.LastSeenAt),
		Problems: &problems{
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
	if s.Learned {
		shown.SilenceMode = silenceLearned
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

// rhythmOf returns nil where nothing is known.
func (a *API) rhythmOf(s telemetry.Sensor) *rhythm {
	if a.deps.Cadences == nil {
		return nil
	}
	c, known := a.deps.Cadences.Cadence(s.ID)
	if !known {
		return nil
	}
	return &rhythm{TypicalSeconds: c.Typical.Round(time.Second / 10).Seconds(), ExpectedBy: Timestamp(s.Status.LastSeenAt.Add(c.Long))}
}
