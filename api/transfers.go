package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/audit"
	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Transfers keeps which sensors are offered to whoever has their claim codes.
type Transfers interface {
	// OfferSensor opens a transfer of the sensor in place of the one that may be open. Mistakes in t.Username as of Sharing.Share.
	OfferSensor(ctx context.Context, sensorID int64, t auth.Transfer) error
	// OpenTransfer returns the open transfer of the sensor, without its code; telemetry.ErrNotFound when there is none.
	OpenTransfer(ctx context.Context, sensorID int64) (auth.Transfer, error)
	// WithdrawTransfer closes the sensor's transfer, if one is open.
	WithdrawTransfer(ctx context.Context, sensorID int64) error
	// ClaimSensor makes the sensor another one of a new id, the person's, without anything of before but its description and, when secret is
	// nil, its secrets. telemetry.ErrNotFound unless an open transfer has the code and is for that person.
	ClaimSensor(ctx context.Context, code [32]byte, userID int64, secret *[32]byte) (telemetry.Sensor, []auth.Secret, error)
}

// defaultTransfer is how long a claim code is good when its owner does not say.
const defaultTransfer = 7 * 24 * time.Hour

func (a *API) transferRoutes() {
	const path = sensorPath + "/transfer"
	handle(a, huma.Operation{
		OperationID: "offer-sensor", Method: http.MethodPost, Path: path, Tags: []string{tagSharing},
		Summary:     "Offer a sensor to a new owner",
		Description: "Whoever claims it with the code of the answer becomes its owner. A sensor has one code at a time: a new one replaces it.",
		Security:    person(), DefaultStatus: http.StatusCreated, Errors: []int{http.StatusForbidden},
	}, a.offerSensor)
	handle(a, huma.Operation{
		OperationID: "get-transfer", Method: http.MethodGet, Path: path, Tags: []string{tagSharing},
		Summary:  "Tell whether a sensor is offered",
		Security: person(), Errors: []int{http.StatusForbidden},
	}, a.showTransfer)
	handle(a, huma.Operation{
		OperationID: "withdraw-transfer", Method: http.MethodDelete, Path: path, Tags: []string{tagSharing},
		Summary:  "Offer a sensor no more",
		Security: person(), Errors: []int{http.StatusForbidden},
	}, a.withdrawTransfer)
	handle(a, huma.Operation{
		OperationID: "claim-sensor", Method: http.MethodPost, Path: base + "/sensors/claim", Tags: []string{tagSharing},
		Summary: "Become the owner of a sensor that is offered",
		Description: "What was measured before is deleted, and so are commands and shares; everybody who watched it is disconnected. Without keep_secret " +
			"it gets a new secret and is disconnected for good.",
		Security: person(), Errors: []int{http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests},
	}, a.claimSensor)
}

type transferOrder struct {
	Username  string `json:"username,omitempty" doc:"Who alone may claim it; absent: whoever has the code"`
	ExpiresIn *int64 `json:"expires_in,omitempty" nullable:"true" minimum:"60" maximum:"2592000" doc:"Seconds the code is good; null: seven days"`
}

type offerInput struct {
	Serial string         `path:"serial_no"`
	Body   *transferOrder `required:"false"`
}

type transferOffer struct {
	Code      string    `json:"claim_code" doc:"Shown this once"`
	ExpiresAt Timestamp `json:"expires_at"`
}

type offerOutput struct{ Body transferOffer }

func (a *API) offerSensor(ctx context.Context, in *offerInput) (*offerOutput, error) {
	dev, err := a.sensorFor(principal(ctx), auth.Own, in.Serial)
	if err != nil {
		return nil, err
	}
	code := auth.NewClaimCode()
	t := auth.Transfer{Code: a.deps.Directory.HashClaimCode(code), ExpiresAt: telemetry.Now().Add(defaultTransfer)}
	if in.Body != nil {
		t.Username = in.Body.Username
		if in.Body.ExpiresIn != nil {
			t.ExpiresAt = telemetry.Now().Add(time.Duration(*in.Body.ExpiresIn) * time.Second)
		}
	}
	if err := a.deps.Transfers.OfferSensor(ctx, dev.SensorID, t); err != nil {
		return nil, err
	}
	return &offerOutput{Body: transferOffer{Code: code, ExpiresAt: Timestamp(t.ExpiresAt)}}, nil
}

