package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/inbox"
	"sensorcast/telemetry"
)

// Inbox knows who tried to log in over MQTT as a sensor nobody knows; *inbox.Inbox does.
type Inbox interface {
	// List returns the strangers that are not dismissed, those seen last first.
	List() []inbox.Stranger
	// Find returns one, dismissed or not.
	Find(serial string) (inbox.Stranger, bool)
	// Dismiss has one not listed any more; telemetry.ErrNotFound.
	Dismiss(ctx context.Context, serial string) error
}

const inboxPath = base + "/inbox/{serial_no}"

func (a *API) inboxRoutes() {
	handle(a, huma.Operation{
		OperationID: "list-inbox", Method: http.MethodGet, Path: base + "/inbox", Tags: []string{tagInbox},
		Summary:     "List the sensors that tried to connect and that nobody knows",
		Description: "For admins. Newest first, at most 1,000 and 100 of one address; forgotten 30 days after they last tried.",
		Security:    admin(), Errors: []int{http.StatusForbidden},
	}, a.listInbox)
	handle(a, huma.Operation{
		OperationID: "adopt-stranger", Method: http.MethodPost, Path: inboxPath + "/adopt", Tags: []string{tagInbox},
		Summary: "Register a sensor that tried to connect",
		Description: "For admins. The body is that of POST /sensors, all of it optional. With keep_secret the secret the sensor showed becomes its secret, so that it gets in " +
			"when it tries again; without, the answer holds a new one, shown this once.",
		Security: admin(), DefaultStatus: http.StatusCreated, Errors: []int{http.StatusForbidden, http.StatusConflict},
	}, a.adoptStranger)
	handle(a, huma.Operation{
		OperationID: "dismiss-stranger", Method: http.MethodDelete, Path: inboxPath, Tags: []string{tagInbox},
		Summary:     "Dismiss a sensor that tried to connect",
		Description: "For admins. It is not listed again for 30 days, however often it tries.",
		Security:    admin(), Errors: []int{http.StatusForbidden},
	}, a.dismissStranger)
}

type inboxItem struct {
	Serial      string    `json:"serial_no"`
	FirstSeenAt Timestamp `json:"first_seen_at"`
	LastSeenAt  Timestamp `json:"last_seen_at"`
	Attempts    int64     `json:"attempts"`
	Address     string    `json:"address" doc:"Of the last attempt, as what follows"`
	ClientID    string    `json:"client_id"`
	Protocol    string    `json:"protocol"`
	Secret      string    `json:"secret" enum:"none,shown,changed" doc:"Whether it showed a secret a sensor may have; changed: different ones, perhaps not all by the same device"`
}

func inboxItemOf(s inbox.Stranger) inboxItem {
	shown := inboxItem{
		Serial:      s.Serial,
		FirstSeenAt: Timestamp(s.FirstSeen),
		LastSeenAt:  Timestamp(s.LastSeen),
		Attempts:    s.Attempts,
		Address:     s.Address,
		ClientID:    s.ClientID,
		Protocol:    s.Protocol,
		Secret:      "none",
	}
	switch {
	case s.Proved():
		shown.Secret = "shown"
	case s.Secrets > 1:
		shown.Secret = "changed"
	}
	return shown
}

type inboxInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"128" doc:"next_cursor of the page before"`
}

type inboxPage struct {
	Items []inboxItem `json:"items" nullable:"false"`
	Next  *string     `json:"next_cursor" doc:"null at the end"`
}

type inboxOutput struct{ Body inboxPage }

func (a *API) listInbox(ctx context.Context, in *inboxInput) (*inboxOutput, error) {
	if !auth.MayAdopt(principal(ctx)) {
		return nil, telemetry.ErrForbidden
	}
	all, err := after(a.deps.Inbox.List(), in.Cursor)
	if err != nil {
		return nil, err
	}
	page := inboxPage{Items: []inboxItem{}}
	if len(all) > in.Limit {
		all = all[:in.Limit]
		page.Next = nullable(inboxCursor(all[in.Limit-1]))
	}
	for _, s := range all {
		page.Items = append(page.Items, inboxItemOf(s))
	}
	return &inboxOutput{Body: page}, nil
}

// inboxCursor is the place of s: who knocks meanwhile moves to the front, which those who read on have behind them.
func inboxCursor(s inbox.Stranger) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", s.LastSeen, s.Serial))
}

func after(all []inbox.Stranger, cursor string) ([]inbox.Stranger, error) {
	if cursor == "" {
		return all, nil
	}
	var last inbox.Stranger
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		_, err = fmt.Sscanf(string(text), "%d %s", &last.LastSeen, &last.Serial)
	}
	if err != nil {
		return nil, telemetry.Invalid("cursor", "is not a cursor of this list")
	}
	i := slices.IndexFunc(all, func(s inbox.Stranger) bool {
		return s.LastSeen < last.LastSeen || s.LastSeen == last.LastSeen && s.Serial > last.Serial
	})
	if i < 0 {
		return nil, nil
	}
	return all[i:], nil
}

func (a *API) dismissStranger(ctx context.Context, in *serialInput) (*struct{}, error) {
	if !auth.MayAdopt(principal(ctx)) {
		return nil, telemetry.ErrForbidden
	}
	return nil, a.deps.Inbox.Dismiss(ctx, in.Serial)
}
