package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Alerts knows incidents; *alert.Incidents does. All methods ask the policy themselves.
type Alerts interface {
	// List returns incidents of the sensors p may view, or of one of them, newest first.
	List(ctx context.Context, p auth.Principal, serial string, q telemetry.AlertQuery) ([]telemetry.Alert, error)
	// Show returns one.
	Show(ctx context.Context, p auth.Principal, id string) (telemetry.Alert, error)
	// Acknowledge says that p looks after one.
	Acknowledge(ctx context.Context, p auth.Principal, id string) (telemetry.Alert, error)
	// Timeline returns what happened to a sensor, newest first.
	Timeline(ctx context.Context, p auth.Principal, serial string, q telemetry.TimelineQuery) ([]telemetry.Event, error)
}

func (a *API) alertRoutes() {
	handle(a, huma.Operation{
		OperationID: "list-alerts", Method: http.MethodGet, Path: base + "/alerts", Tags: []string{tagAlerts},
		Summary:     "List what is or was wrong with one's sensors",
		Description: "Newest first. What is resolved is kept for 90 days.",
		Security:    reader(), Errors: []int{http.StatusNotFound},
	}, a.listAlerts)
	handle(a, huma.Operation{
		OperationID: "get-alert", Method: http.MethodGet, Path: base + "/alerts/{id}", Tags: []string{tagAlerts},
		Summary:  "Show an alert",
		Security: reader(),
	}, a.showAlert)
	handle(a, huma.Operation{
		OperationID: "acknowledge-alert", Method: http.MethodPost, Path: base + "/alerts/{id}/ack", Tags: []string{tagAlerts},
		Summary:     "Say that one looks after an alert",
		Description: "There are no reminders of it from then on. One that is resolved, or acknowledged by somebody, is left as it is.",
		Security:    writer(), Errors: []int{http.StatusServiceUnavailable},
	}, a.acknowledgeAlert)
	handle(a, huma.Operation{
		OperationID: "get-timeline", Method: http.MethodGet, Path: sensorPath + "/timeline", Tags: []string{tagAlerts},
		Summary:     "List what happened to a sensor",
		Description: "When it fell silent and was back, and what became of its alerts, newest first.",
		Security:    reader(),
	}, a.showTimeline)
}

// sensorAlert is an incident as those who may view its sensor see it, here and in frames and messages.
type sensorAlert struct {
	ID             string               `json:"id"`
	Serial         string               `json:"serial_no"`
	Name           string               `json:"name" doc:"The sensor's"`
	Kind           telemetry.AlertKind  `json:"kind" enum:"silent,threshold"`
	Cause          telemetry.Cause      `json:"cause" enum:"unknown,disconnected,keep_alive,connection_lost,will,closed,refused,no_data,not_back,threshold"`
	Severity       telemetry.Severity   `json:"severity" enum:"info,warning,critical"`
	State          telemetry.AlertState `json:"state" enum:"open,resolved"`
	Message        string               `json:"message" doc:"What is wrong and why, in words"`
	OpenedAt       Timestamp            `json:"opened_at"`
	ResolvedAt     Timestamp            `json:"resolved_at" nullable:"true"`
	AcknowledgedAt Timestamp            `json:"acknowledged_at" nullable:"true"`
	AcknowledgedBy *string              `json:"acknowledged_by" doc:"User name"`
	Flapping       bool                 `json:"flapping" doc:"It came and went so often that it stays open until it has kept away for an hour"`
	Episodes       int                  `json:"episodes" doc:"How often what is wrong began"`
}

func alertOf(a telemetry.Alert) sensorAlert {
	return sensorAlert{
		ID:             a.ID,
		Serial:         a.Serial,
		Name:           a.Name,
		Kind:           a.Kind,
		Cause:          a.Cause,
		Severity:       a.Severity,
		State:          a.State(),
		Message:        a.Message,
		OpenedAt:       Timestamp(a.OpenedAt),
		ResolvedAt:     Timestamp(a.ResolvedAt),
		AcknowledgedAt: Timestamp(a.AcknowledgedAt),
		AcknowledgedBy: nullable(a.AcknowledgedBy),
		Flapping:       a.Flapping,
		Episodes:       a.Episodes,
	}
}

type alertsInput struct {
	State  string `query:"state" enum:"open,resolved"`
	Serial string `query:"serial_no" maxLength:"64" doc:"Of this sensor only"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"next_cursor of the page before"`
}

type alertPage struct {
	Items []sensorAlert `json:"items" nullable:"false"`
	Next  *string       `json:"next_cursor" doc:"null at the end"`
}

type alertsOutput struct{ Body alertPage }

func (a *API) listAlerts(ctx context.Context, in *alertsInput) (*alertsOutput, error) {
	at, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.deps.Alerts.List(ctx, principal(ctx), in.Serial, telemetry.AlertQuery{
		State:  telemetry.AlertState(in.State),
		Beyond: at.seq,
		Limit:  in.Limit + 1, // the one too many says that there is a next page
	})
	if err != nil {
		return nil, err
	}
	var page alertPage
	if len(found) > in.Limit {
		found = found[:in.Limit]
		page.Next = nullable(position{seq: found[in.Limit-1].Order}.cursor())
	}
	page.Items = make([]sensorAlert, len(found))
	for i, al := range found {
		page.Items[i] = alertOf(al)
	}
	return &alertsOutput{Body: page}, nil
}

type alertInput struct {
	ID string `path:"id" maxLength:"64"`
}

type alertOutput struct{ Body sensorAlert }

func (a *API) showAlert(ctx context.Context, in *alertInput) (*alertOutput, error) {
	found, err := a.deps.Alerts.Show(ctx, principal(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &alertOutput{Body: alertOf(found)}, nil
}

func (a *API) acknowledgeAlert(ctx context.Context, in *alertInput) (*alertOutput, error) {
	found, err := a.deps.Alerts.Acknowledge(ctx, principal(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &alertOutput{Body: alertOf(found)}, nil
}
