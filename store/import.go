package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// An import is staged in temporary tables of the writing connection, a few rows at a time, and then copied in one transaction. What takes
// time, decoding the rows, so happens in turns as short as those of background work, and the one transaction that all others wait for
// is a quarter of what it would be (BenchmarkImportSensors). A crash leaves nothing: the tables go with the connection.

// stagedAtOnce is how many rows one turn of the writer stages: some five milliseconds.
const stagedAtOnce = 250

// stagedRow is a sensor on its way into the tables, as stage takes it.
type stagedRow struct {
	N            int      `json:"n"`            // its place in the import, from 1
	ID           int64    `json:"id,omitempty"` // zero: the sensor is new
	UID          string   `json:"uid"`
	Serial       string   `json:"serial"`
	Owner        int64    `json:"owner"`
	Name         string   `json:"name"`
	Description  string   `json:"description"`
	MACAddress   string   `json:"mac"`
	SensorType   string   `json:"type"`
	Manufacturer string   `json:"manufacturer"`
	SilenceAfter int64    `json:"silence"`
	Search       string   `json:"search"`
	Tags         []string `json:"tags,omitempty"`
	Secret       string   `json:"secret,omitempty"` // in hexadecimal digits
}

func stagedRowOf(n int, s *telemetry.Sensor) stagedRow {
	return stagedRow{
		N: n, ID: s.ID, UID: s.UID, Serial: s.Serial, Owner: s.OwnerID, Name: s.Name, Description: s.Description, MACAddress: s.MACAddress,
		SensorType: s.SensorType, Manufacturer: s.Manufacturer, SilenceAfter: s.SilenceAfter.Milliseconds(), Search: searchText(s), Tags: s.Tags,
	}
}

// endStage is also run first: the stage of an import that failed may still stand.
var endStage = []string{"DROP TABLE IF EXISTS temp.staged", "DROP TABLE IF EXISTS temp.staged_tags"}

var beginStage = []string{
	`CREATE TEMP TABLE staged (n INTEGER PRIMARY KEY, id, uid, serial, owner_id, name, description, mac_address, sensor_type, manufacturer,
		silence_after, search, secret)`,
	"CREATE TEMP TABLE staged_tags (n, position, tag, PRIMARY KEY (n, position)) WITHOUT ROWID",
}

// stage takes rows as one JSON text.
var stage = []string{`
	INSERT INTO temp.staged SELECT value->>'n', value->>'id', value->>'uid', value->>'serial', value->>'owner', value->>'name', value->>'description',
		value->>'mac', value->>'type', value->>'manufacturer', value->>'silence', value->>'search', unhex(value->>'secret') FROM json_each(?)`, `
	INSERT INTO temp.staged_tags SELECT r.value->>'n', t.key, t.value FROM json_each(?) AS r, json_each(r.value, '$.tags') AS t`,
}

// publish copies the stage. ?1 is the id below those of new sensors, ?2 is now.
var publish = []string{`
	INSERT INTO sensors (id, uid, serial, owner_id, name, description, mac_address, sensor_type, manufacturer, silence_after, search, created_at, updated_at)
	SELECT ?1 + n, uid, serial, owner_id, name, description, mac_address, sensor_type, manufacturer, silence_after, search, ?2, ?2
	FROM temp.staged WHERE id IS NULL ORDER BY n`, `
	INSERT INTO sensor_status (sensor_id) SELECT ?1 + n FROM temp.staged WHERE id IS NULL ORDER BY n`, `
	INSERT INTO sensor_secrets (sensor_id, position, hash, valid_until) SELECT ?1 + n, 0, secret, 0 FROM temp.staged WHERE id IS NULL ORDER BY n`, `
	UPDATE sensors SET name = g.name, description = g.description, mac_address = g.mac_address, sensor_type = g.sensor_type,
		manufacturer = g.manufacturer, silence_after = g.silence_after, search = g.search, updated_at = ?2
	FROM temp.staged AS g WHERE sensors.id = g.id`, `
	DELETE FROM sensor_tags WHERE sensor_id IN (SELECT id FROM temp.staged)`, `
	INSERT INTO sensor_tags (sensor_id, position, tag)
	SELECT coalesce(g.id, ?1 + g.n), t.position, t.tag FROM temp.staged AS g JOIN temp.staged_tags AS t USING (n) ORDER BY g.n, t.position`,
}

