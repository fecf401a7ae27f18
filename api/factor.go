package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// factorRoutes are those of one's own second factor.
func (a *API) factorRoutes() {
	const factor = base + "/users/me/second-factor"
	handle(a, huma.Operation{
		OperationID: "get-second-factor", Method: http.MethodGet, Path: factor, Tags: []string{tagAccounts},
		Summary:  "Show whether one's own second factor is on",
		Security: person(),
	}, a.showFactor)
	handle(a, huma.Operation{
		OperationID: "enrol-second-factor", Method: http.MethodPost, Path: factor, Tags: []string{tagAccounts},
		Summary:     "Begin to give one's own account a second factor",
		Description: "The secret is for an authenticator app (RFC 6238) and shown this once. Nothing changes until a code of the app is confirmed.",
		Security:    person(),
		Errors:      []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, a.enrolFactor)
	handle(a, huma.Operation{
		OperationID: "confirm-second-factor", Method: http.MethodPost, Path: factor + "/confirm", Tags: []string{tagAccounts},
		Summary:     "Turn one's own second factor on",
		Description: "All other sessions of the account end, with their sockets. Over MQTT the password is no longer taken.",
		Security:    person(),
		Errors:      []int{http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests},
	}, a.confirmFactor)
	handle(a, huma.Operation{
		OperationID: "delete-second-factor", Method: http.MethodDelete, Path: factor, Tags: []string{tagAccounts},
		Summary:     "Turn one's own second factor off",
		Description: "All other sessions of the account end, with their sockets.",
		Security:    person(),
		Errors:      []int{http.StatusNotFound, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, a.deleteFactor)
}

type factor struct {
	Enabled      bool `json:"enabled"`
	RecoveryLeft int  `json:"recovery_codes_left"`
}

type factorOutput struct{ Body factor }

func (a *API) showFactor(ctx context.Context, _ *struct{}) (*factorOutput, error) {
	on, left, err := a.deps.Auth.SecondFactor(ctx, principal(ctx))
	if err != nil {
		return nil, err
	}
	return &factorOutput{Body: factor{Enabled: on, RecoveryLeft: left}}, nil
}

type factorEnrolment struct {
	Password string `json:"password" writeOnly:"true"`
}

type factorSecret struct {
	Secret string `json:"secret" doc:"In base32, to be typed into the app"`
	URI    string `json:"uri" doc:"otpauth://…, to be shown to the app as a QR code"`
}

type factorSecretOutput struct{ Body factorSecret }

func (a *API) enrolFactor(ctx context.Context, in *struct{ Body factorEnrolment }) (*factorSecretOutput, error) {
	e, err := a.deps.Auth.EnrolSecondFactor(ctx, principal(ctx), in.Body.Password)
	if err != nil {
		return nil, err
	}
	return &factorSecretOutput{Body: factorSecret{Secret: e.Secret, URI: e.URI}}, nil
}

type factorConfirmation struct {
	Code string `json:"code" writeOnly:"true" doc:"What the app shows now"`
}

type factorRecovery struct {
	Codes []string `json:"recovery_codes" nullable:"false" doc:"Each is good once in the place of a code; shown this once"`
}

type factorRecoveryOutput struct{ Body factorRecovery }

func (a *API) confirmFactor(ctx context.Context, in *struct{ Body factorConfirmation }) (*factorRecoveryOutput, error) {
	codes, err := a.deps.Auth.ConfirmSecondFactor(ctx, principal(ctx), in.Body.Code)
	if err != nil {
		return nil, err
	}
	return &factorRecoveryOutput{Body: factorRecovery{Codes: codes}}, nil
}

type factorDeletion struct {
	Password string `json:"password" writeOnly:"true"`
	Code     string `json:"code" writeOnly:"true" doc:"What the app shows now, or a recovery code"`
}

func (a *API) deleteFactor(ctx context.Context, in *struct{ Body factorDeletion }) (*struct{}, error) {
	return nil, a.deps.Auth.DisableSecondFactor(ctx, principal(ctx), in.Body.Password, in.Body.Code)
}
