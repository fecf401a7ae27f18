package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// ordering is one way to sort a list of sensors. Ties are broken by id, so that every sensor has exactly one place.
type ordering struct {
	column     string // empty: when the sensor was last seen
	numeric    bool
	descending bool
}

// orderings by the names clients use.
var orderings = map[string]ordering{
	"serial_no":    {column: "s.serial"},
	"name":         {column: "s.name COLLATE NOCASE"},
	"last_seen_at": {numeric: true}, // never seen is 0: before all others. No column says it; see byStanding
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

// ListSensors returns a page of the sensors one person owns or is shared with, with their status, and the cursor of the next page, "" at the
// end. What is wrong with the query is telemetry.Invalid("sort"|"cursor"|"state"|"access", …).
func (d *DB) ListSensors(ctx context.Context, q telemetry.SensorQuery) (items []telemetry.Sensor, next string, err error) {
	o, err := orderingOf(q.Sort)
	if err != nil {
		return nil, "", err
	}
	switch q.State {
	case "", telemetry.StateOnline, telemetry.StateSilent, telemetry.StateNeverSeen:
	default:
		return nil, "", telemetry.Invalid("state", "must be online, silent or never_seen")
	}
	if q.Access != "" && auth.AccessNamed(q.Access) == auth.NoAccess {
		return nil, "", telemetry.Invalid("access", "must be owner, manager or viewer")
	}
	var after cursor
	if q.After != "" {
		if after, err = parseCursor(q.After, q.Sort); err != nil {
			return nil, "", err
		}
	}
	// Which sensors first, all that is shown of them afterwards: sorting a long list carries only what it is sorted by.
	page, err := d.page(ctx, q, o, after)
	if err != nil {
		return nil, "", err
	}
	limit := max(q.Limit, 1)
	more := len(page) > limit // one more than asked for shows that there is a next page
	page = page[:min(len(page), limit)]
	if items, err = d.inOrder(ctx, page); err != nil {
		return nil, "", err
	}
	if more {
		next = o.cursorAt(page[limit-1], q.Sort).String()
	}
	return items, next, nil
}

// candidate is a sensor that may be on a page.
type candidate struct {
	id     int64
	key    string // what the list is sorted by, unless that is seenAt
	status telemetry.Status
}

// page selects which sensors are on a page, and one more if there is one.
func (d *DB) page(ctx context.Context, q telemetry.SensorQuery, o ordering, after cursor) (page []candidate, err error) {
	query, args := selectCandidates(q, o, after)
	count := max(q.Limit, 1) + 1
	if q.State == "" && o.column != "" {
		query, args = query+" LIMIT ?", append(args, count)
	}
	err = d.steady(ctx, func(ctx context.Context) error {
		if page, err = d.candidates(ctx, query, args); err == nil {
			d.tail.seen(page)
		}
		return err
	})
	return byStanding(page, q, o, after, count), err
}

// selectCandidates selects from the person's own sensors and from those shared with them, which are never the same. As two selects rather than
// one with an OR, SQLite can read each in the order asked for, where it has an index for that, and stop once it has merged a page.
func selectCandidates(q telemetry.SensorQuery, o ordering, after cursor) (query string, args []any) {
	serials, _ := json.Marshal(q.Serials) // strings always have a JSON form
	var arms []string
	for _, arm := range []struct {
		from, mine string
		has        bool
	}{
		{"sensors s", "s.owner_id = ?", q.Access == "" || q.Access == auth.OwnerAccess.String()},
		{"shares h CROSS JOIN sensors s ON s.id = h.sensor_id", "h.user_id = ?", q.Access != auth.OwnerAccess.String()},
	} {
		if !arm.has {
			continue
		}
		where := conditions{}
		where.add(arm.mine, q.UserID)
		if q.Access != "" && q.Access != auth.OwnerAccess.String() {
			where.add("h.access = ?", q.Access)
		}
		if q.Text != "" {
			where.add("instr(s.search, ?) > 0", strings.ToLower(q.Text)) // not LIKE: nothing in the text has a meaning
		}
		for _, tag := range q.Tags {
			where.add("s.id IN (SELECT sensor_id FROM sensor_tags WHERE tag = ?)", tag)
		}
		if q.Serials != nil {
			where.add("s.serial IN (SELECT value FROM json_each(?))", string(serials))
		}
		if q.After != "" && o.column != "" {
			o.after(&where, after)
		}
		arms = append(arms, "SELECT s.id, "+cmp.Or(o.column, "''")+", st.last_seen_at, st.silent_from FROM "+arm.from+
			" CROSS JOIN sensor_status st ON st.sensor_id = s.id WHERE "+where.String())
		args = append(args, where.args...)
	}
	return strings.Join(arms, " UNION ALL ") + o.by(), args
}

// byStanding is the part of a query that depends on when sensors were last seen, which SQL cannot know: part of it is in the tail.
func byStanding(all []candidate, q telemetry.SensorQuery, o ordering, after cursor, count int) []candidate {
	if q.State != "" {
		all = slices.DeleteFunc(all, func(c candidate) bool {
			return c.status.State() != q.State
		})
	}
	if o.column == "" {
		order := func(a, b candidate) int {
			return cmp.Or(cmp.Compare(a.status.LastSeenAt, b.status.LastSeenAt), cmp.Compare(a.id, b.id))
		}
		if o.descending {
			up := order
			order = func(a, b candidate) int { return up(b, a) }
		}
		if q.After != "" {
			last := candidate{id: after.ID, status: telemetry.Status{LastSeenAt: telemetry.Millis(after.Number)}}
			all = slices.DeleteFunc(all, func(c candidate) bool { return order(c, last) <= 0 })
		}
		slices.SortFunc(all, order)
	}
	return all[:min(len(all), count)]
}

func (d *DB) candidates(ctx context.Context, query string, args []any) (all []candidate, err error) {
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query sensors: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var c candidate
		if err := rows.Scan(&c.id, &c.key, &c.status.LastSeenAt, &c.status.SilentFrom); err != nil {
			return nil, fmt.Errorf("read sensors: %w", err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read sensors: %w", readError(err))
	}
	return all, nil
}

// seen adds what the tail says to what rows said of the sensors.
func (t *tail) seen(all []candidate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range all {
		if more, ok := t.standingLocked(all[i].id); ok {
			all[i].status.LastSeenAt = more.seenAt
		}
	}
}

// inOrder returns the sensors of a page, without those deleted meanwhile.
func (d *DB) inOrder(ctx context.Context, page []candidate) ([]telemetry.Sensor, error) {
	if len(page) == 0 {
		return nil, nil
	}
	places := make(map[int64]int, len(page))
	ids := make([]int64, len(page))
	for i, c := range page {
		ids[i], places[c.id] = c.id, i
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("encode page: %w", err)
	}
	items, err := d.sensors(ctx, "s.id IN (SELECT value FROM json_each(?))", string(list))
	slices.SortFunc(items, func(a, b telemetry.Sensor) int { return cmp.Compare(places[a.ID], places[b.ID]) })
	return items, err
}

func (o ordering) by() string {
	if o.column == "" {
		return ""
	}
	if o.descending {
		return " ORDER BY 2 DESC, 1 DESC"
	}
	return " ORDER BY 2, 1"
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

// cursorAt is the place of c.
func (o ordering) cursorAt(c candidate, sort string) cursor {
	at := cursor{Sort: sort, ID: c.id}
	switch {
	case o.column == "":
		at.Number = int64(c.status.LastSeenAt)
	case o.numeric:
		at.Number, _ = strconv.ParseInt(c.key, 10, 64) // an integer of the table
	default:
		at.Text = c.key
	}
	return at
}
