package api

import (
	"context"
	"fmt"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
	"sensorcast/telemetry/roster"
)

// importing is one sheet on its way into the registry: planned as a whole, so that every mistake is told at once, then carried out as a whole.
type importing struct {
	api    *API
	p      auth.Principal
	sheet  *roster.Sheet
	update bool

	result  imported
	added   []auth.Arrival
	changed []telemetry.Sensor
}

func (i *importing) checkSecrets() {
	for _, row := range i.sheet.Rows {
		if row.Secret != "" {
			i.sheet.Mistakes.Add(row.Number, auth.CheckDeviceSecret(row.Secret))
		}
	}
}

// plan decides what becomes of each row. Nothing may change the registry until it is carried out.
func (i *importing) plan(ctx context.Context) error {
	there, err := i.existing(ctx)
	if err != nil {
		return err
	}
	taken, err := i.taken(ctx)
	if err != nil {
		return err
	}
	for _, row := range i.sheet.Rows {
		if s, mine := there[row.Sensor.Serial]; mine {
			i.planExisting(row, s)
		} else if taken[row.Sensor.Serial] {
			i.sheet.Mistakes.Add(row.Number, telemetry.Conflict("serial_no", "is taken"))
		} else {
			i.planNew(row)
		}
	}
	return i.sheet.Mistakes.Err()
}

// existing reads the sheet's sensors that the principal may change, by serial.
func (i *importing) existing(ctx context.Context) (map[string]telemetry.Sensor, error) {
	devices := map[string]auth.Device{}
	var serials []string
	for _, row := range i.sheet.Rows {
		if dev, err := i.api.sensorFor(i.p, auth.Manage, row.Sensor.Serial); err == nil {
			devices[dev.Serial] = dev
			serials = append(serials, dev.Serial)
		}
	}
	found, err := i.api.deps.Registry.SensorsBySerial(ctx, serials)
	if err != nil {
		return nil, err
	}
	there := make(map[string]telemetry.Sensor, len(found))
	for _, s := range found {
		if devices[s.Serial].SensorID == s.ID {
			there[s.Serial] = s
		}
	}
	return there, nil
}

// taken asks for all serials at once which nobody can have any more.
func (i *importing) taken(ctx context.Context) (map[string]bool, error) {
	serials := make([]string, len(i.sheet.Rows))
	for n, row := range i.sheet.Rows {
		serials[n] = row.Sensor.Serial
	}
	found, err := i.api.deps.Registry.TakenSerials(ctx, serials)
	if err != nil {
		return nil, err
	}
	taken := make(map[string]bool, len(found))
	for _, serial := range found {
		taken[serial] = true
	}
	return taken, nil
}

func (i *importing) planExisting(row roster.Row, s telemetry.Sensor) {
	item := importedItem{Row: row.Number, Serial: s.Serial, Status: "unchanged"}
	if row.Secret != "" {
		if _, err := i.api.deps.Directory.Authenticate(s.Serial, row.Secret); err != nil {
			i.sheet.Mistakes.Add(row.Number, telemetry.Invalid("secret_key", "is not the one the sensor has; a sheet does not change secrets"))
		}
	}
	differing := i.sheet.Differences(row, s)
	switch {
	case len(differing) == 0:
		i.result.Unchanged++
	case i.update:
		i.sheet.Apply(row, &s)
		i.changed = append(i.changed, s)
		i.result.Updated++
		item.Status = "updated"
	default:
		for _, field := range differing {
			i.sheet.Mistakes.Add(row.Number, telemetry.Invalid(field, "differs from the sensor that is there; with update=true it would be changed"))
		}
	}
	i.result.Items = append(i.result.Items, item)
}

func (i *importing) planNew(row roster.Row) {
	item := importedItem{Row: row.Number, Serial: row.Sensor.Serial, Status: "created"}
	secret := row.Secret
	if secret == "" {
		secret = auth.NewDeviceSecret()
		if !i.result.DryRun {
			item.Secret = secret
		}
	}
	s := row.Sensor
	s.OwnerID, s.Owner = i.p.UserID, i.p.Username
	i.added = append(i.added, auth.Arrival{Sensor: s, Secret: i.api.deps.Directory.HashSecret(secret)})
	i.result.Created++
	i.result.Items = append(i.result.Items, item)
}

// carryOut stores the plan and opens the doors for what is new.
func (i *importing) carryOut(ctx context.Context) error {
	if len(i.added)+len(i.changed) == 0 {
		return nil
	}
	start := time.Now()
	if err := i.api.deps.Registry.ImportSensors(ctx, i.added, i.changed); err != nil {
		return fmt.Errorf("import %d sensors: %w", len(i.added)+len(i.changed), err)
	}
	for _, e := range i.added {
		i.api.admit(e)
	}
	for _, s := range i.changed {
		i.api.announceChange(s)
	}
	i.api.log.Info("sensors imported", "user", i.p.UserID, "created", len(i.added), "updated", len(i.changed), "dur", time.Since(start))
	return nil
}
