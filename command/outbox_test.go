package command_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/telemetry"
)

func TestOutbox_OrderIsKeptOverARestart(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	a, b := h.sensor(ann, "A"), h.sensor(ann, "B")
	for i := range 6 { // of both sensors in turn
		serial := []string{"A", "B"}[i%2]
		h.create(ann, command.Draft{Serial: serial, Name: fmt.Sprint(i)})
	}
	h.restart()
	for sensor, want := range map[int64][]string{a.SensorID: {"0", "2", "4"}, b.SensorID: {"1", "3", "5"}} {
		first := h.next(sensor, 0, 2)
		rest := h.next(sensor, first[1].Order, 10)
		if got := names(append(first, rest...)); !slices.Equal(got, want) {
			t.Errorf("sensor %d after a restart: got %v, want %v", sensor, got, want)
		}
	}
}

func TestOutbox_CommandIsOfferedUntilItsSensorAcknowledgedIt(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	dev := h.sensor(ann, "SN1")
	made := h.several(ann, "SN1", 3)
	for range 2 { // sent, lost, the server stops
		if got := names(h.next(dev.SensorID, 0, 10)); !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Fatalf("unacknowledged: got %v, want all three", got)
		}
		h.restart()
	}
	must(t, h.box.Delivered(t.Context(), dev.SensorID, made[1].ID))
	must(t, h.box.Delivered(t.Context(), dev.SensorID, made[1].ID)) // a resent PUBLISH is acknowledged twice
	h.restart()
	if got := names(h.next(dev.SensorID, 0, 10)); !slices.Equal(got, []string{"0", "2"}) {
		t.Errorf("one acknowledged: got %v, want the other two", got)
	}
	must(t, h.box.Delivered(t.Context(), dev.SensorID, made[0].ID))
	must(t, h.box.Delivered(t.Context(), dev.SensorID, made[2].ID))
	if h.box.Waiting(dev.SensorID) || len(h.next(dev.SensorID, 0, 10)) != 0 {
		t.Errorf("all acknowledged: something is still waiting")
	}
	if s := h.box.Stats(); s.Delivered != 2 || s.Waiting != 0 || s.Sensors != 0 { // since the restart
		t.Errorf("got %+v, want 2 delivered and nothing waiting", s)
	}
}

func TestOutbox_CreatedIsReadBackWhole(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	dev := h.sensor(ann, "SN1")
	before := telemetry.Now()
	c := h.create(ann, command.Draft{Serial: "SN1", Name: "set <point> ü", Data: json.RawMessage(` { "n" : 1234567890123456789, "h": "<&>" } `), ExpiresIn: time.Hour})
	if len(c.ID) != 26 || c.Order == 0 || c.SensorID != dev.SensorID || c.State != command.Queued || c.CreatedBy != "ann" ||
		c.CreatedAt < before || c.ExpiresAt.Sub(c.CreatedAt) != time.Hour || string(c.Data) != `{"n":1234567890123456789,"h":"<&>"}` {
		t.Errorf("got %+v", c)
	}
	want, _ := json.Marshal(c)
	for what, got := range map[string]command.Command{"List": h.only(ann, "SN1"), "Next": h.next(dev.SensorID, 0, 1)[0]} {
		if b, _ := json.Marshal(got); string(b) != string(want) {
			t.Errorf("%s: got %s, want %s", what, b, want)
		}
	}
	if got, want := string(c.Message()), `{"id":"`+c.ID+`","name":"set <point> ü","data":{"n":1234567890123456789,"h":"<&>"}}`; got != want {
		t.Errorf("message: got %s, want %s", got, want)
	}
	plain := h.create(ann, command.Draft{Serial: "SN1", Name: "x"})
	if string(plain.Data) != "null" || plain.ExpiresAt.Sub(plain.CreatedAt) != command.DefaultLife {
		t.Errorf("defaults: got data %s and a life of %v", plain.Data, plain.ExpiresAt.Sub(plain.CreatedAt))
	}
}

