package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sensorcast/telemetry"
)

var etiquette = telemetry.Etiquette{
	Many: 10, Share: 20, Gather: 50 * time.Second, Flaps: 4, Within: time.Hour, Remind: 24 * time.Hour,
}

func opening(at telemetry.Millis) telemetry.Opening {
	return telemetry.Opening{At: at, Etiquette: etiquette, Explain: func(l *telemetry.Liveness) (telemetry.Cause, string) {
		return telemetry.CauseLost, "no reading for 10 minutes; its connection was lost"
	}}
}

// day0 is when the incidents of these tests begin; readings arrive at day.
var day0 = day.Add(time.Hour)

// patient is a sensor that falls silent and returns.
type patient struct {
	t    *testing.T
	d    *DB
	s    telemetry.Sensor
	seqs *int64
}

// reads stores a reading.
func (p patient) reads(at telemetry.Millis) {
	p.t.Helper()
	*p.seqs++
	r := reads(p.s.ID, *p.seqs)
	r.ReceivedAt = at
	record(p.t, p.d, r)
}

// falls is found silent.
func (p patient) falls(at telemetry.Millis) []telemetry.Alert {
	p.t.Helper()
	_, steps, err := p.d.Silence(p.t.Context(), []telemetry.Liveness{livenessOf(p.t, p.d, p.s.ID)}, opening(at))
	if err != nil {
		p.t.Fatal(err)
	}
	return steps
}

// returns sends something, and that is dealt with.
func (p patient) returns(at telemetry.Millis) []telemetry.Alert {
	p.t.Helper()
	p.reads(at)
	settled, steps, err := p.d.Returned(p.t.Context(), []telemetry.Return{{SensorID: p.s.ID, At: at}}, at, etiquette)
	if err != nil || !settled[0] {
		p.t.Fatalf("Returned: got %v, %v", settled, err)
	}
	return steps
}

func (p patient) alerts(state telemetry.AlertState) []telemetry.Alert {
	p.t.Helper()
	all, err := p.d.Alerts(p.t.Context(), telemetry.AlertQuery{Serials: []string{p.s.Serial}, State: state, Limit: 500})
	if err != nil {
		p.t.Fatal(err)
	}
	return all
}

func announceAt(t *testing.T, d *DB, at telemetry.Millis) (steps []telemetry.Alert) {
	t.Helper()
	for more := true; more; {
		some, again, err := d.Announce(t.Context(), at, etiquette)
		if err != nil {
			t.Fatal(err)
		}
		steps, more = append(steps, some...), again
	}
	return steps
}