// ImportSensors adds sensors as CreateSensor does and changes others as UpdateSensor does, all in one transaction. It sets ID, UID, CreatedAt
// and UpdatedAt of those it adds. Errors are those of the two. One import at a time: a second one waits.
func (d *DB) ImportSensors(ctx context.Context, added []auth.Arrival, changed []telemetry.Sensor) error {
	select {
	case d.importing <- struct{}{}:
		defer func() { <-d.importing }()
	case <-ctx.Done():
		return fmt.Errorf("import sensors: %w: %w", telemetry.ErrUnavailable, ctx.Err())
	}
	rows := make([]stagedRow, 0, len(added)+len(changed))
	serials := make([]string, len(added))
	for i := range added {
		s := &added[i].Sensor
		s.ID, s.UID, s.Status = 0, newUID(), telemetry.Status{}
		serials[i] = s.Serial
		row := stagedRowOf(i+1, s)
		row.Secret = hex.EncodeToString(added[i].Secret[:])
		rows = append(rows, row)
	}
	for i := range changed {
		rows = append(rows, stagedRowOf(len(rows)+1, &changed[i]))
	}
	var below int64
	at := now()
	err := d.stage(ctx, rows)
	if err == nil {
		err = d.write.do(ctx, func(tx *sql.Tx) error {
			taken, err := takenSerials(context.Background(), tx, serials)
			if err != nil {
				return err
			}
			if len(taken) > 0 {
				return telemetry.Conflict("serial_no", "is taken")
			}
			// Above all ids that were ever given; the writer's turn makes them ours.
			if err := tx.QueryRow("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'sensors'").Scan(&below); err != nil {
				return err
			}
			return execAll(tx, slices.Concat(publish, endStage), below, int64(at))
		})
	}
	if isForeignKey(err) {
		err = notFound("owner")
	}
	if err != nil {
		return fmt.Errorf("import sensors: %w", err)
	}
	for i := range added {
		s := &added[i].Sensor
		s.ID, s.CreatedAt, s.UpdatedAt = below+int64(i)+1, at, at
	}
	return nil
}

// stage puts the rows into the temporary tables, others taking their turns in between.
func (d *DB) stage(ctx context.Context, rows []stagedRow) error {
	err := d.write.background(ctx, func(tx *sql.Tx) error { return execAll(tx, slices.Concat(endStage, beginStage)) })
	for part := range slices.Chunk(rows, stagedAtOnce) {
		if err != nil {
			break
		}
		var text []byte
		if text, err = json.Marshal(part); err == nil {
			err = d.write.background(ctx, func(tx *sql.Tx) error { return execAll(tx, stage, string(text)) })
		}
	}
	return err
}

func execAll(tx *sql.Tx, statements []string, args ...any) error {
	for _, statement := range statements {
		if _, err := tx.Exec(statement, args...); err != nil {
			return err
		}
	}
	return nil
}

// querier is a transaction or a pool.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// TakenSerials returns those of the serials that a new sensor cannot have: somebody's sensor does, or it is somebody's user name.
func (d *DB) TakenSerials(ctx context.Context, serials []string) ([]string, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	taken, err := takenSerials(ctx, d.read, serials)
	if err != nil {
		return nil, fmt.Errorf("look for taken serials: %w", readError(err))
	}
	return taken, nil
}

func takenSerials(ctx context.Context, db querier, serials []string) (taken []string, err error) {
	list, err := json.Marshal(serials)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `
		SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM sensors WHERE serial = value)
			OR EXISTS (SELECT 1 FROM users WHERE username_key = lower(value))`, string(list)) // a serial is ASCII, which lower() can do
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var serial string
		if err := rows.Scan(&serial); err != nil {
			return nil, err
		}
		taken = append(taken, serial)
	}
	return taken, rows.Err()
}

// SensorsBySerial returns those of the sensors that are there, in no order, without what traffic says of them.
func (d *DB) SensorsBySerial(ctx context.Context, serials []string) ([]telemetry.Sensor, error) {
	list, err := json.Marshal(serials)
	if err != nil {
		return nil, fmt.Errorf("encode serials: %w", err)
	}
	ctx, cancel := reading(ctx)
	defer cancel()
	found, _, err := d.registered(ctx, "s.serial IN (SELECT value FROM json_each(?))", []any{string(list)})
	return found, err
}
