package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// letterRoutes are those that have letters sent, and those that take what stood in them.
func (a *API) letterRoutes() {
	const verification, reset = base + "/auth/email-verification", base + "/auth/password-reset"
	handle(a, huma.Operation{
		OperationID: "send-verification", Method: http.MethodPost, Path: verification, Tags: []string{tagAccounts},
		Summary:     "Have the letter sent again that confirms one's e-mail address",
		Description: "It goes out by itself after a registration and a changed address. The address must be confirmed for whatever else is to be sent to it.",
		Security:    person(), DefaultStatus: http.StatusAccepted,
		Errors: []int{http.StatusForbidden, http.StatusConflict, http.StatusTooManyRequests},
	}, a.sendVerification)
	handle(a, huma.Operation{
		OperationID: "confirm-email", Method: http.MethodPost, Path: verification + "/confirm", Tags: []string{tagAccounts},
		Summary:  "Confirm an e-mail address by the token of a letter",
		Security: public(), DefaultStatus: http.StatusNoContent,
	}, a.confirmEmail)
	handle(a, huma.Operation{
		OperationID: "request-password-reset", Method: http.MethodPost, Path: reset, Tags: []string{tagAccounts},
		Summary:     "Have a letter sent to set a new password with",
		Description: "The answer is the same whether or not there is an account. Only an account that has confirmed the address gets a letter.",
		Security:    public(), DefaultStatus: http.StatusAccepted,
		Errors: []int{http.StatusForbidden, http.StatusTooManyRequests},
	}, a.requestReset)
	handle(a, huma.Operation{
		OperationID: "reset-password", Method: http.MethodPost, Path: reset + "/confirm", Tags: []string{tagAccounts},
		Summary:     "Set a new password by the token of a letter",
		Description: "Every session of the account ends, with its sockets.",
		Security:    public(), DefaultStatus: http.StatusNoContent,
		Errors: []int{http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, a.resetPassword)
}

func (a *API) sendVerification(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, a.deps.Auth.SendVerification(ctx, principal(ctx), exchangeOf(ctx).remote)
}

type letterToken struct {
	Token string `json:"token" writeOnly:"true" doc:"From the letter"`
}

func (a *API) confirmEmail(ctx context.Context, in *struct{ Body letterToken }) (*struct{}, error) {
	u, err := a.deps.Auth.ConfirmEmail(ctx, in.Body.Token)
	deedOf(ctx).Account = accountOf(u)
	return nil, err
}

type resetRequest struct {
	Email string `json:"email"`
}

func (a *API) requestReset(ctx context.Context, in *struct{ Body resetRequest }) (*struct{}, error) {
	return nil, a.deps.Auth.RequestReset(ctx, in.Body.Email, exchangeOf(ctx).remote)
}

type passwordReset struct {
	Token string `json:"token" writeOnly:"true" doc:"From the letter"`
	New   string `json:"new_password" writeOnly:"true"`
}

func (a *API) resetPassword(ctx context.Context, in *struct{ Body passwordReset }) (*struct{}, error) {
	u, err := a.deps.Auth.ResetPassword(ctx, in.Body.Token, in.Body.New, exchangeOf(ctx).remote)
	deedOf(ctx).Account = accountOf(u)
	return nil, err
}