// notices returns what owners are told, in order, as "what title".
func notices(t *testing.T, d *DB) (all []string) {
	t.Helper()
	rows, err := d.read.Query("SELECT what || ' ' || title FROM notices ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func wantNotices(t *testing.T, d *DB, want ...string) {
	t.Helper()
	if got := notices(t, d); !slices.Equal(got, want) {
		t.Errorf("got notices %q, want %q", got, want)
	}
}

// patients are sensors of one owner.
func patients(t *testing.T, d *DB, n int) []patient {
	t.Helper()
	seqs := new(int64)
	var all []patient
	for _, s := range newSensors(t, d, n) {
		p := patient{t, d, s, seqs}
		p.reads(day)
		all = append(all, p)
	}
	return all
}

func TestAlerts_OneSilenceIsOneIncident(t *testing.T) {
	d := openNew(t)
	p := patients(t, d, 1)[0]
	name := (&telemetry.Alert{Serial: p.s.Serial, Name: p.s.Name}).Called()
	opened := p.falls(day0)
	if len(opened) != 1 || opened[0].State() != telemetry.AlertOpen || opened[0].Cause != telemetry.CauseLost || opened[0].Serial != p.s.Serial {
		t.Fatalf("got %+v, want one incident opened", opened)
	}
	for range 3 {
		if again := p.falls(day0 + 1000); len(again) != 0 {
			t.Fatalf("found silent again: got %+v, want nothing new", again)
		}
	}
	if open, err := d.OpenSilences(t.Context()); err != nil || !slices.Equal(open, []int64{p.s.ID}) {
		t.Errorf("open silences: got %v, %v", open, err)
	}
	resolved := p.returns(day0 + 60_000)
	if len(resolved) != 1 || resolved[0].ID != opened[0].ID || resolved[0].ResolvedAt != day0+60_000 {
		t.Fatalf("got %+v, want it resolved", resolved)
	}
	if again := p.returns(day0 + 61_000); len(again) != 0 {
		t.Errorf("got %+v, want it resolved once", again)
	}
	if all := p.alerts(""); len(all) != 1 || len(p.alerts(telemetry.AlertOpen)) != 0 || len(p.alerts(telemetry.AlertResolved)) != 1 {
		t.Errorf("got %+v, want one incident, resolved", all)
	}
	wantNotices(t, d, "opened "+name+" is silent", "resolved "+name+" is back")
}

// A reading that is not stored yet ends nothing.
func TestAlerts_EndOnlyWithWhatIsStored(t *testing.T) {
	d := openNew(t)
	p := patients(t, d, 1)[0]
	p.falls(day0)
	settled, steps, err := d.Returned(t.Context(), []telemetry.Return{{SensorID: p.s.ID, At: day0 + 1}, {SensorID: 999}}, day0+1, etiquette)
	if err != nil || settled[0] || !settled[1] || len(steps) != 0 {
		t.Errorf("got %v, %v, %v; want the first unsettled, the unknown settled", settled, steps, err)
	}
}

// We ended after the sensor had returned and before that was written down; then it falls silent again.
func TestAlerts_AForgottenReturnIsMadeUpFor(t *testing.T) {
	d := openNew(t)
	p := patients(t, d, 1)[0]
	first := p.falls(day0)
	p.reads(day0 + 60_000)
	steps := p.falls(day0 + 3_600_000)
	if len(steps) != 2 || steps[0].ID != first[0].ID || steps[0].State() != telemetry.AlertResolved || steps[1].State() != telemetry.AlertOpen {
		t.Fatalf("got %+v, want the first resolved and another opened", steps)
	}
}

func TestAlerts_OutliveAKill(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	p := patients(t, d, 1)[0]
	opened := p.falls(day0)
	abandon(t, d)
	p.d = openAt(t, dir)
	if open := p.alerts(telemetry.AlertOpen); len(open) != 1 || open[0].ID != opened[0].ID {
		t.Errorf("got %+v, want the incident", open)
	}
	if again := p.falls(day0 + 1000); len(again) != 0 {
		t.Errorf("got %+v, want no other incident of the same silence", again)
	}
	if n := len(notices(t, p.d)); n != 1 {
		t.Errorf("got %d notices, want 1", n)
	}
}

func TestAlerts_GoWithTheirSensor(t *testing.T) {
	d := openNew(t)
	p := patients(t, d, 1)[0]
	p.falls(day0)
	if err := d.KeepCadences(t.Context(), map[int64]telemetry.Cadence{p.s.ID: {Gaps: 30, Typical: time.Minute, Long: time.Minute}, 999: {}}); err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteSensor(t.Context(), p.s.ID); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"alerts", "notices", "cadences"} {
		if n := count(t, d, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%s: got %d rows, want none", table, n)
		}
	}
}

