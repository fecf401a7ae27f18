package store

import (
	"context"
	"fmt"

	"sensorcast/telemetry"
)

// covers are the pairs of rules that are enabled and sensors that they judge. It begins with the maker's sensors, so that a tag that others
// use, too, costs nobody anything. Each WHERE is to be continued.
func covers(and string) string {
	const (
		pair    = "SELECT r.id AS rule, s.id AS sensor, s.serial AS serial FROM rules r JOIN sensors s ON "
		managed = " JOIN shares h ON h.sensor_id = s.id AND h.user_id = r.user_id AND h.access = 'manager'"
		tagged  = " JOIN sensor_tags t ON t.sensor_id = s.id AND t.tag = r.tag"
		enabled = " WHERE r.enabled AND "
	)
	return pair + "s.id = r.sensor_id AND s.owner_id = r.user_id" + enabled + and +
		" UNION ALL " + pair + "s.id = r.sensor_id" + managed + enabled + and +
		" UNION ALL " + pair + "s.owner_id = r.user_id" + tagged + enabled + "r.tag <> '' AND " + and +
		" UNION ALL SELECT r.id, s.id, s.serial FROM rules r JOIN shares h ON h.user_id = r.user_id AND h.access = 'manager' JOIN sensors s ON s.id = h.sensor_id" +
		tagged + enabled + "r.tag <> '' AND " + and
}

// Coverage returns which sensors which rules judge: of those rules and those sensors, by their numbers; nil stands for all. They come in
// no order, and where an owner is also a manager twice.
func (d *DB) Coverage(ctx context.Context, rules, sensors []int64) ([]telemetry.RuleCover, error) {
	byRule, ruleArgs, err := among("r.id", rules)
	if err != nil {
		return nil, err
	}
	bySensor, sensorArgs, err := among("s.id", sensors)
	if err != nil {
		return nil, err
	}
	var args []any
	for range 4 {
		args = append(append(args, ruleArgs...), sensorArgs...)
	}
	return d.covers(ctx, covers(byRule+" AND "+bySensor), args...)
}

// Managed returns the sensors with a tag that a person owns or manages, at most limit.
func (d *DB) Managed(ctx context.Context, userID int64, tag string, limit int) ([]telemetry.RuleCover, error) {
	return d.covers(ctx, `
		SELECT 0, s.id, s.serial FROM (
			SELECT id FROM sensors WHERE owner_id = ?1 UNION SELECT sensor_id FROM shares WHERE user_id = ?1 AND access = 'manager'
		) AS mine CROSS JOIN sensor_tags t ON t.sensor_id = mine.id AND t.tag = ?2 CROSS JOIN sensors s ON s.id = mine.id
		ORDER BY s.id LIMIT ?3`, userID, tag, limit)
}

func (d *DB) covers(ctx context.Context, query string, args ...any) (all []telemetry.RuleCover, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query coverage: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var c telemetry.RuleCover
		if err := rows.Scan(&c.Rule, &c.Sensor, &c.Serial); err != nil {
			return nil, fmt.Errorf("read coverage: %w", err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read coverage: %w", readError(err))
	}
	return all, nil
}
