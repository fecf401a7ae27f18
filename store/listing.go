package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"sensorcast/telemetry"
)

// ordering is one way to sort a list of sensors. Ties are broken by id, so that every sensor has exactly one place.
type ordering struct {
	column     string
	numeric    bool
	descending bool
}

// orderings by the names clients use.
var orderings = map[string]ordering{
	"serial_no":    {column: "s.serial"},
	"name":         {column: "s.name COLLATE NOCASE"},
	"last_seen_at": {column: "st.last_seen_at", numeric: true}, // never seen is 0: before all others
	"created_at":   {column: "s.created_at", numeric: true},
}

func orderingOf(sort string) (ordering, error) {
	name, descending := strings.CutPrefix(sort, "-")
	if sort == "" {
		name = "serial_no"
	}
	o, ok := orderings[name]
	if !ok {
		return o, telemetry.Invalid("sort", "must be serial_no, name, last_seen_at or created_at, with - in front to reverse")
	}
	o.descending = descending
	return o, nil
}

// cursor is the place of the last sensor of a page in its order. Continuing from a place rather than from a count keeps pages from
// repeating or missing sensors when others come and go in between.
type cursor struct {
	Sort   string `json:"s"`
	Text   string `json:"t,omitempty"`
	Number int64  `json:"n,omitempty"`
	ID     int64  `json:"i"`
}

func (c cursor) String() string {
	b, _ := json.Marshal(c) // plain fields always marshal
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads what String of the same sort wrote. The limit on length bounds the work on what a stranger sends.
func parseCursor(s, sort string) (c cursor, err error) {
	broken := telemetry.Invalid("cursor", "is not one this list gave out for the same sort")
	if len(s) > 4096 {
		return c, broken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || json.Unmarshal(b, &c) != nil || c.Sort != sort || c.ID <= 0 {
		return cursor{}, broken
	}
	return c, nil
}

// ListSensors returns a page of one owner's sensors with their status, and the cursor of the next page, "" at the end. What is
// wrong with the query is telemetry.Invalid("sort"|"cursor"|"state", …).
func (d *DB) ListSensors(ctx context.Context, q telemetry.SensorQuery) (items []telemetry.Sensor, next string, err error) {
	o, err := orderingOf(q.Sort)
	if err != nil {
		return nil, "", err
	}
	where := conditions{}
	where.add("s.owner_id = ?", q.OwnerID)
	if q.Text != "" {
		where.add("instr(s.search, ?) > 0", strings.ToLower(q.Text)) // not LIKE: nothing in the text has a meaning
	}
	if q.Tag != "" {
		where.add("s.id IN (SELECT sensor_id FROM sensor_tags WHERE tag = ?)", q.Tag)
	}
	if err := whereState(&where, q); err != nil {
		return nil, "", err
	}
	if q.After != "" {
		c, err := parseCursor(q.After, q.Sort)
		if err != nil {
			return nil, "", err
		}
		o.after(&where, c)
	}
	limit := max(q.Limit, 1)
	// Which sensors first, all that is shown of them afterwards: sorting a long list carries only what it is sorted by.
	page := "SELECT s.id FROM sensors s CROSS JOIN sensor_status st ON st.sensor_id = s.id WHERE " + where.String() + o.by() + " LIMIT ?"
	items, err = d.sensors(ctx, selectSensor+" WHERE s.id IN ("+page+")"+o.by(), append(where.args, limit+1))
	if err != nil {
		return nil, "", err
	}
	if len(items) > limit { // one more than asked for shows that there is a next page
		items = items[:limit]
		next = o.cursorAt(items[limit-1], q.Sort).String()
	}
	return items, next, nil
}

func (d *DB) sensors(ctx context.Context, query string, args []any) ([]telemetry.Sensor, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query sensors: %w", readError(err))
	}
	defer rows.Close()
	var out []telemetry.Sensor
	for rows.Next() {
		s, err := scanSensor(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("read sensors: %w", err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read sensors: %w", readError(err))
	}
	return out, nil
}

// whereState says in SQL what telemetry.StateAt says in Go.
func whereState(where *conditions, q telemetry.SensorQuery) error {
	const deadline = "st.last_seen_at + CASE s.silence_after WHEN 0 THEN ? ELSE s.silence_after END"
	switch q.State {
	case "":
	case telemetry.StateNeverSeen:
		where.add("st.last_seen_at = 0")
	case telemetry.StateSilent:
		where.add("st.last_seen_at <> 0 AND "+deadline+" <= ?", q.SilenceDefault.Milliseconds(), int64(q.Now))
	case telemetry.StateOnline:
		where.add("st.last_seen_at <> 0 AND "+deadline+" > ?", q.SilenceDefault.Milliseconds(), int64(q.Now))
	default:
		return telemetry.Invalid("state", "must be online, silent or never_seen")
	}
	return nil
}

func (o ordering) by() string {
	if o.descending {
		return " ORDER BY " + o.column + " DESC, s.id DESC"
	}
	return " ORDER BY " + o.column + ", s.id"
}

func (o ordering) after(where *conditions, c cursor) {
	var key any = c.Text
	if o.numeric {
		key = c.Number
	}
	beyond := ">"
	if o.descending {
		beyond = "<"
	}
	where.add("("+o.column+", s.id) "+beyond+" (?, ?)", key, c.ID)
}

func (o ordering) cursorAt(s telemetry.Sensor, sort string) cursor {
	c := cursor{Sort: sort, ID: s.ID}
	switch o.column {
	case orderings["serial_no"].column:
		c.Text = s.Serial
	case orderings["name"].column:
		c.Text = s.Name
	case orderings["last_seen_at"].column:
		c.Number = int64(s.Status.LastSeenAt)
	case orderings["created_at"].column:
		c.Number = int64(s.CreatedAt)
	}
	return c
}
