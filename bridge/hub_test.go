package bridge

import (
	"errors"
	"slices"
	"testing"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func TestHub_HelloThenLive(t *testing.T) {
	w := newWorld(t, Config{LastSeq: func() int64 { return 40 }}, nil)
	w.seq = 40
	dev, other := w.sensor(ann, 1), w.sensor(bob, 1)
	before := w.reading(dev, 1)
	c, hello := w.dial(ann, dev.Serial)
	if hello.Protocol != 1 || hello.Epoch != "epoch-1" || hello.Seq != before.Seq || hello.Resumed || len(hello.Sensors) != 1 {
		t.Fatalf("hello: got %+v, want protocol 1, epoch-1, seq %d and one sensor", hello, before.Seq)
	}
	s := hello.Sensors[0]
	if s.SerialNo != dev.Serial || s.Name != "the "+dev.Serial || s.State != telemetry.StateOnline || s.LastSeenAt != before.ReceivedAt {
		t.Errorf("sensor in hello: got %+v", s)
	}
	if s.Reading == nil || s.Reading.Seq != before.Seq || string(s.Reading.Data) != string(before.Data) {
		t.Errorf("reading in hello: got %+v, want seq %d", s.Reading, before.Seq)
	}
	w.reading(other, 99)
	live := w.reading(dev, 2)
	f := w.expect(c, "reading")
	if f.SerialNo != dev.Serial || f.Seq != live.Seq || f.Time != live.Time || f.ReceivedAt != live.ReceivedAt || string(f.Data) != string(live.Data) {
		t.Errorf("reading: got %+v, want %+v", f, live)
	}
}

func TestHub_SensorComesBackOnlineBeforeItsReading(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	c, hello := w.dial(ann, dev.Serial)
	if got := hello.Sensors[0]; got.State != telemetry.StateNeverSeen || got.Reading != nil || got.LastSeenAt != 0 {
		t.Fatalf("sensor that never sent: got %+v", got)
	}
	r := w.reading(dev, 1)
	if f := w.expect(c, "state"); f.State != telemetry.StateOnline || f.LastSeenAt != r.ReceivedAt || f.SerialNo != dev.Serial {
		t.Errorf("state: got %+v, want online at %v", f, r.ReceivedAt)
	}
	w.expect(c, "reading")
	w.reading(dev, 2)
	w.expect(c, "reading") // no second state
}

func TestHub_ShowsAllThatCameTogether(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	w.reading(dev, 0)
	c, hello := w.dial(ann, dev.Serial)
	var together []telemetry.Reading
	for i := range int64(3) {
		together = append(together, telemetry.Reading{SensorID: dev.SensorID, Serial: dev.Serial, Seq: hello.Seq + 1 + i, Time: telemetry.Now(), Data: []byte("{}")})
	}
	w.hub.Observe(together)
	for i := range together {
		if f := w.expect(c, "reading"); f.Seq != hello.Seq+1+int64(i) {
			t.Errorf("reading %d: got seq %d, want %d", i, f.Seq, hello.Seq+1+int64(i))
		}
	}
	if _, hello = w.dial(ann, dev.Serial); hello.Seq != together[2].Seq || hello.Sensors[0].Reading.Seq != together[2].Seq {
		t.Errorf("hello after them: at seq %d with %+v, want the last of them", hello.Seq, hello.Sensors[0].Reading)
	}
}

func TestHub_LateDataIsShownButNeverLatest(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	now := telemetry.Now()
	newest := w.readingAt(dev, 1, now)
	late := w.readingAt(dev, 2, now-60_000)
	c, hello := w.dial(ann, dev.Serial)
	if got := hello.Sensors[0].Reading.Seq; got != newest.Seq || hello.Seq != late.Seq {
		t.Errorf("hello after late data: got reading %d at seq %d, want %d at %d", got, hello.Seq, newest.Seq, late.Seq)
	}
	later := w.readingAt(dev, 3, now-30_000)
	if f := w.expect(c, "reading"); f.Seq != later.Seq {
		t.Errorf("late reading, live: got seq %d, want %d", f.Seq, later.Seq)
	}
}

func TestHub_AllTicketShowsOwnSensorsOnly(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	w.sensor(ann, 1)
	w.sensor(ann, 2)
	w.sensor(bob, 1)
	_, hello := w.dial(ann)
	got := serialsOf(hello.Sensors)
	slices.Sort(got)
	if want := []string{"SN-ann-1", "SN-ann-2"}; !slices.Equal(got, want) {
		t.Errorf("sensors of an all-ticket: got %v, want %v", got, want)
	}
}

func TestHub_ReusedSerialShowsNothingOfTheOldSensor(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	old := w.sensor(ann, 1)
	w.reading(old, 1)
	reused := auth.Device{SensorID: 2001, Serial: old.Serial, OwnerID: bob.UserID}
	w.auth.Directory.Remove(old.Serial)
	w.hub.AuthorityChanged(auth.Change{Kind: auth.SensorRemoved, Serial: old.Serial, SensorID: old.SensorID, UserID: ann.UserID})
	w.reading(old, 2) // was on its way
	w.register(reused)
	c, hello := w.dial(bob, reused.Serial)
	if got := hello.Sensors[0].Reading; got != nil {
		t.Errorf("reading of a new sensor with a used serial: got %+v, want none", got)
	}
	w.reading(old, 3) // was on its way for long
	w.reading(reused, 4)
	w.expect(c, "state")
	if f := w.expect(c, "reading"); value(t, f.Data) != 4 {
		t.Errorf("first reading: got %s, want the new sensor's", f.Data)
	}
	if n := w.hub.Stats().Sensors; n != 1 {
		t.Errorf("sensors remembered: got %d, want 1: the deleted one must not come back", n)
	}
}

func TestHub_LongHelloArrivesWhole(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	const n = 3000
	devices := make([]auth.Device, n)
	for i := range devices {
		devices[i] = w.sensor(ann, i)
		w.reading(devices[i], i)
	}
	c, hello := w.dial(ann)
	if len(hello.Sensors) != n {
		t.Fatalf("sensors in hello: got %d, want %d", len(hello.Sensors), n)
	}
	for _, s := range hello.Sensors {
		if s.Reading == nil {
			t.Fatalf("sensor %s: no reading", s.SerialNo)
		}
	}
	w.reading(devices[n-1], n)
	if f := w.expect(c, "reading"); value(t, f.Data) != n {
		t.Errorf("reading after a long hello: got %s", f.Data)
	}
}

func TestHub_StoreThatDoesNotAnswerIsSaidSo(t *testing.T) {
	w := newWorld(t, Config{}, nil)
	dev := w.sensor(ann, 1)
	w.shelf.err = errors.New("disk on fire")
	c := w.open(w.address(ann, dev.Serial))
	w.expectClosed(c, CloseOverloaded)
}
