package bridge

import (
	"bytes"
	"encoding/json"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func silence(dev auth.Device, id string) telemetry.Alert {
	return telemetry.Alert{ID: id, SensorID: dev.SensorID, Serial: dev.Serial, Kind: telemetry.AlertSilent, OpenedAt: 1, Episodes: 1}
}

func TestAlert_IsToldToThoseWhoWatchTheSensor(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	mine, other := w.sensor(ann, 1), w.sensor(bob, 1)
	c, _ := w.dial(ann, mine.Serial)
	theirs, _ := w.dial(bob, other.Serial)
	a := silence(mine, "a1")
	w.hub.AlertChanged(a)
	a.ResolvedAt = 2
	w.hub.AlertChanged(a)
	w.hub.AlertChanged(silence(other, "b1"))
	for _, want := range []telemetry.AlertState{telemetry.AlertOpen, telemetry.AlertResolved} {
		f := w.expect(c, "alert")
		var got struct {
			ID    string
			State telemetry.AlertState
		}
		if err := json.Unmarshal(f.Alert, &got); err != nil || f.SerialNo != mine.Serial || got.ID != "a1" || got.State != want {
			t.Errorf("got %s, want a1 %s", f.Raw, want)
		}
	}
	if f := w.expect(theirs, "alert"); f.SerialNo != other.Serial {
		t.Errorf("bob got %s, want what is his", f.Raw)
	}
}

// A slow viewer gets the newest alert of a sensor, after its state and beside its reading.
func TestAlert_BacklogKeepsTheNewest(t *testing.T) {
	rm := &room{serial: "S"}
	b := newBacklog()
	for _, f := range []*frame{
		{room: rm, wire: []byte("alert1 "), alert: true},
		{room: rm, wire: []byte("state1 ")},
		{room: rm, wire: []byte("reading1 "), seq: 1},
		{room: rm, wire: []byte("alert2 "), alert: true},
		{room: rm, wire: []byte("state2 ")},
	} {
		b.add(f)
	}
	b.cut()
	got, n := b.take(nil, 0, &counters{})
	if want := "reading1 state2 alert2 "; !bytes.Equal(got, []byte(want)) || n != 3 {
		t.Errorf("got %q, %d frames; want %q, 3", got, n, want)
	}
	b.add(&frame{room: rm, wire: []byte("alert3 "), alert: true})
	b.cut()
	if got, _ := b.take(nil, 0, &counters{}); string(got) != "alert3 " {
		t.Errorf("an alert alone: got %q", got)
	}
}
