package command_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sensorcast/command"
	"sensorcast/telemetry"
)

// inBubble runs test on a house whose time passes only when everybody waits.
func inBubble(t *testing.T, test func(h *house)) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		defer h.shut()
		test(h)
	})
}

func TestOutbox_ExpiredCommandIsNotDelivered(t *testing.T) {
	inBubble(t, func(h *house) {
		ann := h.person("ann")
		dev := h.sensor(ann, "SN1")
		h.create(ann, command.Draft{Serial: "SN1", Name: "short", ExpiresIn: 2500 * time.Millisecond})
		h.create(ann, command.Draft{Serial: "SN1", Name: "long", ExpiresIn: time.Hour})
		state := func(name string) command.State {
			found, err := h.box.List(h.t.Context(), ann, "SN1", command.Query{Limit: 10})
			must(h.t, err)
			return found[slices.Index(names(found), name)].State
		}
		time.Sleep(2499 * time.Millisecond)
		if got := names(h.next(dev.SensorID, 0, 10)); !slices.Equal(got, []string{"short", "long"}) || state("short") != command.Queued {
			h.t.Errorf("a millisecond before: got %v and %s, want both and queued", got, state("short"))
		}
		time.Sleep(time.Millisecond)
		if got := names(h.next(dev.SensorID, 0, 10)); !slices.Equal(got, []string{"long"}) || state("short") != command.Expired {
			h.t.Errorf("at the millisecond: got %v and %s, want only the long one and expired", got, state("short"))
		}
		synctest.Wait()
		if s := h.box.Stats(); s.Expired != 1 || s.Waiting != 1 {
			h.t.Errorf("written down: got %+v, want 1 expired and 1 waiting", s)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := h.box.Stats(); s.Expired != 2 || h.box.Waiting(dev.SensorID) {
			h.t.Errorf("an hour later: got %+v, want both expired", s)
		}
	})
}

// Expiry is in force whether or not somebody has written it down.
func TestOutbox_ExpiryIsExactWithoutTheCommitter(t *testing.T) {
	inBubble(t, func(h *house) {
		ann := h.person("ann")
		dev := h.sensor(ann, "SN1")
		h.create(ann, command.Draft{Serial: "SN1", Name: "x", ExpiresIn: time.Second})
		h.shutDown()
		h.shutDown = func() {}
		for _, c := range []struct {
			sleep time.Duration
			want  command.State
			next  int
		}{{999 * time.Millisecond, command.Queued, 1}, {time.Millisecond, command.Expired, 0}} {
			time.Sleep(c.sleep)
			for _, q := range []command.Query{{Limit: 1}, {Limit: 1, State: c.want}} {
				found, err := h.box.List(h.t.Context(), ann, "SN1", q)
				if err != nil || len(found) != 1 || found[0].State != c.want {
					h.t.Errorf("%+v: got %+v, %v, want it as %s", q, found, err, c.want)
				}
			}
			if got := h.next(dev.SensorID, 0, 10); len(got) != c.next {
				h.t.Errorf("offered: got %d, want %d", len(got), c.next)
			}
		}
	})
}

func TestOutbox_WhatExpiredWhileTheServerWasDownIsNotDelivered(t *testing.T) {
	inBubble(t, func(h *house) {
		ann := h.person("ann")
		dev := h.sensor(ann, "SN1")
		const many = 600 // more than one batch
		var steps []*command.Step
		for i := range many {
			steps = append(steps, &command.Step{Command: command.Command{
				ID: string(rune('a'+i%26)) + time.Duration(i).String(), SensorID: dev.SensorID, Name: "x", Data: json.RawMessage("null"),
				State: command.Queued, ExpiresAt: telemetry.Now().Add(time.Minute),
			}})
		}
		must(h.t, h.db.CommitCommands(h.t.Context(), steps))
		h.create(ann, command.Draft{Serial: "SN1", Name: "fresh", ExpiresIn: 24 * time.Hour})
		h.shut()
		time.Sleep(time.Hour)
		h.open()
		if got := names(h.next(dev.SensorID, 0, 10)); !slices.Equal(got, []string{"fresh"}) {
			h.t.Errorf("got %v, want only the fresh one", got)
		}
		synctest.Wait()
		if s := h.box.Stats(); s.Expired != many || s.Waiting != 1 {
			h.t.Errorf("got %+v, want %d expired and 1 waiting", s, many)
		}
	})
}

// The message went out in time, its acknowledgement came back late: the sensor has it, whatever the clock says.
func TestOutbox_LateWordOfTheSensorIsWorthMoreThanTheClock(t *testing.T) {
	inBubble(t, func(h *house) {
		ann := h.person("ann")
		dev := h.sensor(ann, "SN1")
		made := h.create(ann, command.Draft{Serial: "SN1", Name: "x", ExpiresIn: time.Second})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		must(h.t, h.box.Delivered(h.t.Context(), dev.SensorID, made.ID))
		if got := h.only(ann, "SN1"); got.State != command.Delivered {
			h.t.Errorf("late acknowledgement: got %s, want delivered", got.State)
		}
		must(h.t, h.box.Answered(h.t.Context(), dev.SensorID, []byte(`{"id":"`+made.ID+`","ok":true}`)))
		if got := h.only(ann, "SN1"); got.State != command.Answered {
			h.t.Errorf("late reply: got %s, want answered", got.State)
		}
		if h.box.Waiting(dev.SensorID) || h.box.Stats().Waiting != 0 {
			h.t.Errorf("got %+v, want nothing waiting", h.box.Stats())
		}
	})
}

// faulty is a store that can be made to fail or to hang.
type faulty struct {
	command.Keeper
	mu      sync.Mutex
	err     error
	gate    chan struct{} // not nil: CommitCommands waits for it to close
	batches []int
}

func (f *faulty) set(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
}

func (f *faulty) CommitCommands(ctx context.Context, steps []*command.Step) error {
	f.mu.Lock()
	err, gate := f.err, f.gate
	f.batches = append(f.batches, len(steps))
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if err != nil {
		return err
	}
	return f.Keeper.CommitCommands(ctx, steps)
}

func (f *faulty) ExpireCommands(ctx context.Context, now telemetry.Millis, limit int) (map[int64]int, telemetry.Millis, error) {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return nil, 0, err
	}
	return f.Keeper.ExpireCommands(ctx, now, limit)
}

