package alert

import (
	"context"
	"errors"
	"slices"
	"sort"

	"sensorcast/alert/rule"
	"sensorcast/telemetry"
)

// lateAsked is how many of a sensor's newest readings are looked through for the newest that is judged.
const lateAsked = 100

// readLog judges what is stored of the sensors that have sent something.
func (r *Rules) readLog(ctx context.Context) error {
	end := r.book.LastSeq() // asked first: whose readings are stored up to here has been observed before
	r.mu.Lock()
	sensors := make([]int64, 0, len(r.dirty))
	for id := range r.dirty {
		sensors = append(sensors, id)
	}
	r.cursor = max(r.cursor, r.from)
	r.mu.Unlock()
	if len(sensors) == 0 {
		return nil
	}
	slices.Sort(sensors)
	for {
		readings, through, err := r.book.ReadingsAfter(ctx, sensors, r.cursor)
		if err != nil && !errors.Is(err, telemetry.ErrNotFound) { // what is deleted for its age is nobody's concern any more
			return err
		}
		if through > end {
			through = end
			readings = readings[:sort.Search(len(readings), func(i int) bool { return readings[i].Seq > end })]
		}
		if through <= r.cursor {
			break
		}
		if err := r.judgePage(ctx, readings, through); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, seq := range r.dirty {
		if seq <= r.cursor {
			delete(r.dirty, id)
		}
	}
	return nil
}

// judgePage judges a page of the log, or as much of it as opens and ends not too many incidents at once. Memory follows the store.
func (r *Rules) judgePage(ctx context.Context, page []telemetry.Reading, through int64) error {
	d := draft{rules: r, pairs: map[telemetry.RulePair]standing{}}
	heard := map[int64]telemetry.Millis{}
	for i := range page {
		reading := &page[i]
		if len(d.steps) >= stepsAtOnce {
			through = reading.Seq - 1
			break
		}
		newest, known := heard[reading.SensorID]
		if !known {
			var err error
			if newest, err = r.newest(ctx, reading.SensorID); err != nil {
				return err
			}
		}
		if heard[reading.SensorID] = max(newest, reading.Time); reading.Time < newest {
			r.counters.late.Add(1)
			continue
		}
		d.judge(reading, r.ruled[reading.SensorID])
	}
	if err := d.keep(ctx, through); err != nil {
		return err
	}
	for id, newest := range heard {
		r.latest[id] = newest
	}
	r.cursor = through
	return nil
}

// newest is the newest Time of a sensor's readings up to the cursor. The store is asked for it once.
func (r *Rules) newest(ctx context.Context, sensor int64) (telemetry.Millis, error) {
	if t, known := r.latest[sensor]; known {
		return t, nil
	}
	found, err := r.book.Readings(ctx, telemetry.ReadingQuery{SensorID: sensor, Limit: lateAsked})
	if err != nil {
		return 0, err
	}
	for i := range found {
		if found[i].Seq <= r.cursor {
			return found[i].Time, nil
		}
	}
	return 0, nil
}

// fireDue opens the incidents of rules that have held for long enough, though nothing more has come. Whoever has sent something that is not
// judged yet waits: it may say that all is well.
func (r *Rules) fireDue(ctx context.Context) error {
	now := r.watch.present()
	for more := true; more && r.soonest != 0 && r.soonest <= now; {
		d := draft{rules: r, pairs: map[telemetry.RulePair]standing{}}
		r.soonest, more = 0, false
		for pair, s := range r.pairs {
			if s.Phase != rule.Waiting {
				continue
			}
			due := r.watch.whenDue(s.began, s.judge.For)
			if due > now || r.isDirty(pair.Sensor) {
				r.expect(due)
				continue
			}
			if more = len(d.steps) >= stepsAtOnce; more {
				r.expect(due)
				break
			}
			d.fire(pair, s, r.watch.clock.Wall())
		}
		if err := d.keep(ctx, r.cursor); err != nil {
			r.soonest = now
			return err
		}
	}
	return nil
}

func (r *Rules) isDirty(sensor int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, dirty := r.dirty[sensor]
	return dirty
}

func (r *Rules) expect(due tenths) {
	if r.soonest == 0 || due < r.soonest {
		r.soonest = due
	}
}

// keepPlace moves on in the log while there is nothing to judge, and writes down how far it is, so that a start has little to look through.
func (r *Rules) keepPlace(ctx context.Context) error {
	if len(r.rules) == 0 {
		return nil
	}
	end := r.cursor
	for {
		_, through, err := r.book.ReadingsAfter(ctx, nil, end)
		if err != nil && !errors.Is(err, telemetry.ErrNotFound) {
			return err
		}
		if through <= end {
			break
		}
		end = through
	}
	r.mu.Lock()
	if len(r.dirty) == 0 { // asked after: who is in what was counted has been observed before
		r.cursor = max(r.cursor, end)
	}
	r.mu.Unlock()
	if r.cursor == r.kept {
		return nil
	}
	d := draft{rules: r, always: true}
	return d.keep(ctx, r.cursor)
}

// draft is what a stretch of the log makes of rules, before it is durable.
type draft struct {
	rules  *Rules
	pairs  map[telemetry.RulePair]standing // as they are then; calm ones included
	steps  []telemetry.RuleStep
	always bool // it is written down though there is nothing but the place
}

// judge judges one reading.
func (d *draft) judge(reading *telemetry.Reading, by []*judge) {
	c := &d.rules.counters
	c.readings.Add(1)
	sample, err := rule.Decode(reading)
	if err != nil {
		c.unusable.Add(1)
		return
	}
	arrived := tenths(0) // asked when it is needed
	for _, j := range by {
		verdict, value := j.Judge(sample)
		switch verdict {
		case rule.Silent:
			continue
		case rule.Unusable:
			c.unusable.Add(1)
			continue
		}
		pair := telemetry.RulePair{Rule: j.Order, Sensor: reading.SensorID}
		was := d.of(pair)
		if verdict != rule.Broken && was.Phase == rule.Calm {
			continue
		}
		if arrived == 0 {
			arrived = d.rules.watch.moment(reading.ReceivedAt)
		}
		if was.Phase == rule.Waiting && arrived >= d.rules.watch.whenDue(was.began, j.For) {
			was = d.fire(pair, was, min(was.Since.Add(j.For), reading.ReceivedAt))
		}
		next, step := was.After(verdict, value, reading.ReceivedAt, j.For == 0)
		if next == was.State {
			continue
		}
		is := standing{State: next, judge: j, began: was.began}
		if was.Phase == rule.Calm {
			is.began = arrived
		}
		d.pairs[pair] = is
		if step != rule.None {
			d.step(pair, j, step == rule.Opens, reading.ReceivedAt, value)
		}
	}
}

func (d *draft) of(pair telemetry.RulePair) standing {
	if s, ok := d.pairs[pair]; ok {
		return s
	}
	return d.rules.pairs[pair]
}

// fire opens the incident of a rule that has waited.
func (d *draft) fire(pair telemetry.RulePair, s standing, at telemetry.Millis) standing {
	s.State = s.Fired()
	d.pairs[pair] = s
	d.step(pair, s.judge, true, at, s.Value)
	return s
}

func (d *draft) step(pair telemetry.RulePair, j *judge, opens bool, at telemetry.Millis, value float64) {
	s := telemetry.RuleStep{RulePair: pair, Revision: j.Revision, Opens: opens, At: at}
	if opens {
		s.Severity, s.Message = j.Severity, rule.Message(&j.Rule, value)
	}
	d.steps = append(d.steps, s)
}

// keep makes the draft durable where there is anything to it, and then what is remembered.
func (d *draft) keep(ctx context.Context, through int64) error {
	j := telemetry.RuleJudgement{Through: through, Steps: d.steps}
	for pair, s := range d.pairs {
		was := d.rules.pairs[pair]
		switch {
		case s.Phase == rule.Waiting && (was.Phase != rule.Waiting || was.Since != s.Since):
			j.Waiting = append(j.Waiting, telemetry.RuleHold{RulePair: pair, Revision: s.judge.Revision, Since: s.Since, Value: s.Value})
		case s.Phase != rule.Waiting && was.Phase == rule.Waiting:
			j.Over = append(j.Over, pair)
		}
	}
	if d.always || len(j.Steps)+len(j.Waiting)+len(j.Over) > 0 {
		incidents := d.rules.watch.incidents
		err := incidents.change(ctx, func() ([]telemetry.Alert, error) {
			return d.rules.book.Judge(ctx, j, d.rules.watch.clock.Wall(), incidents.etiquette)
		})
		if err != nil {
			return err
		}
		d.rules.kept = through
	}
	for pair, s := range d.pairs {
		if s.Phase == rule.Calm {
			delete(d.rules.pairs, pair)
			continue
		}
		d.rules.pairs[pair] = s
		if s.Phase == rule.Waiting {
			d.rules.expect(d.rules.watch.whenDue(s.began, s.judge.For))
		}
	}
	return nil
}
