package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// sessionRoutes are those of the logins of one's own account.
func (a *API) sessionRoutes() {
	const sessions = base + "/users/me/sessions"
	handle(a, huma.Operation{
		OperationID: "list-sessions", Method: http.MethodGet, Path: sessions, Tags: []string{tagAccounts},
		Summary:     "List where one is logged in",
		Description: "Newest login first. API tokens and logins over MQTT are no sessions.",
		Security:    person(),
	}, a.listSessions)
	handle(a, huma.Operation{
		OperationID: "end-other-sessions", Method: http.MethodDelete, Path: sessions, Tags: []string{tagAccounts},
		Summary:     "End all of one's sessions but the one that asks",
		Description: "Their tokens and sockets end with them, and so does what the password opened over MQTT. API tokens stay.",
		Security:    person(),
	}, a.endOtherSessions)
	handle(a, huma.Operation{
		OperationID: "end-session", Method: http.MethodDelete, Path: sessions + "/{session_id}", Tags: []string{tagAccounts},
		Summary:     "End one of one's own sessions",
		Description: "Its tokens and sockets end with it.",
		Security:    person(), Errors: []int{http.StatusNotFound},
	}, a.endOneSession)
}

// login is a session as its account sees it.
type login struct {
	ID         string    `json:"id"`
	CreatedAt  Timestamp `json:"created_at" doc:"Of the login"`
	LastUsedAt Timestamp `json:"last_used_at" doc:"When its tokens were last refreshed"`
	ExpiresAt  Timestamp `json:"expires_at" doc:"When one has to log in again, however often it is refreshed"`
	Current    bool      `json:"current" doc:"The one that is asking"`
	Address    *string   `json:"address" doc:"From where it was last refreshed; null: unknown"`
	Client     *string   `json:"client" doc:"The User-Agent then; null: none"`
}

type sessionsInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"128" doc:"next_cursor of the page before"`
}

type sessionPage struct {
	Items []login `json:"items" nullable:"false"`
	Next  *string `json:"next_cursor" doc:"null at the end"`
}

type sessionsOutput struct{ Body sessionPage }

func (a *API) listSessions(ctx context.Context, in *sessionsInput) (*sessionsOutput, error) {
	after, err := parseSessionCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	p := principal(ctx)
	found, err := a.deps.Auth.Sessions(ctx, p, after, in.Limit+1) // the one too many says that there is a next page
	if err != nil {
		return nil, err
	}
	var page sessionPage
	if len(found) > in.Limit {
		found = found[:in.Limit]
		page.Next = nullable(sessionCursor(found[in.Limit-1]))
	}
	page.Items = make([]login, len(found))
	for i, s := range found {
		page.Items[i] = login{
			ID:         s.ID,
			CreatedAt:  Timestamp(s.CreatedAt),
			LastUsedAt: Timestamp(s.LastUse.At),
			ExpiresAt:  Timestamp(s.ExpiresAt),
			Current:    s.ID == p.SessionID,
			Address:    nullable(s.LastUse.Address),
			Client:     nullable(s.LastUse.Client),
		}
	}
	return &sessionsOutput{Body: page}, nil
}

// sessionCursor is the place of a session in the list.
func sessionCursor(s auth.Session) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(int64(s.CreatedAt), 36) + "." + s.ID))
}

func parseSessionCursor(text string) (place auth.Session, err error) {
	if text == "" {
		return place, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	at, id, ok := strings.Cut(string(b), ".")
	created, perr := strconv.ParseInt(at, 36, 64)
	if err != nil || perr != nil || !ok || id == "" {
		return place, telemetry.Invalid("cursor", "is not one this list gave out")
	}
	return auth.Session{CreatedAt: telemetry.Millis(created), ID: id}, nil
}

func (a *API) endOtherSessions(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, a.deps.Auth.EndOtherSessions(ctx, principal(ctx))
}

type sessionInput struct {
	ID string `path:"session_id"`
}

func (a *API) endOneSession(ctx context.Context, in *sessionInput) (*struct{}, error) {
	return nil, a.deps.Auth.EndSessionOf(ctx, principal(ctx), in.ID)
}
