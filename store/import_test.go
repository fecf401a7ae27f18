package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func arrivals(owner int64, n int) []auth.Arrival {
	all := make([]auth.Arrival, n)
	for i := range all {
		all[i] = auth.Arrival{
			Sensor: telemetry.Sensor{Serial: fmt.Sprintf("IM-%d", i), OwnerID: owner, Name: fmt.Sprintf("Sensor %d", i), Tags: []string{"imported", fmt.Sprintf("floor %d", i%10)}},
			Secret: [32]byte{byte(i), byte(i >> 8), 1},
		}
	}
	return all
}

func TestImportSensors_AreReadBackAsIfCreatedOneByOne(t *testing.T) {
	d := openNew(t)
	owner := newUser(t, d, "ada")
	before := newSensor(t, d, owner.ID, "SN1")
	added := arrivals(owner.ID, 3)
	added[0].Sensor.Name, added[0].Sensor.Description, added[0].Sensor.SilenceAfter = `quoted "ü" \ {`, "two\nlines", 90*time.Second
	added[1].Sensor.Tags = nil
	before.Name, before.Tags = "renamed", []string{"z", "a"}
	if err := d.ImportSensors(t.Context(), added, []telemetry.Sensor{before}); err != nil {
		t.Fatal(err)
	}
	for _, e := range added {
		want := e.Sensor
		want.Owner = "ada"
		if want.Tags == nil {
			want.Tags = []string{}
		}
		got, err := d.SensorBySerial(t.Context(), want.Serial)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Serial, diff)
		}
	}
	got, err := d.SensorBySerial(t.Context(), "SN1")
	if err != nil || got.Name != "renamed" || !slices.Equal(got.Tags, before.Tags) {
		t.Errorf("changed: got %+v, %v", got, err)
	}
	if found, err := d.SensorsBySerial(t.Context(), []string{"SN1", "IM-2", "nobody"}); err != nil || len(found) != 2 {
		t.Errorf("SensorsBySerial: got %d, %v; want 2", len(found), err)
	}
	devices, err := d.Devices(t.Context())
	if err != nil || len(devices) != 4 {
		t.Fatalf("Devices: got %d, %v", len(devices), err)
	}
	for i, dev := range devices[1:] {
		if !slices.Equal(dev.Secrets, []auth.Secret{{Hash: added[i].Secret}}) {
			t.Errorf("%s: got another secret than was given", dev.Serial)
		}
	}
	if next := newSensor(t, d, owner.ID, "SN2"); next.ID <= added[2].Sensor.ID {
		t.Errorf("the next sensor got id %d, want above %d", next.ID, added[2].Sensor.ID)
	}
}

func TestImportSensors_StoresAllOrNothing(t *testing.T) {
	d := openNew(t)
	owner := newUser(t, d, "ada")
	newSensor(t, d, newUser(t, d, "bob").ID, "IM-700")
	err := d.ImportSensors(t.Context(), arrivals(owner.ID, 1000), nil)
	if !errors.Is(err, telemetry.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	named := arrivals(owner.ID, 2)
	named[1].Sensor.Serial = "BOB" // somebody's user name
	if err := d.ImportSensors(t.Context(), named, nil); !errors.Is(err, telemetry.ErrConflict) {
		t.Errorf("a user name: got %v, want a conflict", err)
	}
	if err := d.ImportSensors(t.Context(), arrivals(999, 2), nil); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("nobody's: got %v, want %v", err, telemetry.ErrNotFound)
	}
	if devices, err := d.Devices(t.Context()); err != nil || len(devices) != 1 {
		t.Errorf("got %d sensors, %v; want the 1 that was there", len(devices), err)
	}
	taken, err := d.TakenSerials(t.Context(), []string{"IM-1", "IM-700", "Ada"})
	if err != nil || !slices.Equal(taken, []string{"IM-700", "Ada"}) {
		t.Errorf("TakenSerials: got %v, %v", taken, err)
	}
}

