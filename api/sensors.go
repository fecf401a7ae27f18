package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

const sensorPath = base + "/sensors/{serial_no}"

func (a *API) sensorRoutes() {
	handle(a, huma.Operation{
		OperationID: "create-sensor", Method: http.MethodPost, Path: base + "/sensors", Tags: []string{tagSensors},
		Summary:     "Register a sensor",
		Description: "The answer holds the sensor's secret_key. It is shown this once, but for who asks again with the same Idempotency-Key and body.",
		Security:    writer(), DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
	}, a.createSensor)
	handle(a, huma.Operation{
		OperationID: "list-sensors", Method: http.MethodGet, Path: base + "/sensors", Tags: []string{tagSensors},
		Summary:  "List one's own sensors and those shared with one",
		Security: reader(),
	}, a.listSensors)
	handle(a, huma.Operation{
		OperationID: "get-sensor", Method: http.MethodGet, Path: sensorPath, Tags: []string{tagSensors},
		Summary:  "Show a sensor",
		Security: reader(),
	}, a.showSensor)
	handle(a, huma.Operation{
		OperationID: "get-connection", Method: http.MethodGet, Path: sensorPath + "/connection", Tags: []string{tagSensors},
		Summary:     "Show how a sensor stands with the MQTT broker",
		Description: "Who is connected in its name, and why somebody was last refused or disconnected: the answer to \"why can it not connect?\"",
		Security:    reader(), Errors: []int{http.StatusForbidden},
	}, a.showConnection)
	handle(a, huma.Operation{
		OperationID: "update-sensor", Method: http.MethodPatch, Path: sensorPath, Tags: []string{tagSensors},
		Summary:     "Change a sensor's description",
		Description: "Absent fields stay as they are, null resets a field.",
		Security:    writer(),
	}, a.updateSensor)
	handle(a, huma.Operation{
		OperationID: "delete-sensor", Method: http.MethodDelete, Path: sensorPath, Tags: []string{tagSensors},
		Summary:  "Delete a sensor and its history",
		Security: writer(),
	}, a.deleteSensor)
}

type sensorsInput struct {
	SensorFilter
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" maxLength:"4096" doc:"next_cursor of the page before"`
}

type sensorPage struct {
	Items []sensor `json:"items" nullable:"false"`
	Next  *string  `json:"next_cursor" doc:"null at the end"`
}

type sensorsOutput struct{ Body sensorPage }

func (a *API) listSensors(ctx context.Context, in *sensorsInput) (*sensorsOutput, error) {
	q := in.query(ctx)
	q.After, q.Limit = in.Cursor, in.Limit
	found, next, err := a.deps.Registry.ListSensors(ctx, q)
	if err != nil {
		return nil, err
	}
	page := sensorPage{Items: make([]sensor, 0, len(found)), Next: nullable(next)}
	for _, s := range found {
		if shown, err := a.shownTo(principal(ctx), s); err == nil { // a page is shorter by what was taken away meanwhile
			page.Items = append(page.Items, shown)
		}
	}
	return &sensorsOutput{Body: page}, nil
}

type serialInput struct {
	Serial string `path:"serial_no"`
}

type sensorOutput struct{ Body sensor }

func (a *API) showSensor(ctx context.Context, in *serialInput) (*sensorOutput, error) {
	s, err := a.sensor(ctx, auth.View, in.Serial)
	if err != nil {
		return nil, err
	}
	shown, err := a.shownTo(principal(ctx), s)
	if err != nil {
		return nil, err
	}
	return &sensorOutput{Body: shown}, nil
}

// sensor reads the sensor behind a serial when the principal may do action on it. The store is asked by serial, so what it returns is
// compared with what was allowed: in between the serial may have passed to somebody else's new sensor.
func (a *API) sensor(ctx context.Context, action auth.Action, serial string) (telemetry.Sensor, error) {
	dev, err := a.sensorFor(principal(ctx), action, serial)
	if err != nil {
		return telemetry.Sensor{}, err
	}
	s, err := a.deps.Registry.SensorBySerial(ctx, serial)
	if err != nil {
		return telemetry.Sensor{}, err
	}
	if s.ID != dev.SensorID {
		return telemetry.Sensor{}, telemetry.ErrNotFound
	}
	return s, nil
}

type sensorChange struct {
	Name         change[string]      `json:"name,omitzero"`
	Description  change[string]      `json:"description,omitzero"`
	MACAddress   change[string]      `json:"mac_address,omitzero"`
	SensorType   change[string]      `json:"sensor_type,omitzero"`
	Manufacturer change[string]      `json:"manufacturer,omitzero"`
	Tags         change[[]string]    `json:"tags,omitzero"`
	SilenceMode  change[silenceMode] `json:"silence_mode,omitzero" enum:"fixed,learned" doc:"null: fixed"`
	SilenceAfter change[int64]       `json:"silence_after,omitzero" minimum:"1" maximum:"31622400" doc:"Seconds; null: the server's default"`
}

type updateInput struct {
	Serial string `path:"serial_no"`
	Body   sensorChange
}

func (a *API) updateSensor(ctx context.Context, in *updateInput) (*sensorOutput, error) {
	var s telemetry.Sensor
	err := a.alone(ctx, func() (err error) {
		if s, err = a.sensor(ctx, auth.Manage, in.Serial); err != nil {
			return err
		}
		in.Body.Name.apply(&s.Name)
		in.Body.Description.apply(&s.Description)
		in.Body.MACAddress.apply(&s.MACAddress)
		in.Body.SensorType.apply(&s.SensorType)
		in.Body.Manufacturer.apply(&s.Manufacturer)
		in.Body.Tags.apply(&s.Tags)
		if in.Body.SilenceAfter.given {
			s.SilenceAfter = time.Duration(in.Body.SilenceAfter.value) * time.Second
		}
		if in.Body.SilenceMode.given {
			s.Learned = in.Body.SilenceMode.value == silenceLearned
		}
		if err = s.Check(); err != nil {
			return err
		}
		if err = a.deps.Registry.UpdateSensor(ctx, s); err != nil {
			return err
		}
		a.announceChange(s)
		s, err = a.sensor(ctx, auth.Manage, in.Serial) // with updated_at as stored
		return err
	})
	if err != nil {
		return nil, err
	}
	shown, err := a.shownTo(principal(ctx), s)
	if err != nil {
		return nil, err
	}
	return &sensorOutput{Body: shown}, nil
}

func (a *API) announceChange(s telemetry.Sensor) {
	a.deps.Changes.Notify(auth.Change{Kind: auth.SensorChanged, Serial: s.Serial, SensorID: s.ID, UserID: s.OwnerID, SilenceAfter: s.SilenceAfter, SilenceLearned: s.Learned})
}

// deleteSensor closes the doors first: from then on nothing is accepted for the sensor, so nothing is lost that was acknowledged after.
func (a *API) deleteSensor(ctx context.Context, in *serialInput) (*struct{}, error) {
	return nil, a.alone(ctx, func() error {
		dev, err := a.sensorFor(principal(ctx), auth.Own, in.Serial)
		if err != nil {
			return err
		}
		a.deps.Directory.Remove(dev.Serial)
		err = a.deps.Registry.DeleteSensor(ctx, dev.SensorID)
		if err != nil && !errors.Is(err, telemetry.ErrNotFound) {
			a.deps.Directory.Put(dev) // the store still has it
			return err
		}
		a.graces.forget(dev.SensorID)
		a.deps.Changes.Gone(dev)
		return nil
	})
}