func TestOutbox_RefusesWhatIsOutOfBounds(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	h.sensor(ann, "SN1")
	for _, c := range []struct {
		field string
		draft command.Draft
	}{
		{"name", command.Draft{}},
		{"name", command.Draft{Name: strings.Repeat("ü", 101)}},
		{"name", command.Draft{Name: "a\nb"}},
		{"name", command.Draft{Name: "a\x00b"}},
		{"name", command.Draft{Name: "a\u202eb"}},
		{"name", command.Draft{Name: "\xff"}},
		{"data", command.Draft{Name: "x", Data: json.RawMessage(`{`)}},
		{"data", command.Draft{Name: "x", Data: json.RawMessage(`1 2`)}},
		{"data", command.Draft{Name: "x", Data: json.RawMessage(` `)}},
		{"data", command.Draft{Name: "x", Data: json.RawMessage("\"\xff\"")}},
		{"data", command.Draft{Name: "x", Data: json.RawMessage(strings.Repeat("[", 20_000))}},
		{"data", command.Draft{Name: "x", Data: json.RawMessage(`"` + strings.Repeat("x", command.MaxDataBytes-1) + `"`)}},
		{"expires_in", command.Draft{Name: "x", ExpiresIn: time.Millisecond}},
		{"expires_in", command.Draft{Name: "x", ExpiresIn: -time.Hour}},
		{"expires_in", command.Draft{Name: "x", ExpiresIn: command.MaxLife + 1}},
	} {
		c.draft.Serial = "SN1"
		_, err := h.box.Create(t.Context(), ann, c.draft)
		if field, ok := errors.AsType[*telemetry.FieldError](err); !ok || field.Field != c.field || !errors.Is(err, telemetry.ErrInvalid) {
			t.Errorf("%.80q: got %v, want a mistake of %s", fmt.Sprint(c.draft), err, c.field)
		}
	}
	for _, d := range []command.Draft{
		{Name: strings.Repeat("ü", 100), ExpiresIn: command.MaxLife},
		{Name: "x", ExpiresIn: command.MinLife, Data: json.RawMessage(`"` + strings.Repeat("x", command.MaxDataBytes-2) + `"`)},
	} {
		d.Serial = "SN1"
		h.create(ann, d)
	}
}

// fill queues n commands without a transaction for each.
func (h *house) fill(dev auth.Device, n int) {
	h.t.Helper()
	var steps []*command.Step
	for i := range n {
		steps = append(steps, &command.Step{Command: command.Command{
			ID: fmt.Sprint("filled-", i), SensorID: dev.SensorID, Name: "x", Data: json.RawMessage("null"), State: command.Queued, ExpiresAt: 1 << 50,
		}})
	}
	must(h.t, h.db.CommitCommands(h.t.Context(), steps))
	must(h.t, h.box.Load(h.t.Context()))
}