func TestFlapping_StaysOneIncidentUntilItHasKeptAway(t *testing.T) {
	d := openNew(t)
	p := patients(t, d, 1)[0]
	at := day0
	minutes := func(n int) telemetry.Millis { at = at.Add(time.Duration(n) * time.Minute); return at }
	for range 3 {
		p.falls(minutes(5))
		p.returns(minutes(1))
	}
	told := len(notices(t, d))
	fourth := p.falls(minutes(5))
	if len(fourth) != 1 || !fourth[0].Flapping || fourth[0].Episodes != 4 {
		t.Fatalf("got %+v, want one that is flapping", fourth)
	}
	for range 5 {
		if steps := p.returns(minutes(1)); len(steps) != 0 {
			t.Errorf("a return: got %+v, want it open all the same", steps)
		}
		if steps := p.falls(minutes(5)); len(steps) != 0 {
			t.Errorf("another episode: got %+v, want no incident", steps)
		}
	}
	p.returns(minutes(1))
	if n := len(notices(t, d)); n != told+1 {
		t.Errorf("got %d notices while it flaps, want 1", n-told)
	}
	if open := p.alerts(telemetry.AlertOpen); len(open) != 1 || open[0].Episodes != 9 {
		t.Errorf("got %+v, want one of nine episodes", open)
	}
	if steps := announceAt(t, d, minutes(59)); len(steps) != 0 {
		t.Errorf("after 59 minutes: got %+v", steps)
	}
	if steps := announceAt(t, d, minutes(2)); len(steps) != 1 || steps[0].ID != fourth[0].ID {
		t.Errorf("after an hour: got %+v, want it resolved", steps)
	}
	if n := len(notices(t, d)); n != told+2 {
		t.Errorf("got %d notices in the end, want 2", n-told)
	}
}

func TestDigest_ManyAtOnceAreToldInOne(t *testing.T) {
	d := openNew(t)
	all := patients(t, d, 30)
	for _, p := range all[:12] {
		p.falls(day0)
	}
	if got := notices(t, d); len(got) != 0 {
		t.Fatalf("at once: got %q, want it gathered", got)
	}
	announceAt(t, d, day0.Add(49*time.Second))
	wantNotices(t, d)
	all[12].falls(day0.Add(49 * time.Second)) // the last to join
	announceAt(t, d, day0.Add(50*time.Second))
	wantNotices(t, d, "digest 13 of your 30 sensors need a look")
	var data string
	if err := d.read.QueryRow("SELECT data FROM notices").Scan(&data); err != nil {
		t.Fatal(err)
	}
	var content struct {
		What   string
		Count  int
		Alerts []struct {
			Serial string `json:"serial_no"`
		}
	}
	if err := json.Unmarshal([]byte(data), &content); err != nil || content.What != "opened" || content.Count != 13 || len(content.Alerts) != 13 {
		t.Errorf("got %s, %v", data, err)
	}
	announceAt(t, d, day0.Add(10*time.Minute))
	for _, p := range all[:13] {
		p.returns(day0.Add(time.Hour))
	}
	announceAt(t, d, day0.Add(time.Hour+50*time.Second))
	wantNotices(t, d, "digest 13 of your 30 sensors need a look", "digest 13 of your 30 sensors are well again")
}

func TestDigest_FewOfManyAreToldOneByOne(t *testing.T) {
	d := openNew(t)
	all := patients(t, d, 60)
	for _, p := range all[:12] { // a fifth of them, not more
		p.falls(day0)
	}
	announceAt(t, d, day0.Add(time.Minute))
	if got := notices(t, d); len(got) != 12 || !strings.HasPrefix(got[0], "opened ") {
		t.Errorf("got %q, want 12 of their own", got)
	}
}

func TestDigest_WhatIsOverBeforeItIsToldIsNotTold(t *testing.T) {
	d := openNew(t)
	all := patients(t, d, 10)
	all[0].falls(day0)
	all[0].returns(day0.Add(20 * time.Second))
	announceAt(t, d, day0.Add(time.Hour))
	wantNotices(t, d)
	if got := all[0].alerts(telemetry.AlertResolved); len(got) != 1 {
		t.Errorf("got %+v, want it on record", got)
	}
}

