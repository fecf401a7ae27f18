package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sensorcast/command"
	"sensorcast/telemetry"
)

// adding is the step that queues a command, which expires an hour from now.
func adding(sensor int64, id string) *command.Step {
	at := now()
	return &command.Step{At: at, Command: command.Command{
		ID: id, SensorID: sensor, Name: "name of " + id, Data: json.RawMessage(`{"a":1}`), State: command.Queued, CreatedAt: at, CreatedBy: "owner",
		ExpiresAt: at.Add(time.Hour),
	}}
}

func settling(sensor int64, id string, s command.State, at telemetry.Millis) *command.Step {
	return &command.Step{At: at, Command: command.Command{SensorID: sensor, ID: id, State: s, DeliveredAt: at}}
}

func commit(t testing.TB, d *DB, steps ...*command.Step) {
	t.Helper()
	if err := d.CommitCommands(t.Context(), steps); err != nil {
		t.Fatalf("CommitCommands: %v", err)
	}
}

func TestCommitCommands_TellsWhatCameOfEachStep(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 2)
	at := now()
	steps := []*command.Step{
		adding(s[0].ID, "a"),
		adding(999, "b"), // no such sensor: that is nobody else's concern
		adding(s[1].ID, "c"),
		settling(s[0].ID, "a", command.Delivered, at),
		settling(s[0].ID, "a", command.Delivered, at+1),
		settling(s[0].ID, "c", command.Delivered, at), // another sensor's
		settling(s[0].ID, "z", command.Answered, at),
	}
	commit(t, d, steps...)
	for i, want := range []command.Step{
		{Found: true, Taken: true},
		{},
		{Found: true, Taken: true},
		{Found: true, Taken: true, Was: command.Queued},
		{Found: true, Was: command.Delivered},
		{},
		{},
	} {
		if got := steps[i]; got.Found != want.Found || got.Taken != want.Taken || got.Was != want.Was {
			t.Errorf("step %d: got found %v, taken %v, was %q, want %+v", i, got.Found, got.Taken, got.Was, want)
		}
	}
	if a, c := steps[0].Command.Order, steps[2].Command.Order; a == 0 || c <= a {
		t.Errorf("orders: got %d and %d, want them rising", a, c)
	}
	found, err := d.Commands(t.Context(), command.Query{SensorID: s[0].ID, Now: at, Limit: 10})
	if err != nil || len(found) != 1 || found[0].DeliveredAt != at || found[0].Serial != s[0].Serial || found[0].Reply != nil {
		t.Errorf("got %+v, %v, want one, delivered at %v", found, err, at)
	}
}

func TestCommitCommands_AllOrNothing(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	commit(t, d, adding(s.ID, "a"))
	if err := d.CommitCommands(t.Context(), []*command.Step{adding(s.ID, "b"), adding(s.ID, "a")}); err == nil {
		t.Fatal("an id was given twice")
	}
	if n := count(t, d, "SELECT count(*) FROM commands"); n != 1 {
		t.Errorf("after a failed transaction: got %d commands, want 1", n)
	}
}

// A command that was returned as queued survives whatever ends the process, and its place is not given again.
func TestCommands_SurviveACrashAndOrdersAreNotReused(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	s := newSensors(t, d, 1)[0]
	last := adding(s.ID, "b")
	commit(t, d, adding(s.ID, "a"), last)
	abandon(t, d)
	d = openAt(t, dir)
	waiting, err := d.WaitingCommands(t.Context())
	if err != nil || len(waiting) != 1 || waiting[s.ID] != 2 {
		t.Errorf("got %v, %v, want 2 of sensor %d", waiting, err, s.ID)
	}
	if _, err := d.write.db.Exec("DELETE FROM commands"); err != nil {
		t.Fatal(err)
	}
	next := adding(s.ID, "c")
	commit(t, d, next)
	if next.Command.Order <= last.Command.Order {
		t.Errorf("order after a deletion: got %d, want above %d", next.Command.Order, last.Command.Order)
	}
}

func TestExpireCommands_TellsOfWhomAndWhenNext(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 2)
	at := now()
	for i, id := range []string{"a", "b", "c", "d"} {
		step := adding(s[i%2].ID, id)
		step.Command.ExpiresAt = at + telemetry.Millis(i)
		commit(t, d, step)
	}
	expired, next, err := d.ExpireCommands(t.Context(), at+2, 2)
	if err != nil || expired[s[0].ID] != 1 || expired[s[1].ID] != 1 || next != at+2 {
		t.Errorf("first two of three: got %v, next %v, %v", expired, next, err)
	}
	expired, next, err = d.ExpireCommands(t.Context(), at+2, 2)
	if err != nil || len(expired) != 1 || expired[s[0].ID] != 1 || next != at+3 {
		t.Errorf("the third: got %v, next %v, %v", expired, next, err)
	}
	expired, next, err = d.ExpireCommands(t.Context(), at+9, 2)
	if err != nil || expired[s[1].ID] != 1 || next != 0 {
		t.Errorf("the last: got %v, next %v, %v", expired, next, err)
	}
}

