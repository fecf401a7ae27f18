package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// createOnce creates a sensor, or answers as when it was created with the same key. Registry changes take turns, so of several requests at
// once the first creates and the others find what it created.
func (a *API) createOnce(ctx context.Context, in *createInput) (*createOutput, error) {
	p, dir, out := principal(ctx), a.deps.Directory, &createOutput{}
	body, err := json.Marshal(in.Body)
	if err != nil {
		return nil, err
	}
	once := dir.NewOnce(p.UserID, in.Key, body)
	s, secret := in.Body.sensor(p), cmp.Or(in.Body.Secret, dir.SecretOf(once))
	if err := checkNew(s, secret); err != nil {
		return nil, err
	}
	err = a.alone(ctx, func() error {
		before, serial, err := a.deps.Registry.Creation(ctx, once.Key)
		switch {
		case errors.Is(err, telemetry.ErrNotFound):
			return a.enter(ctx, &s, dir.HashSecret(secret), func(ctx context.Context, s *telemetry.Sensor, hash [32]byte) error {
				return a.deps.Registry.CreateSensorOnce(ctx, s, hash, once)
			})
		case err != nil:
			return err
		case before.Body != once.Body:
			return errKeyReused
		}
		deedOf(ctx).Action = "" // nothing was done
		out.Replayed, secret = "true", cmp.Or(in.Body.Secret, dir.SecretOf(before))
		s, err = a.sensor(ctx, auth.View, serial)
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Body = sensorCreated{Sensor: a.sensorOf(s), Secret: secret}
	return out, nil
}