func TestOutbox_CommandsThatWaitAreBounded(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	dev := h.sensor(ann, "SN1")
	h.sensor(ann, "SN2")
	const room = 5
	h.fill(dev, command.MaxWaiting-room)
	var taken, full atomic.Int64
	var wg sync.WaitGroup
	for range 4 * room { // at once: the bound is no matter of luck
		wg.Go(func() {
			switch _, err := h.box.Create(t.Context(), ann, command.Draft{Serial: "SN1", Name: "x"}); {
			case err == nil:
				taken.Add(1)
			case errors.Is(err, command.ErrFull) && errors.Is(err, telemetry.ErrTooMany):
				full.Add(1)
			default:
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if taken.Load() != room || full.Load() != 3*room {
		t.Errorf("got %d taken and %d refused, want %d and %d", taken.Load(), full.Load(), room, 3*room)
	}
	h.create(ann, command.Draft{Serial: "SN2", Name: "x"}) // another sensor is not concerned
	must(t, h.box.Delivered(t.Context(), dev.SensorID, "filled-0"))
	h.create(ann, command.Draft{Serial: "SN1", Name: "x"})
	if _, err := h.box.Create(t.Context(), ann, command.Draft{Serial: "SN1", Name: "x"}); !errors.Is(err, command.ErrFull) {
		t.Errorf("got %v, want %v", err, command.ErrFull)
	}
}

// What is foreign and what is absent end alike, and the store, which would take its time, is not asked for either.
func TestOutbox_NobodyReachesWhatIsNotTheirs(t *testing.T) {
	h := newHouse(t)
	ann, bob := h.person("ann"), h.person("bob")
	dev := h.sensor(ann, "SN1")
	made := h.create(ann, command.Draft{Serial: "SN1", Name: "secret"})
	admin := bob
	admin.Role = auth.RoleAdmin
	other := auth.Principal{Kind: auth.Sensor, SensorID: dev.SensorID + 1, Serial: "SN1"}
	blind := command.New(nil, h.sensors, &h.told, quiet()) // without store and committer: asking for either would panic or end with ctx
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, p := range []auth.Principal{bob, admin, other, {}} {
		for _, d := range []command.Draft{{Serial: "SN1", Name: "x"}, {Serial: "SN1"}} {
			_, foreign := blind.Create(ctx, p, d)
			d.Serial = "NOBODY"
			_, absent := blind.Create(ctx, p, d)
			if !errors.Is(foreign, telemetry.ErrNotFound) || absent == nil || foreign.Error() != absent.Error() {
				t.Errorf("create as %v: foreign got %v, absent %v, want both not found", p, foreign, absent)
			}
		}
		_, foreign := blind.List(t.Context(), p, "SN1", command.Query{Limit: 1})
		_, absent := blind.List(t.Context(), p, "NOBODY", command.Query{Limit: 1})
		if !errors.Is(foreign, telemetry.ErrNotFound) || absent == nil || foreign.Error() != absent.Error() {
			t.Errorf("list as %v: foreign got %v, absent %v, want both not found", p, foreign, absent)
		}
	}
	theirs := h.sensor(bob, "SN2")
	if err := h.box.Delivered(t.Context(), theirs.SensorID, made.ID); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("another sensor's acknowledgement: got %v, want %v", err, telemetry.ErrNotFound)
	}
	if c := h.only(ann, "SN1"); c.State != command.Queued {
		t.Errorf("after another sensor's acknowledgement: got %s, want queued", c.State)
	}
}

// A sensor may view itself and not manage itself, as a viewer with whom a sensor is shared.
func TestOutbox_WhoMayOnlyWatchMayNotCommand(t *testing.T) {
	h := newHouse(t)
	dev := h.sensor(h.person("ann"), "SN1")
	watcher := auth.Principal{Kind: auth.Sensor, SensorID: dev.SensorID, Serial: "SN1"}
	if _, err := h.box.Create(t.Context(), watcher, command.Draft{Serial: "SN1", Name: "x"}); !errors.Is(err, telemetry.ErrForbidden) {
		t.Errorf("got %v, want %v", err, telemetry.ErrForbidden)
	}
	if found, err := h.box.List(t.Context(), watcher, "SN1", command.Query{Limit: 1}); err != nil || len(found) != 0 {
		t.Errorf("list: got %v, %v, want an empty list", found, err)
	}
}

func TestOutbox_ListIsNewestFirstInPagesAndByState(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	dev := h.sensor(ann, "SN1")
	made := h.several(ann, "SN1", 5)
	must(t, h.box.Delivered(t.Context(), dev.SensorID, made[1].ID))
	must(t, h.box.Answered(t.Context(), dev.SensorID, []byte(`{"id":"`+made[3].ID+`","ok":false}`)))
	list := func(q command.Query) []string {
		t.Helper()
		found, err := h.box.List(t.Context(), ann, "SN1", q)
		must(t, err)
		return names(found)
	}
	for _, c := range []struct {
		q    command.Query
		want []string
	}{
		{command.Query{Limit: 2}, []string{"4", "3"}},
		{command.Query{Limit: 2, Beyond: made[3].Order}, []string{"2", "1"}},
		{command.Query{Limit: 2, Beyond: made[1].Order}, []string{"0"}},
		{command.Query{Limit: 9, State: command.Queued}, []string{"4", "2", "0"}},
		{command.Query{Limit: 9, State: command.Delivered}, []string{"1"}},
		{command.Query{Limit: 9, State: command.Failed}, []string{"3"}},
		{command.Query{Limit: 9, State: command.Answered}, nil},
		{command.Query{Limit: 9, State: command.Expired}, nil},
	} {
		if got := list(c.q); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %v, want %v", c.q, got, c.want)
		}
	}
	if _, err := h.box.List(t.Context(), ann, "SN1", command.Query{Limit: 1, State: "lost"}); !errors.Is(err, telemetry.ErrInvalid) {
		t.Errorf("unknown state: got %v, want %v", err, telemetry.ErrInvalid)
	}
}

// watcher notes what Next offers when it is told.
type watcher struct {
	h    *house
	seen []string
}

func (w *watcher) CommandQueued(sensorID int64, serial string) {
	found, err := w.h.box.Next(context.Background(), sensorID, 0, 10)
	w.seen = append(w.seen, fmt.Sprint(serial, names(found), err))
}

func TestOutbox_WatchersHearOfACommandOnceItIsStored(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	h.sensor(ann, "SN1")
	w := &watcher{h: h}
	h.box.Watch(w)
	h.several(ann, "SN1", 2)
	if want := []string{"SN1[0] <nil>", "SN1[0 1] <nil>"}; !slices.Equal(w.seen, want) {
		t.Errorf("got %v, want %v", w.seen, want)
	}
}

func TestOutbox_DeletedSensorTakesItsCommandsAlong(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	dev, other := h.sensor(ann, "SN1"), h.sensor(ann, "SN2")
	made := h.several(ann, "SN1", 3)
	h.several(ann, "SN2", 1)
	h.sensors.Remove("SN1")
	must(t, h.db.DeleteSensor(t.Context(), dev.SensorID))
	h.box.AuthorityChanged(auth.Change{Kind: auth.SensorRemoved, SensorID: dev.SensorID, Serial: "SN1", UserID: ann.UserID})
	if s := h.box.Stats(); s.Waiting != 1 || s.Sensors != 1 || h.box.Waiting(dev.SensorID) || !h.box.Waiting(other.SensorID) {
		t.Errorf("got %+v, want only the other sensor's", s)
	}
	if err := h.box.Delivered(t.Context(), dev.SensorID, made[0].ID); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("acknowledgement of a deleted sensor: got %v, want %v", err, telemetry.ErrNotFound)
	}
	again := h.sensor(ann, "SN1") // the serial is free, the commands do not come back
	h.restart()
	if h.box.Waiting(again.SensorID) || len(h.next(again.SensorID, 0, 10)) != 0 {
		t.Errorf("the new sensor of that serial got the old one's commands")
	}
	if _, err := h.box.List(t.Context(), ann, "SN1", command.Query{Limit: 1}); err != nil {
		t.Error(err)
	}
}

// The directory still has the sensor, the store has not any more.
func TestOutbox_CommandForASensorDeletedMeanwhileIsNotFound(t *testing.T) {
	h := newHouse(t)
	ann := h.person("ann")
	dev := h.sensor(ann, "SN1")
	must(t, h.db.DeleteSensor(t.Context(), dev.SensorID))
	if _, err := h.box.Create(t.Context(), ann, command.Draft{Serial: "SN1", Name: "x"}); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("got %v, want %v", err, telemetry.ErrNotFound)
	}
	if h.box.Waiting(dev.SensorID) {
		t.Errorf("something waits for a sensor that is gone")
	}
}