type transferState struct {
	Open      bool      `json:"open"`
	Username  *string   `json:"username" doc:"Who alone may claim it"`
	ExpiresAt Timestamp `json:"expires_at" nullable:"true"`
}

type transferOutput struct{ Body transferState }

func (a *API) showTransfer(ctx context.Context, in *serialInput) (*transferOutput, error) {
	dev, err := a.sensorFor(principal(ctx), auth.Own, in.Serial)
	if err != nil {
		return nil, err
	}
	t, err := a.deps.Transfers.OpenTransfer(ctx, dev.SensorID)
	if errors.Is(err, telemetry.ErrNotFound) {
		return &transferOutput{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &transferOutput{Body: transferState{Open: true, Username: nullable(t.Username), ExpiresAt: Timestamp(t.ExpiresAt)}}, nil
}

func (a *API) withdrawTransfer(ctx context.Context, in *serialInput) (*struct{}, error) {
	dev, err := a.sensorFor(principal(ctx), auth.Own, in.Serial)
	if err != nil {
		return nil, err
	}
	return nil, a.deps.Transfers.WithdrawTransfer(ctx, dev.SensorID)
}

type claimOrder struct {
	Code       string `json:"claim_code" writeOnly:"true" doc:"As the owner was shown it; case, blanks and hyphens make no difference"`
	KeepSecret bool   `json:"keep_secret,omitempty" doc:"For sensors whose secret cannot be changed. Whoever had it before still has it"`
}

type sensorClaimed struct {
	Sensor sensor  `json:"sensor"`
	Secret *string `json:"secret_key" doc:"What the sensor logs in with from now on, shown this once; null: what it had"`
}

type claimOutput struct{ Body sensorClaimed }

func (a *API) claimSensor(ctx context.Context, in *struct{ Body claimOrder }) (*claimOutput, error) {
	p := principal(ctx)
	if !auth.MayRegister(p) {
		return nil, fmt.Errorf("claim a sensor: %w", telemetry.ErrForbidden)
	}
	if err := a.deps.Auth.AdmitClaim(p, exchangeOf(ctx).remote); err != nil {
		return nil, err
	}
	var secret string
	var hash *[32]byte
	if !in.Body.KeepSecret {
		secret = auth.NewDeviceSecret()
		sum := a.deps.Directory.HashSecret(secret)
		hash = &sum
	}
	code := a.deps.Directory.HashClaimCode(in.Body.Code)
	var s telemetry.Sensor
	err := a.alone(ctx, func() (err error) {
		var secrets []auth.Secret
		if s, secrets, err = a.deps.Transfers.ClaimSensor(ctx, code, p.UserID, hash); err != nil {
			return err
		}
		before := a.handOver(s, secrets)
		deed := deedOf(ctx)
		deed.Sensor = audit.Sensor{ID: s.ID, Serial: s.Serial, OwnerID: s.OwnerID}
		if giver, err := a.deps.Auth.Me(ctx, auth.Principal{Kind: auth.Person, UserID: before.OwnerID}); err == nil { // or the account went meanwhile
			deed.Account = accountOf(giver)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &claimOutput{Body: sensorClaimed{Sensor: a.sensorOf(s), Secret: nullable(secret)}}, nil
}

// handOver has the doors know the sensor as s, and lets go of all that was opened for the one that had its serial before. One takes the other's
// place in a single step, so no moment belongs to both; what is on its way meanwhile is told apart by its sensor's id. It returns what was there.
func (a *API) handOver(s telemetry.Sensor, secrets []auth.Secret) (before auth.Device) {
	before, known := a.deps.Directory.Lookup(s.Serial)
	dev := auth.Device{SensorID: s.ID, Serial: s.Serial, OwnerID: s.OwnerID, Secrets: secrets}
	a.deps.Directory.Put(dev)
	if known { // or its owner's account was deleted a moment ago, and all are told already
		a.graces.forget(before.SensorID)
		a.deps.Changes.Gone(before)
	}
	a.deps.Changes.Notify(auth.Change{Kind: auth.SensorAdded, Serial: s.Serial, SensorID: s.ID, UserID: s.OwnerID, SilenceAfter: s.SilenceAfter, SilenceLearned: s.Learned})
	for _, secret := range secrets {
		if grace := secret.ValidUntil.Sub(telemetry.Now()); grace > 0 {
			a.announceRotation(dev, grace)
		}
	}
	return before
}
