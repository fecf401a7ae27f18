package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
)

// profileRoutes are those of one's own account.
func (a *API) profileRoutes() {
	const me = base + "/users/me"
	handle(a, huma.Operation{
		OperationID: "get-me", Method: http.MethodGet, Path: me, Tags: []string{tagAccounts},
		Summary:  "Show one's own account",
		Security: person(),
	}, a.showMe)
	handle(a, huma.Operation{
		OperationID: "update-me", Method: http.MethodPatch, Path: me, Tags: []string{tagAccounts},
		Summary:     "Change one's own names and address",
		Description: "Another e-mail address needs current_password, and has to be confirmed; the one before is told.",
		Security:    person(), Errors: []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, a.updateMe)
	handle(a, huma.Operation{
		OperationID: "delete-me", Method: http.MethodDelete, Path: me, Tags: []string{tagAccounts},
		Summary:  "Delete one's own account with its sensors and their history",
		Security: person(), Errors: []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, a.deleteMe)
	handle(a, huma.Operation{
		OperationID: "change-password", Method: http.MethodPost, Path: me + "/password", Tags: []string{tagAccounts},
		Summary:     "Change one's own password",
		Description: "All other sessions of the account end, with their sockets.",
		Security:    person(), Errors: []int{http.StatusTooManyRequests, http.StatusServiceUnavailable},
	}, a.changePassword)
}

// user is an account as its owner sees it.
type user struct {
	ID        string    `json:"id"`
	Username  string    `json:"username"`
	Email     string    `json:"email"`
	Verified  bool      `json:"email_verified" doc:"Somebody proved to read what is sent to email"`
	FirstName string    `json:"first_name"`
	LastName  string    `json:"last_name"`
	Role      auth.Role `json:"role" enum:"admin,user"`
	CreatedAt Timestamp `json:"created_at"`
	UpdatedAt Timestamp `json:"updated_at"`
}

func userOf(u auth.User) user {
	return user{
		ID:        u.UID,
		Username:  u.Username,
		Email:     u.Email,
		Verified:  u.EmailVerifiedAt != 0,
		FirstName: u.FirstName,
		LastName:  u.LastName,
		Role:      u.Role,
		CreatedAt: Timestamp(u.CreatedAt),
		UpdatedAt: Timestamp(u.UpdatedAt),
	}
}

type userOutput struct{ Body user }

func (a *API) showMe(ctx context.Context, _ *struct{}) (*userOutput, error) {
	u, err := a.deps.Auth.Me(ctx, principal(ctx))
	if err != nil {
		return nil, err
	}
	return &userOutput{Body: userOf(u)}, nil
}

type profileChange struct {
	Email     change[string] `json:"email,omitzero"`
	FirstName change[string] `json:"first_name,omitzero"`
	LastName  change[string] `json:"last_name,omitzero"`
	Password  string         `json:"current_password,omitempty" writeOnly:"true" doc:"Needed for another e-mail address"`
}

func (a *API) updateMe(ctx context.Context, in *struct{ Body profileChange }) (*userOutput, error) {
	b := in.Body
	u, err := a.deps.Auth.UpdateProfile(ctx, principal(ctx), auth.ProfileChange{
		FirstName: b.FirstName.pointer(), LastName: b.LastName.pointer(), Email: b.Email.pointer(), Password: b.Password,
	})
	if err != nil {
		return nil, err
	}
	return &userOutput{Body: userOf(u)}, nil
}

type accountDeletion struct {
	Password string `json:"password" writeOnly:"true"`
}

func (a *API) deleteMe(ctx context.Context, in *struct{ Body accountDeletion }) (*struct{}, error) {
	return nil, a.deps.Auth.DeleteAccount(ctx, principal(ctx), in.Body.Password)
}

type passwordChange struct {
	Current string `json:"current_password" writeOnly:"true"`
	New     string `json:"new_password" writeOnly:"true"`
}

func (a *API) changePassword(ctx context.Context, in *struct{ Body passwordChange }) (*struct{}, error) {
	return nil, a.deps.Auth.ChangePassword(ctx, principal(ctx), in.Body.Current, in.Body.New)
}
