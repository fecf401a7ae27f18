package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// operatorRoutes are for who may open the server's files: they are answered on its control socket only.
func (a *API) operatorRoutes() {
	const users, user = base + "/users", base + "/users/{username}"
	handle(a, huma.Operation{
		OperationID: "create-user", Method: http.MethodPost, Path: users, Tags: []string{tagAdmin},
		Summary:     "Create an account, on the server's own machine",
		Description: "Whatever --registration says. The first account becomes admin.",
		Security:    operator(), DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict, http.StatusServiceUnavailable},
	}, a.createUser)
	handle(a, huma.Operation{
		OperationID: "set-password", Method: http.MethodPost, Path: user + "/password", Tags: []string{tagAdmin},
		Summary:     "Give an account a new password, on the server's own machine",
		Description: "All its sessions end, with their sockets.",
		Security:    operator(), Errors: []int{http.StatusNotFound, http.StatusServiceUnavailable},
	}, a.setPassword)
	handle(a, huma.Operation{
		OperationID: "delete-user", Method: http.MethodDelete, Path: user, Tags: []string{tagAdmin},
		Summary:  "Delete an account with its sensors and their history, on the server's own machine",
		Security: operator(), Errors: []int{http.StatusNotFound},
	}, a.deleteUser)
}

// headerAs names, on the control socket, the person in whose name the operator acts.
const headerAs = "Sensorcast-As"

// operator is who asks on the control socket: a person the operator names, where the operation is for people, or the operator.
func (a *API) operator(r *http.Request, need requirement) (auth.Principal, error) {
	as := r.Header.Get(headerAs)
	switch {
	case as != "" && allows(need, schemeBearer):
		p, err := a.deps.Auth.ActFor(r.Context(), as)
		if errors.Is(err, telemetry.ErrNotFound) {
			err = errNobody
		}
		return p, err
	case allows(need, schemeOperator):
		return auth.Principal{Kind: auth.Operator}, nil
	case isPublic(need):
		return auth.Principal{}, nil
	case allows(need, schemeBearer):
		return auth.Principal{}, errAsWhom
	}
	return auth.Principal{}, telemetry.ErrUnauthenticated
}

type userDraft struct {
	Username  string `json:"username"`
	Email     string `json:"email"`
	Password  string `json:"password" writeOnly:"true"`
	FirstName string `json:"first_name,omitempty"`
	LastName  string `json:"last_name,omitempty"`
}

func (a *API) createUser(ctx context.Context, in *struct{ Body userDraft }) (*userOutput, error) {
	u, err := a.deps.Auth.CreateUser(ctx, auth.Registration{
		Username:  in.Body.Username,
		Email:     in.Body.Email,
		Password:  in.Body.Password,
		FirstName: in.Body.FirstName,
		LastName:  in.Body.LastName,
	})
	if err != nil {
		return nil, err
	}
	deedOf(ctx).Account = accountOf(u)
	return &userOutput{Body: userOf(u)}, nil
}

type newPassword struct {
	New string `json:"new_password" writeOnly:"true"`
}

type setPasswordInput struct {
	Username string `path:"username"`
	Body     newPassword
}

func (a *API) setPassword(ctx context.Context, in *setPasswordInput) (*struct{}, error) {
	return nil, a.deps.Auth.SetPassword(ctx, in.Username, in.Body.New)
}

type usernameInput struct {
	Username string `path:"username"`
}

func (a *API) deleteUser(ctx context.Context, in *usernameInput) (*struct{}, error) {
	return nil, a.deps.Auth.DeleteUser(ctx, in.Username)
}
