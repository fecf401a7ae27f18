package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
)

func (a *API) invitationRoutes() {
	const path = base + "/invitations"
	handle(a, huma.Operation{
		OperationID: "create-invitation", Method: http.MethodPost, Path: path, Tags: []string{tagAdmin},
		Summary:     "Invite somebody to make an account",
		Description: "The answer holds the code, which is shown this once and makes one account. It is sent to the address too, if there is one and the server sends mail.",
		Security:    admin(), DefaultStatus: http.StatusCreated, Errors: []int{http.StatusForbidden},
	}, a.createInvitation)
	handle(a, huma.Operation{
		OperationID: "list-invitations", Method: http.MethodGet, Path: path, Tags: []string{tagAdmin},
		Summary:  "List invitations, newest first",
		Security: admin(), Errors: []int{http.StatusForbidden},
	}, a.listInvitations)
	handle(a, huma.Operation{
		OperationID: "delete-invitation", Method: http.MethodDelete, Path: path + "/{id}", Tags: []string{tagAdmin},
		Summary:  "Take an invitation back",
		Security: admin(), Errors: []int{http.StatusForbidden, http.StatusNotFound},
	}, a.deleteInvitation)
}

type invitationDraft struct {
	Email     string    `json:"email,omitempty" doc:"The account must have this address; absent: any"`
	Role      auth.Role `json:"role,omitempty" enum:"admin,user" default:"user"`
	ExpiresIn int64     `json:"expires_in,omitempty" minimum:"60" maximum:"2592000" default:"604800" doc:"Seconds"`
}

// invitation never holds its code.
type invitation struct {
	ID        string    `json:"id"`
	Email     *string   `json:"email" doc:"null: for whoever has the code"`
	Role      auth.Role `json:"role" enum:"admin,user"`
	CreatedAt Timestamp `json:"created_at"`
	CreatedBy *string   `json:"created_by" doc:"User name; null: the account is gone"`
	ExpiresAt Timestamp `json:"expires_at"`
	UsedAt    Timestamp `json:"used_at" nullable:"true"`
	UsedBy    *string   `json:"used_by" doc:"User name; null: not used, or the account is gone"`
}

func invitationOf(i auth.Invitation) invitation {
	return invitation{
		ID:        i.ID,
		Email:     nullable(i.Email),
		Role:      i.Role,
		CreatedAt: Timestamp(i.CreatedAt),
		CreatedBy: nullable(i.Inviter),
		ExpiresAt: Timestamp(i.ExpiresAt),
		UsedAt:    Timestamp(i.UsedAt),
		UsedBy:    nullable(i.UsedBy),
	}
}

type newInvitation struct {
	Invitation invitation `json:"invitation"`
	Code       string     `json:"code" doc:"For the invited person to register with; not shown again"`
	Mailed     bool       `json:"mailed" doc:"Whether a letter is on its way to the address"`
}

type newInvitationOutput struct{ Body newInvitation }

func (a *API) createInvitation(ctx context.Context, in *struct{ Body invitationDraft }) (*newInvitationOutput, error) {
	ttl := time.Duration(in.Body.ExpiresIn) * time.Second
	i, code, mailed, err := a.deps.Auth.Invite(ctx, principal(ctx), in.Body.Email, in.Body.Role, ttl)
	if err != nil {
		return nil, err
	}
	return &newInvitationOutput{Body: newInvitation{Invitation: invitationOf(i), Code: code, Mailed: mailed}}, nil
}

type invitationsInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"200" doc:"next_cursor of the page before"`
}

type invitationPage struct {
	Items []invitation `json:"items" nullable:"false"`
	Next  *string      `json:"next_cursor" doc:"null at the end"`
}

type invitationsOutput struct{ Body invitationPage }

func (a *API) listInvitations(ctx context.Context, in *invitationsInput) (*invitationsOutput, error) {
	found, next, err := a.deps.Auth.Invitations(ctx, principal(ctx), in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	page := invitationPage{Items: make([]invitation, len(found)), Next: nullable(next)}
	for i, inv := range found {
		page.Items[i] = invitationOf(inv)
	}
	return &invitationsOutput{Body: page}, nil
}

func (a *API) deleteInvitation(ctx context.Context, in *struct {
	ID string `path:"id"`
}) (*struct{}, error) {
	return nil, a.deps.Auth.Uninvite(ctx, principal(ctx), in.ID)
}
