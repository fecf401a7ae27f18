package api

import (
	"cmp"
	"context"
	"errors"

	"sensorcast/auth"
	"sensorcast/inbox"
	"sensorcast/telemetry"
)

type adoptionDraft struct {
	SensorDraft
	Owner      string `json:"owner,omitempty" doc:"Whose it will be, by user name; absent: one's own"`
	KeepSecret *bool  `json:"keep_secret,omitempty" doc:"Whether the secret it showed becomes its secret; absent: if it showed one and never another"`
}

type adoptInput struct {
	Serial string         `path:"serial_no"`
	Body   *adoptionDraft `required:"false"`
}

type adopted struct {
	Sensor sensor  `json:"sensor"`
	Secret *string `json:"secret_key" doc:"What the sensor logs in with; shown this once. null: what it showed"`
}

type adoptOutput struct{ Body adopted }

// adoptStranger registers a sensor that knocked. What it showed is looked at in the turn, so that it is what then holds: who knocks with
// another secret while the admin decides makes the default another.
func (a *API) adoptStranger(ctx context.Context, in *adoptInput) (*adoptOutput, error) {
	p := principal(ctx)
	if !auth.MayAdopt(p) {
		return nil, telemetry.ErrForbidden
	}
	draft := cmp.Or(in.Body, new(adoptionDraft))
	if draft.Serial != "" && draft.Serial != in.Serial {
		return nil, telemetry.Invalid("serial_no", "the body names another")
	}
	owner, err := a.ownerOf(ctx, p, draft.Owner)
	if err != nil {
		return nil, err
	}
	s := draft.sensor(owner)
	s.Serial = in.Serial
	var secret string
	err = a.alone(ctx, func() error {
		knocked, there := a.deps.Inbox.Find(in.Serial)
		if !there {
			return telemetry.ErrNotFound
		}
		hash := knocked.Secret.Hash
		keeps, err := draft.keeps(knocked)
		if err != nil {
			return err
		}
		if !keeps {
			secret = cmp.Or(draft.Secret, auth.NewDeviceSecret())
			if err := checkNew(s, secret); err != nil {
				return err
			}
			hash = a.deps.Directory.HashSecret(secret)
		}
		return a.enter(ctx, &s, hash, a.deps.Registry.CreateSensor)
	})
	if err != nil {
		return nil, err
	}
	a.log.Info("stranger adopted", "sensor", s.Serial, "user", p.UserID, "owner", s.OwnerID)
	return &adoptOutput{Body: adopted{Sensor: a.sensorOf(s), Secret: nullable(secret)}}, nil
}

// keeps decides whether the secret the stranger showed becomes the sensor's.
func (d *adoptionDraft) keeps(s inbox.Stranger) (bool, error) {
	switch {
	case d.KeepSecret == nil:
		return s.Proved() && d.Secret == "", nil
	case *d.KeepSecret && d.Secret != "":
		return false, telemetry.Invalid("keep_secret", "and secret_key exclude each other")
	case *d.KeepSecret && s.Secrets == 0:
		return false, telemetry.Invalid("keep_secret", "the sensor has not shown a secret that a sensor may have")
	}
	return *d.KeepSecret, nil
}

// ownerOf is the person of that user name, as who a sensor can be registered for; p for none.
func (a *API) ownerOf(ctx context.Context, p auth.Principal, username string) (auth.Principal, error) {
	if username == "" && p.Kind == auth.Operator {
		return p, telemetry.Invalid("owner", "must be given: the operator owns no sensors")
	}
	if username == "" {
		return p, nil
	}
	u, err := a.deps.Auth.Named(ctx, username)
	if errors.Is(err, telemetry.ErrNotFound) {
		return p, telemetry.Invalid("owner", "is nobody's user name")
	}
	return auth.Principal{Kind: auth.Person, UserID: u.ID, Username: u.Username}, err
}
