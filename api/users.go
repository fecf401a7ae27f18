package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
)

// userRoutes are those by which admins look after accounts.
func (a *API) userRoutes() {
	handle(a, huma.Operation{
		OperationID: "list-users", Method: http.MethodGet, Path: base + "/users", Tags: []string{tagAdmin},
		Summary:  "List accounts",
		Security: admin(), Errors: []int{http.StatusForbidden},
	}, a.listUsers)
	handle(a, huma.Operation{
		OperationID: "update-user", Method: http.MethodPatch, Path: base + "/users/{username}", Tags: []string{tagAdmin},
		Summary:     "Disable or enable an account, or change its role",
		Description: "What a disabled account had open ends, as it does when the role changes; its sensors go on. The last active admin stays one.",
		Security:    admin(), Errors: []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict},
	}, a.updateUser)
	handle(a, huma.Operation{
		OperationID: "remove-second-factor", Method: http.MethodDelete, Path: base + "/users/{username}/second-factor", Tags: []string{tagAdmin},
		Summary:     "Turn off the second factor of somebody who has lost it",
		Description: "Everything the account has open ends.",
		Security:    admin(), Errors: []int{http.StatusForbidden, http.StatusNotFound},
	}, a.removeFactor)
}

type usersInput struct {
	Text   string `query:"q" maxLength:"200" doc:"Part of user name, e-mail address or name"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"200" doc:"next_cursor of the page before"`
}

// account is an account as an admin sees it.
type account struct {
	ID            string    `json:"id"`
	Username      string    `json:"username"`
	Email         string    `json:"email"`
	EmailVerified bool      `json:"email_verified"`
	FirstName     string    `json:"first_name"`
	LastName      string    `json:"last_name"`
	Role          auth.Role `json:"role" enum:"admin,user"`
	Disabled      bool      `json:"disabled"`
	Sensors       int       `json:"sensors" doc:"How many are its own"`
	CreatedAt     Timestamp `json:"created_at"`
	LastLoginAt   Timestamp `json:"last_login_at" nullable:"true"`
}

func (a *API) accountOf(u auth.User) account {
	return account{
		ID:            u.UID,
		Username:      u.Username,
		Email:         u.Email,
		EmailVerified: u.EmailVerifiedAt != 0,
		FirstName:     u.FirstName,
		LastName:      u.LastName,
		Role:          u.Role,
		Disabled:      u.Disabled,
		Sensors:       a.deps.Directory.Owned(u.ID),
		CreatedAt:     Timestamp(u.CreatedAt),
		LastLoginAt:   Timestamp(u.LastLoginAt),
	}
}

type accountPage struct {
	Items []account `json:"items" nullable:"false"`
	Next  *string   `json:"next_cursor" doc:"null at the end"`
}

type accountsOutput struct{ Body accountPage }

func (a *API) listUsers(ctx context.Context, in *usersInput) (*accountsOutput, error) {
	found, next, err := a.deps.Auth.Users(ctx, principal(ctx), auth.UserQuery{Text: in.Text, After: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	page := accountPage{Items: make([]account, len(found)), Next: nullable(next)}
	for i, u := range found {
		page.Items[i] = a.accountOf(u)
	}
	return &accountsOutput{Body: page}, nil
}

type accountChange struct {
	Disabled *bool      `json:"disabled,omitempty"`
	Role     *auth.Role `json:"role,omitempty" enum:"admin,user"`
}

type accountInput struct {
	Username string `path:"username"`
	Body     accountChange
}

type accountOutput struct{ Body account }

func (a *API) updateUser(ctx context.Context, in *accountInput) (*accountOutput, error) {
	u, err := a.deps.Auth.Administer(ctx, principal(ctx), in.Username, auth.AccountChange{Disabled: in.Body.Disabled, Role: in.Body.Role})
	if err != nil {
		return nil, err
	}
	return &accountOutput{Body: a.accountOf(u)}, nil
}

func (a *API) removeFactor(ctx context.Context, in *struct {
	Username string `path:"username"`
}) (*struct{}, error) {
	return nil, a.deps.Auth.RemoveSecondFactor(ctx, principal(ctx), in.Username)
}