func TestReminder_ComesEveryDayUntilSomebodyLooksAfterIt(t *testing.T) {
	d := openNew(t)
	p := patients(t, d, 1)[0]
	id := p.falls(day0)[0].ID
	announceAt(t, d, day0.Add(23*time.Hour))
	for range 2 {
		announceAt(t, d, day0.Add(24*time.Hour))
		announceAt(t, d, day0.Add(47*time.Hour))
	}
	announceAt(t, d, day0.Add(49*time.Hour))
	if got := notices(t, d); len(got) != 3 || !strings.HasPrefix(got[2], "reminder ") {
		t.Errorf("got %q, want two reminders", got)
	}
	a, changed, err := d.Acknowledge(t.Context(), id, "ann", day0.Add(50*time.Hour))
	if err != nil || !changed || a.AcknowledgedBy != "ann" {
		t.Fatalf("got %+v, %v, %v", a, changed, err)
	}
	if a, changed, err = d.Acknowledge(t.Context(), id, "bob", day0.Add(51*time.Hour)); err != nil || changed || a.AcknowledgedBy != "ann" {
		t.Errorf("a second time: got %+v, %v, %v; want it left as it is", a, changed, err)
	}
	announceAt(t, d, day0.Add(1000*time.Hour))
	if n := len(notices(t, d)); n != 3 {
		t.Errorf("got %d notices once acknowledged, want no more than 3", n)
	}
}

// What was planned before the clock was set back is not put off until it has caught up.
func TestAnnounce_ClockSetBack(t *testing.T) {
	d := openNew(t)
	all := patients(t, d, 10)
	all[0].falls(day0)
	announceAt(t, d, day0.Add(-48*time.Hour))
	if n := len(notices(t, d)); n != 1 {
		t.Errorf("got %d notices, want 1", n)
	}
}

func TestAlerts_PagesHoldEachOnceAndOnlyTheirs(t *testing.T) {
	d := openNew(t)
	all := patients(t, d, 7)
	for _, p := range all {
		p.falls(day0)
	}
	var got []string
	q := telemetry.AlertQuery{Limit: 2}
	for _, p := range all[:5] {
		q.Serials = append(q.Serials, p.s.Serial)
	}
	for {
		page, err := d.Alerts(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			got = append(got, a.Serial)
		}
		q.Beyond = page[len(page)-1].Order
	}
	slices.Reverse(got)
	if !slices.Equal(got, q.Serials) {
		t.Errorf("got %q, want %q", got, q.Serials)
	}
}

func TestTimeline_TellsWhatHappenedInOrder(t *testing.T) {
	d := openNew(t)
	p := patients(t, d, 2)[0]
	id := p.falls(day0)[0].ID
	if _, _, err := d.Acknowledge(t.Context(), id, "ann", day0+5); err != nil {
		t.Fatal(err)
	}
	p.returns(day0 + 10)
	p.falls(day0 + 20)
	created := int64(p.s.CreatedAt)
	var got []string
	q := telemetry.TimelineQuery{SensorID: p.s.ID, Limit: 2}
	for {
		page, err := d.Timeline(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			at := int64(e.At - day0)
			if int64(e.At) == created {
				at = 0
			}
			got = append(got, fmt.Sprintf("%d %s %s", at, e.What, strings.SplitN(e.Text, ";", 2)[0]))
		}
		last := page[len(page)-1]
		q.BeyondAt, q.BeyondOrder = last.At, last.Order
	}
	want := []string{"20 silent no reading for 10 minutes", "10 online ", "5 acknowledged ann", "0 silent no reading for 10 minutes"}
	if i := slices.Index(got, "0 created "); i < 0 { // today, and so before or after the rest as the calendar has it
		t.Errorf("got %q, want its creation", got)
	} else {
		got = slices.Delete(got, i, i+1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	q = telemetry.TimelineQuery{SensorID: p.s.ID, From: day0 + 5, To: day0 + 20, Limit: 50}
	if page, err := d.Timeline(t.Context(), q); err != nil || len(page) != 2 {
		t.Errorf("from acknowledgement until it fell again: got %+v, %v", page, err)
	}
}

func TestForgetAlerts_KeepsWhatIsOpen(t *testing.T) {
	d := openNew(t)
	p := patients(t, d, 1)[0]
	p.falls(day0)
	p.returns(day0 + 10)
	p.falls(day0.Add(2 * time.Hour))
	if done, err := d.forgetAlerts(t.Context(), 100); err != nil || done != 1 { // day0 is long ago
		t.Errorf("got %d, %v; want 1", done, err)
	}
	if all := p.alerts(""); len(all) != 1 || all[0].State() != telemetry.AlertOpen {
		t.Errorf("got %+v, want the open one", all)
	}
}
