package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sensorcast/telemetry"
	"sensorcast/telemetry/roster"
)

// exportPage is how many sensors are read at a time: each page is a read of its own, however slowly the client takes them.
const exportPage = 500

// SensorFilter selects sensors of a list. It is exported for huma, which sees only such embedded fields.
type SensorFilter struct {
	Text   string   `query:"q" maxLength:"200" doc:"Part of serial, name, description, type, manufacturer or a tag"`
	Tags   []string `query:"tag,explode" nullable:"false" maxItems:"20" doc:"Exactly this tag; of several, all"`
	State  string   `query:"state" enum:"online,silent,never_seen"`
	Access string   `query:"access" enum:"owner,manager,viewer" doc:"Those to which one is just that"`
	Sort   string   `query:"sort" enum:"serial_no,-serial_no,name,-name,last_seen_at,-last_seen_at,created_at,-created_at" default:"serial_no" doc:"- reverses"`
}

func (f SensorFilter) query(ctx context.Context) telemetry.SensorQuery {
	p := principal(ctx)
	serials, _ := p.Confined()
	return telemetry.SensorQuery{UserID: p.UserID, Access: f.Access, Serials: serials, Text: f.Text, Tags: f.Tags, State: telemetry.State(f.State), Sort: f.Sort}
}

// exportSensors reads the first page before it leaves huma, so that what is wrong with the query is a problem and not a broken sheet.
func (a *API) exportSensors(ctx context.Context, in *struct{ SensorFilter }) (*huma.StreamResponse, error) {
	q := in.query(ctx)
	q.Limit = exportPage
	page, next, err := a.deps.Registry.ListSensors(ctx, q)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		r, w := humago.Unwrap(hctx)
		w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
		w.Header().Set("Content-Disposition", `attachment; filename="sensors.csv"`)
		if r.Method == http.MethodHead { // which ServeMux takes for GET
			return
		}
		sheet := roster.NewWriter(w)
		for {
			for _, s := range page {
				sheet.Write(s)
			}
			if err = sheet.Flush(); err != nil || next == "" {
				break
			}
			q.After = next
			if page, next, err = a.deps.Registry.ListSensors(ctx, q); err != nil {
				break
			}
		}
		if err != nil { // half a sheet must not look like a whole one
			a.log.Debug("export broken off", "err", err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}
