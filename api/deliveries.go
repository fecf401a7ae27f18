package api

import (
	"context"

	"sensorcast/notify"
)

// delivery is one notice on its way to one channel.
type delivery struct {
	ID        string          `json:"id" doc:"Of the notice: a webhook's webhook-id"`
	What      string          `json:"what" doc:"opened, resolved, reminder or digest"`
	Serial    *string         `json:"serial_no" doc:"null: of no single sensor, or of one that is gone"`
	Severity  notify.Severity `json:"severity" enum:"info,warning,critical"`
	Title     string          `json:"title"`
	State     notify.State    `json:"state" enum:"waiting,sent,failed" doc:"failed: given up"`
	Attempts  int             `json:"attempts"`
	Error     *string         `json:"error" doc:"Why the last attempt failed, in words"`
	CreatedAt Timestamp       `json:"created_at"`
	DueAt     Timestamp       `json:"due_at" nullable:"true" doc:"The end of the quiet hours it was held back by"`
	SettledAt Timestamp       `json:"settled_at" nullable:"true" doc:"When it was sent or given up"`
}

func deliveryOf(d notify.Delivery) delivery {
	return delivery{
		ID:        d.Notice.UID,
		What:      d.Notice.What,
		Serial:    nullable(d.Notice.Serial),
		Severity:  d.Notice.Severity,
		Title:     d.Notice.Title,
		State:     d.State,
		Attempts:  d.Attempts,
		Error:     nullable(d.Error),
		CreatedAt: Timestamp(d.Notice.CreatedAt),
		DueAt:     Timestamp(d.DueAt),
		SettledAt: Timestamp(d.SettledAt),
	}
}

type deliveriesInput struct {
	ID     string `path:"channel_id"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"64" doc:"next_cursor of the page before"`
}

type deliveryPage struct {
	Items []delivery `json:"items" nullable:"false"`
	Next  *string    `json:"next_cursor" doc:"null at the end"`
}

type deliveriesOutput struct{ Body deliveryPage }

func (a *API) listDeliveries(ctx context.Context, in *deliveriesInput) (*deliveriesOutput, error) {
	at, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.deps.Channels.Deliveries(ctx, principal(ctx), in.ID, at.seq, in.Limit+1) // the one too many says that there is a next page
	if err != nil {
		return nil, err
	}
	var page deliveryPage
	if len(found) > in.Limit {
		found = found[:in.Limit]
		page.Next = nullable(position{seq: found[in.Limit-1].ID}.cursor())
	}
	page.Items = make([]delivery, len(found))
	for i, d := range found {
		page.Items[i] = deliveryOf(d)
	}
	return &deliveriesOutput{Body: page}, nil
}
