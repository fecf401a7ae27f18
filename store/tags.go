package store

import (
	"context"
	"fmt"

	"sensorcast/telemetry"
)

// Tags returns the tags of the sensors a person owns or is shared with that come after a tag, in the order of their bytes, at most limit of them, each with how many
// sensors have it.
func (d *DB) Tags(ctx context.Context, userID int64, after string, limit int) ([]telemetry.TagCount, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, `
		SELECT t.tag, count(*) FROM (
			SELECT id FROM sensors WHERE owner_id = ?1 UNION ALL SELECT sensor_id FROM shares WHERE user_id = ?1
		) s CROSS JOIN sensor_tags t ON t.sensor_id = s.id
		WHERE t.tag > ?2 GROUP BY t.tag ORDER BY t.tag LIMIT ?3`, userID, after, limit)
	if err != nil {
		return nil, fmt.Errorf("query tags: %w", readError(err))
	}
	defer rows.Close()
	var all []telemetry.TagCount
	for rows.Next() {
		var c telemetry.TagCount
		if err := rows.Scan(&c.Tag, &c.Sensors); err != nil {
			return nil, fmt.Errorf("read tags: %w", err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read tags: %w", readError(err))
	}
	return all, nil
}
