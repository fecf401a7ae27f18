package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

func covered(t *testing.T, d *DB, rules, sensors []int64) (pairs []telemetry.RulePair) {
	t.Helper()
	found, err := d.Coverage(t.Context(), rules, sensors)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found {
		pairs = append(pairs, c.RulePair)
	}
	slices.SortFunc(pairs, func(a, b telemetry.RulePair) int { return int(a.Rule - b.Rule) })
	return pairs
}

func tagged(tag string, by int64) *telemetry.Rule {
	return &telemetry.Rule{UserID: by, Name: "x", Tag: tag, Expression: "true", Severity: telemetry.SeverityInfo, Enabled: true}
}

func TestRules_CoverWhatTheirMakerOwnsOrManages(t *testing.T) {
	d := openNew(t)
	ann, bob := newUser(t, d, "ann"), newUser(t, d, "bob")
	a, b := newSensor(t, d, ann.ID, "A"), newSensor(t, d, bob.ID, "B")
	for _, s := range []telemetry.Sensor{a, b} {
		s.Tags = []string{"attic"}
		if err := d.UpdateSensor(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	byTag, one, off := tagged("attic", ann.ID), tagged("", ann.ID), tagged("attic", ann.ID)
	one.SensorID, off.Enabled = a.ID, false
	for _, r := range []*telemetry.Rule{byTag, one, off} {
		if err := d.CreateRule(t.Context(), r, 200); err != nil {
			t.Fatal(err)
		}
	}
	mine := []telemetry.RulePair{{Rule: byTag.Order, Sensor: a.ID}, {Rule: one.Order, Sensor: a.ID}}
	if got := covered(t, d, nil, nil); !slices.Equal(got, mine) {
		t.Errorf("got %v, want %v", got, mine)
	}
	for _, c := range []struct {
		access auth.Access
		more   bool
	}{{auth.ViewerAccess, false}, {auth.ManagerAccess, true}} {
		if _, err := d.Share(t.Context(), b.ID, "ann", c.access); err != nil {
			t.Fatal(err)
		}
		if got := covered(t, d, []int64{byTag.Order}, []int64{b.ID}); (len(got) == 1) != c.more {
			t.Errorf("%v: got %v", c.access, got)
		}
	}
	if got := covered(t, d, []int64{one.Order}, nil); len(got) != 1 || got[0].Sensor != a.ID {
		t.Errorf("got %v, want the one", got)
	}
	if err := d.CreateRule(t.Context(), tagged("x", ann.ID), 3); !errors.Is(err, telemetry.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	if err := d.DeleteSensor(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Rule(t.Context(), ann.ID, one.ID); !errors.Is(err, telemetry.ErrNotFound) {
		t.Errorf("got %v, want the rule gone with its sensor", err)
	}
}

func TestJudge_LeavesOutWhatIsNotSoAnyMore(t *testing.T) {
	d := openNew(t)
	ann := newUser(t, d, "ann")
	s := newSensor(t, d, ann.ID, "A")
	r := tagged("", ann.ID)
	r.SensorID = s.ID
	if err := d.CreateRule(t.Context(), r, 200); err != nil {
		t.Fatal(err)
	}
	pair := telemetry.RulePair{Rule: r.Order, Sensor: s.ID}
	judge := func(j telemetry.RuleJudgement) int {
		t.Helper()
		steps, err := d.Judge(t.Context(), j, day0, etiquette)
		if err != nil {
			t.Fatal(err)
		}
		return len(steps)
	}
	opens := func(p telemetry.RulePair, revision int64) telemetry.RuleJudgement {
		return telemetry.RuleJudgement{Through: 7, Steps: []telemetry.RuleStep{{RulePair: p, Revision: revision, Opens: true, At: day0, Severity: "info", Message: "x"}}}
	}
	for _, j := range []telemetry.RuleJudgement{
		opens(pair, 2), opens(telemetry.RulePair{Rule: 99, Sensor: s.ID}, 1), opens(telemetry.RulePair{Rule: r.Order, Sensor: 99}, 1),
		{Through: 5, Waiting: []telemetry.RuleHold{{RulePair: pair, Revision: 2, Since: day0}}},
	} {
		if n := judge(j); n != 0 {
			t.Errorf("%+v: got %d steps, want none", j, n)
		}
	}
	judge(telemetry.RuleJudgement{Through: 8, Waiting: []telemetry.RuleHold{{RulePair: pair, Revision: 1, Since: day0, Value: 3}}})
	holds, to, err := d.RuleHolds(t.Context())
	if err != nil || to != 8 || len(holds) != 1 || holds[0] != (telemetry.RuleHold{RulePair: pair, Since: day0, Value: 3}) {
		t.Errorf("got %+v up to %d, %v, want one that waits, up to 8", holds, to, err)
	}
	j := opens(pair, 1)
	j.Over = []telemetry.RulePair{pair}
	if n := judge(j); n != 1 {
		t.Errorf("got %d steps, want one", n)
	}
	if holds, _, _ := d.RuleHolds(t.Context()); len(holds) != 1 || holds[0].Since != 0 {
		t.Errorf("got %+v, want the incident", holds)
	}
	if steps, more, err := d.Withdraw(t.Context(), day0.Add(time.Minute), etiquette); err != nil || more || len(steps) != 0 {
		t.Errorf("got %+v, %v, %v, want nothing withdrawn", steps, more, err)
	}
	if _, err := d.DeleteRule(t.Context(), ann.ID, r.ID); err != nil {
		t.Fatal(err)
	}
	steps, _, err := d.Withdraw(t.Context(), day0.Add(time.Minute), etiquette)
	if err != nil || len(steps) != 1 || steps[0].Message != "x; the rule was deleted" || steps[0].ResolvedAt != day0.Add(time.Minute) {
		t.Errorf("got %+v, %v, want it resolved with the reason", steps, err)
	}
}
