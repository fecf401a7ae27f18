package store

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sensorcast/audit"
	"sensorcast/telemetry"
)

// deed is an entry of ann (7) about the sensor 3 of bob (8).
func deed(action string, at telemetry.Millis) audit.Entry {
	return audit.Entry{
		At: at, Action: action, Outcome: audit.Done, Count: 1, Actor: audit.Account{ID: 7, Name: "Ann"}, Via: audit.Session, ViaID: "s", Address: "192.0.2.1",
		Sensor: audit.Sensor{ID: 3, Serial: "SN1", OwnerID: 8}, Detail: map[string]any{"fields": []any{"name"}},
	}
}

func enter(t testing.TB, d *DB, bucket string, entries ...audit.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := d.AppendEntry(t.Context(), e, bucket); err != nil {
			t.Fatalf("AppendEntry: %v", err)
		}
	}
}

func entries(t testing.TB, d *DB, q audit.Query) []audit.Entry {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	found, err := d.Entries(t.Context(), q)
	if err != nil {
		t.Fatalf("Entries(%+v): %v", q, err)
	}
	return found
}

func actions(found []audit.Entry) (out []string) {
	for _, e := range found {
		out = append(out, e.Action)
	}
	return out
}

func TestEntries_ComeBackWholeAlsoAfterACrash(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	full, bare := deed("rotate-secret", now()), audit.Entry{At: now(), Action: "login", Outcome: audit.Refused, Count: 1}
	full.Account = audit.Account{ID: 9, Name: "carl"}
	enter(t, d, "", full, bare)
	abandon(t, d)
	full.Seq, bare.Seq = 1, 2
	if diff := cmp.Diff([]audit.Entry{bare, full}, entries(t, openAt(t, dir), audit.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEntries_AreSelected(t *testing.T) {
	d := openNew(t)
	at := now()
	other := deed("delete-sensor", at+20)
	other.Actor, other.Sensor = audit.Account{ID: 9, Name: "carl"}, audit.Sensor{ID: 4, Serial: "SN1", OwnerID: 9}
	login := audit.Entry{At: at + 30, Action: "login", Outcome: audit.Done, Count: 1, Actor: audit.Account{ID: 8, Name: "bob"}}
	enter(t, d, "", deed("create-sensor", at), deed("update-sensor", at+10), other, login)
	for what, tc := range map[string]struct {
		q    audit.Query
		want []string
	}{
		"all":            {audit.Query{}, []string{"login", "delete-sensor", "update-sensor", "create-sensor"}},
		"first of all":   {audit.Query{Limit: 1}, []string{"login"}},
		"beyond":         {audit.Query{Beyond: 3}, []string{"update-sensor", "create-sensor"}},
		"actor":          {audit.Query{Actor: "ANN"}, []string{"update-sensor", "create-sensor"}},
		"serial":         {audit.Query{Serial: "SN1"}, []string{"delete-sensor", "update-sensor", "create-sensor"}},
		"serial by case": {audit.Query{Serial: "sn1"}, nil},
		"sensor":         {audit.Query{Serial: "SN1", SensorID: 4}, []string{"delete-sensor"}},
		"action":         {audit.Query{Action: "login"}, []string{"login"}},
		"time":           {audit.Query{From: at + 10, To: at + 30}, []string{"delete-sensor", "update-sensor"}},
		"who did it":     {audit.Query{Party: 7}, []string{"update-sensor", "create-sensor"}},
		"whose it was":   {audit.Query{Party: 8}, []string{"login", "update-sensor", "create-sensor"}},
		"both":           {audit.Query{Party: 9}, []string{"delete-sensor"}},
		"stranger":       {audit.Query{Party: 10}, nil},
		"party's page":   {audit.Query{Party: 8, Beyond: 4, Limit: 1}, []string{"update-sensor"}},
		"party's sensor": {audit.Query{Party: 9, Serial: "SN1"}, []string{"delete-sensor"}},
	} {
		if got := actions(entries(t, d, tc.q)); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", what, got, tc.want)
		}
	}
}

func TestEntries_OfOneBucketAreOneAndCounted(t *testing.T) {
	d := openNew(t)
	refused := deed("login", now())
	refused.Outcome = audit.Refused
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { enter(t, d, "minute 1", refused) })
	}
	all.Wait()
	enter(t, d, "minute 2", refused)
	enter(t, d, "", refused, refused)
	var counts []int64
	for _, e := range entries(t, d, audit.Query{Party: 7}) {
		counts = append(counts, e.Count)
	}
	if want := []int64{1, 1, 1, 20}; !slices.Equal(counts, want) {
		t.Errorf("got counts %v, want %v", counts, want)
	}
}

// Those that come while a transaction runs share the next one, and each is told when it is durable.
func TestEntries_ThatComeTogetherAreCommittedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openNew(t)
		d.write.turn <- struct{}{} // as a transaction that runs
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() { enter(t, d, "", deed(fmt.Sprint(i), now())) })
		}
		synctest.Wait() // until all wait
		before := d.write.served.Load()
		<-d.write.turn
		all.Wait()
		if n := d.write.served.Load() - before; n != 1 || len(entries(t, d, audit.Query{})) != 50 {
			t.Errorf("got %d transactions and %d entries, want 1 and 50", n, len(entries(t, d, audit.Query{})))
		}
	})
}

func TestForgetEntries_DeletesWhatIsOldAndNothingElse(t *testing.T) {
	d := openNew(t)
	enter(t, d, "", deed("old", now().Add(-3*time.Hour)), deed("older", now().Add(-4*time.Hour)), deed("new", now().Add(-time.Hour)))
	forget := func(rows int) int {
		t.Helper()
		delete(d.lookAgain, "audit")
		done, err := d.forgetEntries(t.Context(), rows)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if done := forget(10); done != 0 || len(entries(t, d, audit.Query{})) != 3 {
		t.Errorf("with nothing set %d went, want all kept for ever", done)
	}
	d.cfg.AuditRetain = 2 * time.Hour
	if done := forget(1); done != 1 {
		t.Errorf("the first turn took %d, want 1", done)
	}
	forget(10)
	if got := actions(entries(t, d, audit.Query{})); !slices.Equal(got, []string{"new"}) {
		t.Errorf("got %v, want the new one", got)
	}
	var parties int
	if err := d.read.QueryRow("SELECT count(*) FROM audit_parties").Scan(&parties); err != nil || parties != 2 {
		t.Errorf("got %d parties, %v, want the 2 of the new one", parties, err)
	}
}

// A year of entries must not slow down a page of one person's, nor of all.
func TestEntries_ArePagedByAnIndex(t *testing.T) {
	d := openNew(t)
	for what, q := range map[string]audit.Query{"party": {Party: 7, Beyond: 9, Limit: 50}, "all": {Beyond: 9, Limit: 50}, "serial": {Serial: "SN1", Limit: 50}, "actor": {Actor: "ann", Limit: 50}} {
		query, args := selectEntries(q)
		rows, err := d.read.Query("EXPLAIN QUERY PLAN "+query, args...)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			if step == "USE TEMP B-TREE FOR ORDER BY" || step == "SCAN a" {
				t.Errorf("%s: the plan has %q", what, step)
			}
		}
	}
}
