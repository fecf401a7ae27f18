package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/store"
	"sensorcast/telemetry"
)

// BenchmarkDelivered_Storm is ten thousand acknowledgements at once, as after a restart with a command waiting for every sensor.
func BenchmarkDelivered_Storm(b *testing.B) {
	const sensors, each = 10, command.MaxWaiting
	db, err := store.Open(store.Config{Dir: b.TempDir()}, quiet())
	must(b, err)
	defer db.Close()
	u := auth.User{Username: "ann", Email: "ann@example.org", Role: auth.RoleUser, PasswordHash: "x"}
	must(b, db.CreateUser(b.Context(), &u))
	var steps []*command.Step
	for i := range sensors {
		s := telemetry.Sensor{Serial: fmt.Sprint("SN", i), OwnerID: u.ID}
		must(b, db.CreateSensor(b.Context(), &s, [32]byte{1}))
		for j := range each {
			steps = append(steps, &command.Step{Command: command.Command{
				ID: fmt.Sprintf("%d-%d", i, j), SensorID: s.ID, Name: "x", Data: json.RawMessage("null"), State: command.Queued,
				ExpiresAt: telemetry.Now().Add(time.Hour),
			}})
		}
	}
	keys, err := auth.LoadKeys(b.TempDir())
	must(b, err)
	for b.Loop() {
		b.StopTimer()
		for _, s := range steps {
			s.Command.ID += "'"
		}
		must(b, db.CommitCommands(b.Context(), steps))
		box := command.New(db, auth.NewDirectory(keys), nil, quiet())
		must(b, box.Load(b.Context()))
		ctx, stop := context.WithCancel(b.Context())
		var running, asking sync.WaitGroup
		running.Go(func() { _ = box.Run(ctx) }) // ends with stop
		b.StartTimer()
		for _, s := range steps {
			asking.Go(func() {
				if err := box.Delivered(ctx, s.Command.SensorID, s.Command.ID); err != nil {
					b.Error(err)
				}
			})
		}
		asking.Wait()
		b.StopTimer()
		stop()
		running.Wait()
		b.ReportMetric(float64(box.Stats().Commits), "transactions/op")
		b.StartTimer()
	}
}
