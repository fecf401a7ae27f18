package store

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sensorcast/telemetry"
)

// replayAll reads pages to the end and returns their seqs.
func replayAll(t *testing.T, d *DB, sensors []int64, after int64) (seqs []int64, pages int) {
	t.Helper()
	for {
		page, through, err := d.ReadingsAfter(t.Context(), sensors, after)
		if err != nil {
			t.Fatal(err)
		}
		if through == after {
			return seqs, pages
		}
		for _, r := range page {
			if r.Seq <= after || r.Seq > through || !slices.Contains(sensors, r.SensorID) {
				t.Fatalf("page (%d, %d]: got reading %d of sensor %d", after, through, r.Seq, r.SensorID)
			}
			seqs = append(seqs, r.Seq)
		}
		after, pages = through, pages+1
	}
}

func TestReadingsAfter_IsCompleteInOrderAndPaged(t *testing.T) {
	d := openNew(t)
	sensors := newSensors(t, d, 3)
	pad := strings.Repeat("x", 1000)
	var readings []telemetry.Reading
	var want []int64
	for i := range 500 {
		s := sensors[i%3]
		r := telemetry.Reading{SensorID: s.ID, Serial: s.Serial, Seq: int64(2*i + 1), Time: telemetry.Millis(10_000 - i), ReceivedAt: telemetry.Millis(i + 1), Data: []byte(`{"p":"` + pad + `"}`)}
		readings = append(readings, r)
		if i%3 != 0 && r.Seq > 100 {
			want = append(want, r.Seq)
		}
	}
	record(t, d, readings[:250]...)
	indexAll(t, d) // a part is in the index
	record(t, d, readings[250:]...)
	got, pages := replayAll(t, d, []int64{sensors[1].ID, sensors[2].ID}, 100)
	if !slices.Equal(got, want) {
		t.Errorf("after 100: got %d readings, want %d", len(got), len(want))
	}
	if pages < 4 || pages > 10 {
		t.Errorf("300 KB in pages of 64: got %d", pages)
	}
	if got, _ := replayAll(t, d, nil, 0); len(got) != 0 {
		t.Errorf("of no sensor: got %v", got)
	}
}

func TestReadingsAfter_SaysWhatIsPruned(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	d.cfg.Retain = time.Hour
	s := newSensors(t, d, 1)[0]
	old, fresh := telemetry.Now().Add(-2*time.Hour), telemetry.Now()
	for i, at := range []telemetry.Millis{old, old, fresh, fresh} {
		record(t, d, telemetry.Reading{SensorID: s.ID, Serial: s.Serial, Seq: int64(i + 1), Time: at, ReceivedAt: at, Data: []byte(`{}`)})
	}
	if got, _ := replayAll(t, d, []int64{s.ID}, 0); !slices.Equal(got, []int64{1, 2, 3, 4}) {
		t.Fatalf("before the deletion: got %v", got)
	}
	indexAll(t, d)
	expireAll(t, d, 2)
	check := func(d *DB) {
		t.Helper()
		for after := range int64(4) {
			_, _, err := d.ReadingsAfter(t.Context(), []int64{s.ID}, after)
			if pruned := errors.Is(err, telemetry.ErrNotFound); pruned != (after < 2) || !pruned && err != nil {
				t.Errorf("after %d of four, of which two are deleted: got %v", after, err)
			}
		}
	}
	check(d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	check(openAt(t, dir))
}

func TestForgetTokens_DropsTheExpiredOnly(t *testing.T) {
	d := openNew(t)
	for id, expires := range map[string]telemetry.Millis{"old": now() - 1, "young": now().Add(time.Hour)} {
		if first, err := d.SpendToken(t.Context(), id, expires); !first || err != nil {
			t.Fatalf("spend %s: got %v, %v", id, first, err)
		}
	}
	if n, err := d.forgetTokens(t.Context(), 10); n != 1 || err != nil {
		t.Errorf("forget: got %d, %v, want 1", n, err)
	}
	if first, err := d.SpendToken(t.Context(), "young", now().Add(time.Hour)); first || err != nil {
		t.Errorf("the one that lives: got %v, %v, want it still spent", first, err)
	}
}

func TestRecentKeys_AreTheNewestInTheirOrder(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	s := newSensors(t, d, 1)[0]
	for seq := int64(1); seq <= 6; seq++ {
		r := reads(s.ID, seq)
		if seq%2 == 0 {
			r.Key = telemetry.Key{byte(seq)}
		}
		record(t, d, r)
	}
	got, err := d.RecentKeys(t.Context())
	if want := []telemetry.Key{{2}, {4}, {6}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