func TestForgetCommands_DeletesOnlyWhatWasSettledLongAgo(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 1)[0]
	long, short := now().Add(-command.KeepSettled-time.Hour), now().Add(-command.KeepSettled+time.Hour)
	for id, at := range map[string]telemetry.Millis{"long-delivered": long, "long-answered": long, "short-delivered": short} {
		state := command.Delivered
		if strings.HasSuffix(id, "answered") {
			state = command.Answered
		}
		commit(t, d, adding(s.ID, id), settling(s.ID, id, state, at))
	}
	old := adding(s.ID, "waits")
	old.Command.CreatedAt = long
	commit(t, d, old)
	gone := adding(s.ID, "expired-long-ago")
	gone.Command.ExpiresAt = long
	commit(t, d, gone)
	if _, _, err := d.ExpireCommands(t.Context(), now(), 10); err != nil {
		t.Fatal(err)
	}
	for done, rounds := 1, 0; done > 0; rounds++ {
		var err error
		if done, err = d.forgetCommands(t.Context(), 1); err != nil || rounds > 10 {
			t.Fatalf("round %d: %v", rounds, err)
		}
	}
	found, err := d.Commands(t.Context(), command.Query{SensorID: s.ID, Now: now(), Limit: 10, OldestFirst: true})
	if err != nil || len(found) != 2 || found[0].ID != "short-delivered" || found[1].ID != "waits" {
		t.Errorf("left: got %+v, %v, want short-delivered and waits", found, err)
	}
	if done, _ := d.forgetCommands(t.Context(), 1); done != 0 || !time.Now().Before(d.lookAgain["commands"]) {
		t.Errorf("it looks again at once")
	}
}

func TestDeleteUser_TakesCommandsAlong(t *testing.T) {
	d := openNew(t)
	s := newSensors(t, d, 2)
	other := newSensor(t, d, newUser(t, d, "another").ID, "OTHER")
	commit(t, d, adding(s[0].ID, "a"), adding(s[1].ID, "b"), adding(other.ID, "c"))
	if err := d.DeleteUser(t.Context(), s[0].OwnerID); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "SELECT count(*) FROM commands"); n != 1 {
		t.Errorf("got %d commands, want the other's 1", n)
	}
}

// What runs for every reconnecting sensor and every second must find its rows, not search for them among months of history.
func TestCommands_QueriesUseTheirIndexes(t *testing.T) {
	d := openNew(t)
	next, args := selectCommands(command.Query{SensorID: 1, State: command.Queued, Now: 1, OldestFirst: true, Beyond: 1, Limit: 10})
	list, listArgs := selectCommands(command.Query{SensorID: 1, Now: 1, Limit: 10})
	for query, c := range map[string]struct {
		args  []any
		index string
	}{
		next: {args, "commands_queued"},
		list: {listArgs, "commands_by_sensor"},
		"SELECT ord FROM commands WHERE state = 'queued' AND expires_at <= ? ORDER BY expires_at LIMIT 1":    {[]any{1}, "commands_by_expiry"},
		"SELECT coalesce(min(expires_at), 0) FROM commands WHERE state = 'queued'":                           {nil, "commands_by_expiry"},
		"SELECT ord FROM commands WHERE state <> 'queued' AND settled_at < ? ORDER BY settled_at LIMIT 1":    {[]any{1}, "commands_by_settlement"},
		"SELECT sensor_id, count(*) FROM commands WHERE state = 'queued' GROUP BY sensor_id":                 {nil, "commands_queued"},
		"SELECT state FROM commands WHERE id = 'x' AND sensor_id = 1 /* what an acknowledgement looks up */": {nil, "sqlite_autoindex_commands_1"},
	} {
		rows, err := d.read.Query("EXPLAIN QUERY PLAN "+query, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var a, b, e int
			var detail string
			if err := rows.Scan(&a, &b, &e, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(plan, "; ")
		if !strings.Contains(got, c.index) || strings.Contains(got, "TEMP B-TREE") {
			t.Errorf("%s\ngot %s, want by %s and unsorted", query, got, c.index)
		}
	}
}

// BenchmarkDeleteSensor_WithHistory: the commands go in the one transaction that deletes their sensor, so how long it holds the writer matters.
func BenchmarkDeleteSensor_WithHistory(b *testing.B) {
	d := openNew(b)
	owner := newUser(b, d, "owner")
	for b.Loop() {
		b.StopTimer()
		s := newSensor(b, d, owner.ID, "SN")
		for round := range 100 {
			steps := make([]*command.Step, 0, 2000)
			for i := range 1000 {
				id := fmt.Sprint(s.ID, round, i)
				steps = append(steps, adding(s.ID, id), settling(s.ID, id, command.Delivered, day))
			}
			commit(b, d, steps...)
		}
		b.StartTimer()
		if err := d.DeleteSensor(b.Context(), s.ID); err != nil {
			b.Fatal(err)
		}
	}
}