func TestTags_AreCountedAndPaged(t *testing.T) {
	d := openNew(t)
	owner := newUser(t, d, "ada")
	if err := d.ImportSensors(t.Context(), arrivals(owner.ID, 25), nil); err != nil {
		t.Fatal(err)
	}
	other := telemetry.Sensor{Serial: "theirs", OwnerID: newUser(t, d, "bob").ID, Tags: []string{"floor 0", "secret"}}
	if err := d.CreateSensor(t.Context(), &other, [32]byte{}); err != nil {
		t.Fatal(err)
	}
	first, err := d.Tags(t.Context(), owner.ID, "", 2)
	if want := []telemetry.TagCount{{Tag: "floor 0", Sensors: 3}, {Tag: "floor 1", Sensors: 3}}; err != nil || !slices.Equal(first, want) {
		t.Errorf("got %v, %v; want %v", first, err, want)
	}
	rest, err := d.Tags(t.Context(), owner.ID, "floor 8", 10)
	if want := []telemetry.TagCount{{Tag: "floor 9", Sensors: 2}, {Tag: "imported", Sensors: 25}}; err != nil || !slices.Equal(rest, want) {
		t.Errorf("got %v, %v; want %v", rest, err, want)
	}
	items, _, err := d.ListSensors(t.Context(), telemetry.SensorQuery{UserID: owner.ID, Tags: []string{"imported", "floor 3"}, Limit: 10})
	if err != nil || len(items) != 3 {
		t.Errorf("two tags: got %d sensors, %v; want 3", len(items), err)
	}
}

// BenchmarkImportSensors imports 10,000 sensors while batches of readings are committed: what the readings wait.
func BenchmarkImportSensors(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		d := openNew(b)
		owner := newUser(b, d, "ada")
		sensor := newSensor(b, d, owner.ID, "SN1")
		added := arrivals(owner.ID, 10_000)
		ctx, cancel := context.WithCancel(b.Context())
		var took []time.Duration
		var recording sync.WaitGroup
		recording.Go(func() { // ends with ctx
			l := newLoad([]telemetry.Sensor{sensor}, noKeys, 0)
			for ctx.Err() == nil {
				batch := l.next(100)
				start := time.Now()
				if err := d.Record(batch); err != nil {
					b.Error(err)
				}
				took = append(took, time.Since(start))
			}
		})
		time.Sleep(300 * time.Millisecond)
		start := time.Now()
		b.StartTimer()
		if err := d.ImportSensors(b.Context(), added, nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "import-ms")
		time.Sleep(300 * time.Millisecond)
		cancel()
		recording.Wait()
		b.ReportMetric(quantile(took, 0.5), "commit-p50-ms")
		b.ReportMetric(quantile(took, 0.99), "commit-p99-ms")
		b.ReportMetric(quantile(took, 1), "commit-max-ms")
		b.StartTimer()
	}
}

// BenchmarkListSensors lists among 10,000 by each filter and order.
func BenchmarkListSensors(b *testing.B) {
	d := openNew(b)
	owner := newUser(b, d, "ada")
	added := arrivals(owner.ID, 10_000)
	if err := d.ImportSensors(b.Context(), added, nil); err != nil {
		b.Fatal(err)
	}
	for i := range added {
		if i%2 == 0 {
			if err := d.Record(newLoad([]telemetry.Sensor{added[i].Sensor}, noKeys, int64(i)).next(1)); err != nil {
				b.Fatal(err)
			}
		}
	}
	for name, q := range map[string]telemetry.SensorQuery{
		"all": {}, "text": {Text: "sensor 77"}, "no-text": {Text: "nowhere"}, "tag": {Tags: []string{"floor 3"}}, "two-tags": {Tags: []string{"floor 3", "imported"}},
		"common-tag": {Tags: []string{"imported"}}, "online": {State: telemetry.StateOnline}, "never-seen": {State: telemetry.StateNeverSeen},
		"name": {Sort: "name"}, "last-seen": {Sort: "-last_seen_at"}, "created": {Sort: "-created_at"},
	} {
		b.Run(name, func(b *testing.B) {
			q.UserID, q.Limit = owner.ID, 50
			for b.Loop() {
				if _, _, err := d.ListSensors(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("tags", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.Tags(b.Context(), owner.ID, "", 50); err != nil {
				b.Fatal(err)
			}
		}
	})
}
