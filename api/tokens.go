package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
)

// tokenRoutes are those of one's own API tokens. They take a session: no token makes or ends another.
func (a *API) tokenRoutes() {
	const tokens = base + "/users/me/tokens"
	handle(a, huma.Operation{
		OperationID: "create-token", Method: http.MethodPost, Path: tokens, Tags: []string{tagTokens},
		Summary: "Make an API token",
		Description: "For programs: as bearer in place of an access token, and over MQTT as password beside one's user name. " +
			"The answer holds the token. It is shown this once.",
		Security: person(), DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
	}, a.createToken)
	handle(a, huma.Operation{
		OperationID: "list-tokens", Method: http.MethodGet, Path: tokens, Tags: []string{tagTokens},
		Summary:     "List one's API tokens",
		Description: "In the order they were made, on one page: there are at most 50, expired ones included.",
		Security:    person(),
	}, a.listTokens)
	handle(a, huma.Operation{
		OperationID: "delete-token", Method: http.MethodDelete, Path: tokens + "/{id}", Tags: []string{tagTokens},
		Summary:     "Revoke an API token",
		Description: "What it opened closes within a second.",
		Security:    person(), Errors: []int{http.StatusNotFound},
	}, a.deleteToken)
}

type tokenDraft struct {
	Name      string   `json:"name" doc:"What it is for; 1 to 100 characters"`
	Scopes    []string `json:"scopes" nullable:"false" minItems:"1" maxItems:"2" doc:"read: see sensors, readings and commands, watch them live; write: that, and register, change, command and delete sensors"`
	Serials   []string `json:"serial_nos,omitempty" nullable:"true" minItems:"1" maxItems:"100" doc:"Only these sensors; null: all one has access to, now and later"`
	ExpiresAt string   `json:"expires_at,omitempty" nullable:"true" format:"date-time" doc:"null: never"`
}

// apiToken is a token as its owner sees it: all but the token.
type apiToken struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Scopes     []string  `json:"scopes" nullable:"false"`
	Serials    []string  `json:"serial_nos" nullable:"true"`
	CreatedAt  Timestamp `json:"created_at"`
	ExpiresAt  Timestamp `json:"expires_at" nullable:"true"`
	LastUsedAt Timestamp `json:"last_used_at" nullable:"true"`
}

func apiTokenOf(t auth.APIToken) apiToken {
	scopes := []string{auth.ScopeRead}
	if t.Write {
		scopes = append(scopes, auth.ScopeWrite)
	}
	return apiToken{
		ID:         t.ID,
		Name:       t.Name,
		Scopes:     scopes,
		Serials:    t.Serials,
		CreatedAt:  Timestamp(t.CreatedAt),
		ExpiresAt:  Timestamp(t.ExpiresAt),
		LastUsedAt: Timestamp(t.LastUsedAt),
	}
}

type tokenCreated struct {
	Token    string   `json:"token" doc:"What programs send; shown this once"`
	APIToken apiToken `json:"api_token"`
}

type tokenCreatedOutput struct{ Body tokenCreated }

func (a *API) createToken(ctx context.Context, in *struct{ Body tokenDraft }) (*tokenCreatedOutput, error) {
	b := in.Body
	expires, err := parseTime("expires_at", b.ExpiresAt)
	if err != nil {
		return nil, err
	}
	made, token, err := a.deps.Auth.CreateToken(ctx, principal(ctx), auth.TokenDraft{
		Name: b.Name, Scopes: b.Scopes, Serials: b.Serials, ExpiresAt: expires,
	})
	if err != nil {
		return nil, err
	}
	return &tokenCreatedOutput{Body: tokenCreated{Token: token, APIToken: apiTokenOf(made)}}, nil
}

type tokenPage struct {
	Items []apiToken `json:"items" nullable:"false"`
	Next  *string    `json:"next_cursor" doc:"null: there is one page"`
}

type tokensOutput struct{ Body tokenPage }

func (a *API) listTokens(ctx context.Context, _ *struct{}) (*tokensOutput, error) {
	page := tokenPage{Items: []apiToken{}}
	for _, t := range a.deps.Auth.Tokens(principal(ctx)) {
		page.Items = append(page.Items, apiTokenOf(t))
	}
	return &tokensOutput{Body: page}, nil
}

type tokenInput struct {
	ID string `path:"id"`
}

func (a *API) deleteToken(ctx context.Context, in *tokenInput) (*struct{}, error) {
	return nil, a.deps.Auth.DeleteToken(ctx, principal(ctx), in.ID)
}
