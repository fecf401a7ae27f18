package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/audit"
	"sensorcast/auth"
)

func (a *API) auditRoutes() {
	handle(a, huma.Operation{
		OperationID: "list-audit", Method: http.MethodGet, Path: base + "/audit", Tags: []string{tagAudit},
		Summary: "List who did what",
		Description: "Newest first. Admins see everything; others what they did, what was done to their account, and what anybody did to sensors " +
			"that were theirs then. action is the operation's id in this document. What is refused, or fails, more than once within a minute shares an entry.",
		Security: personOrOperator(), Errors: []int{http.StatusForbidden},
	}, a.listAudit)
}

type auditInput struct {
	Actor  string `query:"actor" maxLength:"254" doc:"User name, as of then"`
	Serial string `query:"serial_no" maxLength:"64" doc:"As of then. Of a sensor that is there only its own, not of one that had its serial before; admins see both"`
	Action string `query:"action" maxLength:"64" doc:"Such as rotate-secret"`
	From   string `query:"from" format:"date-time" doc:"Not before"`
	To     string `query:"to" format:"date-time" doc:"Before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"next_cursor of the page before"`
}

// auditEntry is an entry of the trail as those whom it concerns see it.
type auditEntry struct {
	Seq      int64          `json:"seq"`
	At       Timestamp      `json:"at" doc:"The first time, where count is more"`
	Action   string         `json:"action" doc:"Id of the operation"`
	Outcome  audit.Outcome  `json:"outcome" enum:"done,refused,failed"`
	Count    int64          `json:"count" doc:"How often within the minute"`
	Actor    *string        `json:"actor" doc:"User name as of then; null: a stranger, or the operator in nobody's name"`
	Via      *string        `json:"via" enum:"session,token,shell" doc:"shell: the operator, on the server's own machine; null: they logged in or registered, or tried to"`
	ViaID    *string        `json:"via_id" doc:"Of the session or token; to the actor and admins only"`
	Address  *string        `json:"address" doc:"To the actor and admins, and to everybody of a stranger"`
	Serial   *string        `json:"serial_no" doc:"Of the sensor it was done to"`
	Username *string        `json:"username" doc:"Of the account it was done to"`
	Detail   map[string]any `json:"detail" nullable:"true" doc:"Such as the names of the fields that were changed; never a value that could be secret"`
}

type auditPage struct {
	Items []auditEntry `json:"items" nullable:"false"`
	Next  *string      `json:"next_cursor" doc:"null at the end"`
}

type auditOutput struct{ Body auditPage }

func (a *API) listAudit(ctx context.Context, in *auditInput) (*auditOutput, error) {
	q, err := a.auditQuery(principal(ctx), in)
	if err != nil {
		return nil, err
	}
	found, err := a.deps.Audit.Entries(ctx, q)
	if err != nil {
		return nil, err
	}
	var page auditPage
	if len(found) > in.Limit {
		found = found[:in.Limit]
		page.Next = nullable(position{seq: found[in.Limit-1].Seq}.cursor())
	}
	page.Items = make([]auditEntry, len(found))
	for i := range found {
		page.Items[i] = entryFor(principal(ctx), &found[i])
	}
	return &auditOutput{Body: page}, nil
}

// auditQuery confines p to what concerns them. Who asks for a sensor of theirs by its serial means that sensor.
func (a *API) auditQuery(p auth.Principal, in *auditInput) (q audit.Query, err error) {
	at, err := parseCursor(in.Cursor)
	if err != nil {
		return q, err
	}
	q = audit.Query{Actor: in.Actor, Serial: in.Serial, Action: in.Action, Beyond: at.seq, Limit: in.Limit + 1} // the one too many says that there is a next page
	if q.From, err = parseTime("from", in.From); err != nil {
		return q, err
	}
	if q.To, err = parseTime("to", in.To); err != nil {
		return q, err
	}
	if p.Administers() {
		return q, nil
	}
	q.Party = p.UserID
	if dev, known := a.deps.Directory.Lookup(in.Serial); known && auth.Allowed(p, auth.View, dev) {
		q.SensorID = dev.SensorID
	}
	return q, nil
}

// entryFor shows e to p: where somebody sits whom they let at their sensors is not theirs to know.
func entryFor(p auth.Principal, e *audit.Entry) auditEntry {
	shown := auditEntry{
		Seq: e.Seq, At: Timestamp(e.At), Action: e.Action, Outcome: e.Outcome, Count: e.Count,
		Actor: nullable(e.Actor.Name), Via: nullable(string(e.Via)),
		Serial: nullable(e.Sensor.Serial), Username: nullable(e.Account.Name), Detail: e.Detail,
	}
	if p.Administers() || e.Actor.ID == p.UserID {
		shown.ViaID = nullable(e.ViaID)
	}
	if p.Administers() || e.Actor.ID == p.UserID || e.Actor.ID == 0 {
		shown.Address = nullable(e.Address)
	}
	return shown
}
