package api

import (
	"cmp"
	"context"
	"errors"
	"time"

	"sensorcast/audit"
	"sensorcast/auth"
	"sensorcast/telemetry"
)

// SensorDraft describes a sensor to be. It is exported for huma, which sees only such embedded fields.
type SensorDraft struct {
	Serial       string      `json:"serial_no,omitempty" doc:"1 to 64 letters, digits and . _ : - (not first); generated when absent"`
	Name         string      `json:"name,omitempty"`
	Description  string      `json:"description,omitempty"`
	MACAddress   string      `json:"mac_address,omitempty"`
	SensorType   string      `json:"sensor_type,omitempty" doc:"wall_mount, outdoor, ceiling_mount, or a word of one's own"`
	Manufacturer string      `json:"manufacturer,omitempty"`
	Tags         []string    `json:"tags,omitempty"`
	SilenceAfter *int64      `json:"silence_after,omitempty" nullable:"true" minimum:"1" maximum:"31622400" doc:"Seconds without a reading until the sensor counts as silent; null: the server's default"`
	SilenceMode  silenceMode `json:"silence_mode,omitempty" enum:"fixed,learned" doc:"fixed when absent; learned: its own rhythm says how long, once it is known"`
	Secret       string      `json:"secret_key,omitempty" writeOnly:"true" doc:"At least 16 characters; generated when absent, which is better"`
}

type sensorCreated struct {
	Sensor sensor `json:"sensor"`
	Secret string `json:"secret_key" doc:"What the sensor logs in with; shown this once"`
}

// sensor is what the draft describes, p's own.
func (d *SensorDraft) sensor(p auth.Principal) telemetry.Sensor {
	s := telemetry.Sensor{
		Serial:       d.Serial,
		OwnerID:      p.UserID,
		Owner:        p.Username,
		Name:         d.Name,
		Description:  d.Description,
		MACAddress:   d.MACAddress,
		SensorType:   d.SensorType,
		Manufacturer: d.Manufacturer,
		Tags:         d.Tags,
		Learned:      d.SilenceMode == silenceLearned,
	}
	if d.SilenceAfter != nil {
		s.SilenceAfter = time.Duration(*d.SilenceAfter) * time.Second
	}
	return s
}

type createInput struct {
	Key  string `header:"Idempotency-Key" pattern:"^[ -~]{1,255}$" patternDescription:"1 to 255 printable ASCII characters" doc:"Asked again with it within a day, the same sensor is answered with the same secret"`
	Body SensorDraft
}

type createOutput struct {
	Replayed string `header:"Idempotency-Replayed" doc:"true: the sensor was created by an earlier request"`
	Body     sensorCreated
}

func (a *API) createSensor(ctx context.Context, in *createInput) (*createOutput, error) {
	p := principal(ctx)
	if !auth.MayRegister(p) {
		return nil, errTokenConfined
	}
	if in.Key != "" {
		return a.createOnce(ctx, in)
	}
	s, secret := in.Body.sensor(p), cmp.Or(in.Body.Secret, auth.NewDeviceSecret())
	if err := checkNew(s, secret); err != nil {
		return nil, err
	}
	err := a.alone(ctx, func() error {
		return a.enter(ctx, &s, a.deps.Directory.HashSecret(secret), a.deps.Registry.CreateSensor)
	})
	if err != nil {
		return nil, err
	}
	return &createOutput{Body: sensorCreated{Sensor: a.sensorOf(s), Secret: secret}}, nil
}

// checkNew tells all that is wrong with a new sensor, whose serial may still have to be generated, and its secret. It leaves s as it is.
func checkNew(s telemetry.Sensor, secret string) error {
	s.Serial = cmp.Or(s.Serial, newSerial())
	return errors.Join(s.Check(), auth.CheckDeviceSecret(secret))
}

// serialTries is how often a generated serial may turn out to be taken. With 31^10 of them the second try is luck, the third a fault.
const serialTries = 3

// enter checks s, has create store it with the hash of its secret, and opens the doors for it. It is called by who has the turn.
func (a *API) enter(ctx context.Context, s *telemetry.Sensor, secret [32]byte, create func(context.Context, *telemetry.Sensor, [32]byte) error) error {
	generated := s.Serial == ""
	if generated {
		s.Serial = newSerial()
	}
	if err := s.Check(); err != nil {
		return err
	}
	err := create(ctx, s, secret)
	for try := 1; generated && try < serialTries && errors.Is(err, telemetry.ErrConflict); try++ {
		s.Serial = newSerial()
		err = create(ctx, s, secret)
	}
	if err != nil {
		return err
	}
	deedOf(ctx).Sensor = audit.Of(a.admit(auth.Arrival{Sensor: *s, Secret: secret}))
	return nil
}

// admit opens the doors for a sensor that was stored.
func (a *API) admit(e auth.Arrival) auth.Device {
	s := e.Sensor
	dev := auth.Device{SensorID: s.ID, Serial: s.Serial, OwnerID: s.OwnerID, Secrets: []auth.Secret{{Hash: e.Secret}}}
	a.deps.Directory.Put(dev)
	a.deps.Changes.Notify(auth.Change{Kind: auth.SensorAdded, Serial: s.Serial, SensorID: s.ID, UserID: s.OwnerID, SilenceAfter: s.SilenceAfter, SilenceLearned: s.Learned})
	return dev
}

// newSerial returns "SN-" and ten characters, none of which is mistaken for another when read from a label.
func newSerial() string { return "SN-" + auth.Unambiguous(10) }
