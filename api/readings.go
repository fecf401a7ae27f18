package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func (a *API) readingRoutes() {
	handle(a, huma.Operation{
		OperationID: "list-readings", Method: http.MethodGet, Path: sensorPath + "/readings", Tags: []string{tagReadings},
		Summary:     "List what a sensor measured",
		Description: "By time, newest first; with after_seq in the order of the server's log, oldest first.",
		Security:    reader(),
	}, a.listReadings)
}

// reading is one reading as clients see it.
type reading struct {
	Seq        int64     `json:"seq" doc:"Its position in the server's one log of readings"`
	Time       Timestamp `json:"time" doc:"When it was measured, by the sensor's clock if that is sane"`
	ReceivedAt Timestamp `json:"received_at"`
	Data       metrics   `json:"data"`
}

// metrics are a reading's data, byte for byte as the sensor sent them but for white space: no number loses a digit.
type metrics json.RawMessage

// MarshalJSON returns the bytes.
func (m metrics) MarshalJSON() ([]byte, error) { return m, nil }

// Schema says that any object will do.
func (metrics) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

func readingOf(r telemetry.Reading) reading {
	return reading{Seq: r.Seq, Time: Timestamp(r.Time), ReceivedAt: Timestamp(r.ReceivedAt), Data: metrics(r.Data)}
}

type readingsInput struct {
	Serial   string           `path:"serial_no"`
	From     string           `query:"from" format:"date-time" doc:"Not before this time"`
	To       string           `query:"to" format:"date-time" doc:"Before this time"`
	AfterSeq parameter[int64] `query:"after_seq" minimum:"0" doc:"Only what came after this position in the log"`
	Order    string           `query:"order" enum:"asc,desc" doc:"desc, or asc with after_seq"`
	Limit    int              `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor   string           `query:"cursor" maxLength:"64" doc:"next_cursor of the page before"`
}

type readingPage struct {
	Items []reading `json:"items" nullable:"false"`
	Next  *string   `json:"next_cursor" doc:"null at the end"`
}

type readingsOutput struct{ Body readingPage }

func (a *API) listReadings(ctx context.Context, in *readingsInput) (*readingsOutput, error) {
	dev, err := a.sensorFor(principal(ctx), auth.View, in.Serial)
	if err != nil {
		return nil, err
	}
	q, err := in.query()
	if err != nil {
		return nil, err
	}
	q.SensorID = dev.SensorID
	q.Limit = in.Limit + 1 // the one too many says that there is a next page
	found, err := a.deps.History.Readings(ctx, q)
	if err != nil {
		return nil, err
	}
	var page readingPage
	if len(found) > in.Limit {
		found = found[:in.Limit]
		last := found[in.Limit-1]
		page.Next = nullable(position{time: last.Time, seq: last.Seq}.cursor())
	}
	page.Items = make([]reading, len(found))
	for i, r := range found {
		page.Items[i] = readingOf(r)
	}
	return &readingsOutput{Body: page}, nil
}

func (in *readingsInput) query() (telemetry.ReadingQuery, error) {
	from, err := parseTime("from", in.From)
	if err != nil {
		return telemetry.ReadingQuery{}, err
	}
	to, err := parseTime("to", in.To)
	if err != nil {
		return telemetry.ReadingQuery{}, err
	}
	at, err := parseCursor(in.Cursor)
	if err != nil {
		return telemetry.ReadingQuery{}, err
	}
	return telemetry.ReadingQuery{
		From:        from,
		To:          to,
		HasAfterSeq: in.AfterSeq.given,
		AfterSeq:    in.AfterSeq.value,
		Ascending:   in.Order == "asc" || in.Order == "" && in.AfterSeq.given,
		CursorTime:  at.time,
		CursorSeq:   at.seq,
	}, nil
}
