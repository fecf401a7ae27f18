package api

import (
	"context"

	"sensorcast/telemetry"
)

// happening is one thing that happened to a sensor.
type happening struct {
	At      Timestamp `json:"at"`
	Event   string    `json:"event" enum:"created,silent,online,opened,resolved,acknowledged" doc:"silent and online: an alert of silence was opened, resolved; opened and resolved: another alert"`
	AlertID *string   `json:"alert_id"`
	Text    *string   `json:"text" doc:"The alert's message, or who acknowledged it"`
}

type timelineInput struct {
	Serial string `path:"serial_no"`
	From   string `query:"from" format:"date-time" doc:"Not before this time"`
	To     string `query:"to" format:"date-time" doc:"Before this time"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"next_cursor of the page before"`
}

type timelinePage struct {
	Items []happening `json:"items" nullable:"false"`
	Next  *string     `json:"next_cursor" doc:"null at the end"`
}

type timelineOutput struct{ Body timelinePage }

func (a *API) showTimeline(ctx context.Context, in *timelineInput) (*timelineOutput, error) {
	q := telemetry.TimelineQuery{Limit: in.Limit + 1} // the one too many says that there is a next page
	var err error
	if q.From, err = parseTime("from", in.From); err != nil {
		return nil, err
	}
	if q.To, err = parseTime("to", in.To); err != nil {
		return nil, err
	}
	at, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	q.BeyondAt, q.BeyondOrder = at.time, at.seq
	found, err := a.deps.Alerts.Timeline(ctx, principal(ctx), in.Serial, q)
	if err != nil {
		return nil, err
	}
	var page timelinePage
	if len(found) > in.Limit {
		found = found[:in.Limit]
		last := found[in.Limit-1]
		page.Next = nullable(position{time: last.At, seq: last.Order}.cursor())
	}
	page.Items = make([]happening, len(found))
	for i, e := range found {
		page.Items[i] = happening{At: Timestamp(e.At), Event: e.What, AlertID: nullable(e.AlertID), Text: nullable(e.Text)}
	}
	return &timelineOutput{Body: page}, nil
}