// A storm of acknowledgements must not queue a transaction each in front of the readings.
func TestOutbox_WhatComesTogetherIsWrittenTogether(t *testing.T) {
	inBubble(t, func(h *house) {
		f := &faulty{}
		h.through = func(k command.Keeper) command.Keeper { f.Keeper = k; return f }
		h.restart()
		ann := h.person("ann")
		const sensors = 100
		var made []command.Command
		for i := range sensors {
			serial := time.Duration(i + 1).String()
			h.sensor(ann, serial)
			made = append(made, h.create(ann, command.Draft{Serial: serial, Name: "x"}))
		}
		f.gate, f.batches = make(chan struct{}), nil
		var wg sync.WaitGroup
		for _, c := range made {
			wg.Go(func() {
				if err := h.box.Delivered(context.Background(), c.SensorID, c.ID); err != nil {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait() // one is being written, the others wait
		close(f.gate)
		wg.Wait()
		if len(f.batches) > 2 {
			h.t.Errorf("transactions: got %v steps, want at most the first few and then all others", f.batches)
		}
		if s := h.box.Stats(); s.Delivered != sensors || s.Waiting != 0 {
			h.t.Errorf("got %+v, want all %d delivered", s, sensors)
		}
	})
}

func TestOutbox_WhatTheStoreRefusesWasNotTaken(t *testing.T) {
	inBubble(t, func(h *house) {
		f := &faulty{}
		h.through = func(k command.Keeper) command.Keeper { f.Keeper = k; return f }
		h.restart()
		ann := h.person("ann")
		dev := h.sensor(ann, "SN1")
		w := &watcher{h: h}
		h.box.Watch(w)
		f.set(errors.Join(errors.New("disk full"), telemetry.ErrUnavailable))
		if _, err := h.box.Create(h.t.Context(), ann, command.Draft{Serial: "SN1", Name: "lost"}); !errors.Is(err, telemetry.ErrUnavailable) {
			h.t.Errorf("create: got %v, want %v", err, telemetry.ErrUnavailable)
		}
		if h.box.Waiting(dev.SensorID) || len(w.seen) != 0 {
			h.t.Errorf("a command that is not stored waits, or was told of: %v", w.seen)
		}
		f.set(nil)
		made := h.create(ann, command.Draft{Serial: "SN1", Name: "x", ExpiresIn: time.Minute})
		f.set(telemetry.ErrUnavailable)
		for what, err := range map[string]error{
			"acknowledgement": h.box.Delivered(h.t.Context(), dev.SensorID, made.ID),
			"reply":           h.box.Answered(h.t.Context(), dev.SensorID, []byte(`{"id":"`+made.ID+`","ok":true}`)),
		} {
			if !errors.Is(err, telemetry.ErrUnavailable) || errors.Is(err, telemetry.ErrInvalid) {
				h.t.Errorf("%s: got %v, want %v", what, err, telemetry.ErrUnavailable)
			}
		}
		if !h.box.Waiting(dev.SensorID) || h.told.count() != 0 || h.only(ann, "SN1").State != command.Queued {
			h.t.Errorf("a command nobody could acknowledge does not wait any more, or the owner was bothered")
		}
		time.Sleep(2 * time.Minute) // writing down that it expired fails as well, and is tried again
		f.set(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := h.box.Stats(); s.Expired != 1 || s.Waiting != 0 {
			h.t.Errorf("once the store works: got %+v, want it expired", s)
		}
	})
}

func TestOutbox_WithoutACommitterNothingHangs(t *testing.T) {
	inBubble(t, func(h *house) {
		ann := h.person("ann")
		dev := h.sensor(ann, "SN1")
		idle := command.New(h.db, h.sensors, &h.told, quiet())
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Second)
		defer cancel()
		if _, err := idle.Create(ctx, ann, command.Draft{Serial: "SN1", Name: "x"}); !errors.Is(err, telemetry.ErrUnavailable) {
			h.t.Errorf("before Run: got %v, want %v", err, telemetry.ErrUnavailable)
		}
		h.shutDown()
		h.shutDown = func() {}
		if _, err := h.box.Create(h.t.Context(), ann, command.Draft{Serial: "SN1", Name: "x"}); !errors.Is(err, telemetry.ErrUnavailable) {
			h.t.Errorf("after Run: got %v, want %v", err, telemetry.ErrUnavailable)
		}
		if idle.Waiting(dev.SensorID) || h.box.Waiting(dev.SensorID) {
			h.t.Errorf("what was not taken waits")
		}
	})
}
