package api

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

type sensorDraft struct {
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

type createOutput struct{ Body sensorCreated }

func (a *API) createSensor(ctx context.Context, in *struct{ Body sensorDraft }) (*createOutput, error) {
	p, draft := principal(ctx), in.Body
	s := telemetry.Sensor{
		Serial:       draft.Serial,
		OwnerID:      p.UserID,
		Owner:        p.Username,
		Name:         draft.Name,
		Description:  draft.Description,
		MACAddress:   draft.MACAddress,
		SensorType:   draft.SensorType,
		Manufacturer: draft.Manufacturer,
		Tags:         draft.Tags,
		Learned:      draft.SilenceMode == silenceLearned,
	}
	if draft.SilenceAfter != nil {
		s.SilenceAfter = time.Duration(*draft.SilenceAfter) * time.Second
	}
	secret := draft.Secret
	if secret == "" {
		secret = auth.NewDeviceSecret()
	}
	if err := a.enter(ctx, &s, secret); err != nil {
		return nil, err
	}
	return &createOutput{Body: sensorCreated{Sensor: a.sensorOf(s), Secret: secret}}, nil
}

// serialTries is how often a generated serial may turn out to be taken. With 31^10 of them the second try is luck, the third a fault.
const serialTries = 3

// enter checks s and its secret, stores them, and opens the doors for the sensor.
func (a *API) enter(ctx context.Context, s *telemetry.Sensor, secret string) error {
	generated := s.Serial == ""
	if generated {
		s.Serial = newSerial()
	}
	if err := errors.Join(s.Check(), auth.CheckDeviceSecret(secret)); err != nil {
		return err
	}
	hash := a.deps.Directory.HashSecret(secret)
	return a.alone(ctx, func() error {
		err := a.deps.Registry.CreateSensor(ctx, s, hash)
		for try := 1; generated && try < serialTries && errors.Is(err, telemetry.ErrConflict); try++ {
			s.Serial = newSerial()
			err = a.deps.Registry.CreateSensor(ctx, s, hash)
		}
		if err != nil {
			return err
		}
		a.deps.Directory.Put(auth.Device{SensorID: s.ID, Serial: s.Serial, OwnerID: s.OwnerID, Secrets: []auth.Secret{{Hash: hash}}})
		a.deps.Changes.Notify(auth.Change{Kind: auth.SensorAdded, Serial: s.Serial, SensorID: s.ID, UserID: s.OwnerID, SilenceAfter: s.SilenceAfter, SilenceLearned: s.Learned})
		return nil
	})
}

// newSerial returns "SN-" and ten characters, none of which is mistaken for another when read from a label.
func newSerial() string {
	const alphabet = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
	const unbiased = 256 - 256%len(alphabet) // bytes from here on would favour the first characters
	serial := []byte("SN-")
	for len(serial) < len("SN-")+10 {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		for _, c := range b {
			if int(c) < unbiased && len(serial) < len("SN-")+10 {
				serial = append(serial, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return string(serial)
}
