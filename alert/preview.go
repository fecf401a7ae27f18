package alert

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sensorcast/alert/rule"
	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Bounds of a preview.
const (
	previewSpan     = 7 * 24 * time.Hour
	previewTime     = 2 * time.Second
	previewSensors  = 1_000
	previewReadings = 200_000
	previewTimes    = 100 // told one by one; all are counted
	previewPage     = 1_000
	maxPreviews     = 2 // at once; others wait, within their time
)

// Preview tells what a rule of p's would have done in the last seven days, by the time of the readings. It takes two seconds at most and says where that was not
// enough. Errors as from Create.
func (r *Rules) Preview(ctx context.Context, p auth.Principal, draft *telemetry.Rule) (telemetry.RulePreview, error) {
	draft.UserID = p.UserID
	condition, err := r.check(p, draft)
	if err != nil {
		return telemetry.RulePreview{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, previewTime)
	defer cancel()
	select {
	case r.previews <- struct{}{}:
		defer func() { <-r.previews }()
	case <-ctx.Done():
		return telemetry.RulePreview{}, fmt.Errorf("others look at the past: %w", telemetry.ErrUnavailable)
	}
	r.counters.previews.Add(1)
	sensors := []telemetry.RuleCover{{RulePair: telemetry.RulePair{Sensor: draft.SensorID}, Serial: draft.Serial}}
	if draft.Tag != "" {
		if sensors, err = r.book.Managed(ctx, p.UserID, draft.Tag, previewSensors+1); err != nil {
			return telemetry.RulePreview{}, err
		}
	}
	now := r.watch.clock.Wall()
	s := scan{rule: draft, condition: condition, now: now, RulePreview: telemetry.RulePreview{
		From: now.Add(-previewSpan), Sensors: min(len(sensors), previewSensors), Truncated: len(sensors) > previewSensors,
	}}
	for _, sensor := range sensors[:s.Sensors] {
		if err := s.sensor(ctx, r.book, sensor); err != nil {
			return telemetry.RulePreview{}, err
		}
		if s.Truncated && (ctx.Err() != nil || s.Readings >= previewReadings) {
			break
		}
	}
	return s.RulePreview, nil
}

// scan is a look at the past.
type scan struct {
	rule      *telemetry.Rule
	condition *rule.Condition
	now       telemetry.Millis
	telemetry.RulePreview

	serial string
	state  rule.State
	firing int // index in Times; -1: not listed
}

// sensor looks at the past of one sensor. When time runs out that is no error.
func (s *scan) sensor(ctx context.Context, book Rulebook, of telemetry.RuleCover) error {
	s.serial, s.state, s.firing = of.Serial, rule.State{}, -1
	q := telemetry.ReadingQuery{SensorID: of.Sensor, From: s.From, Ascending: true, Limit: previewPage}
	for {
		page, err := book.Readings(ctx, q)
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			s.Truncated = true
			return nil
		}
		if err != nil {
			return err
		}
		for i := range page {
			if s.Readings >= previewReadings || i%100 == 0 && ctx.Err() != nil {
				s.Truncated = true
				return nil
			}
			s.read(&page[i])
		}
		if len(page) < previewPage {
			s.ripen(s.now)
			return nil
		}
		q.CursorTime, q.CursorSeq = page[len(page)-1].Time, page[len(page)-1].Seq
	}
}

func (s *scan) read(r *telemetry.Reading) {
	s.Readings++
	sample, err := rule.Decode(r)
	if err != nil {
		return
	}
	verdict, value := s.condition.Judge(sample)
	if verdict <= rule.Unusable {
		return
	}
	s.ripen(r.Time)
	next, step := s.state.After(verdict, value, r.Time, s.rule.For == 0)
	s.state = next
	switch {
	case step == rule.Opens:
		s.fire(r.Time)
	case step == rule.Ends && s.firing >= 0:
		s.Times[s.firing].To = r.Time
	}
}

// ripen fires what has held for long enough by that time.
func (s *scan) ripen(by telemetry.Millis) {
	if due := s.state.Since.Add(s.rule.For); s.state.Phase == rule.Waiting && due <= by {
		s.state = s.state.Fired()
		s.fire(due)
	}
}

func (s *scan) fire(at telemetry.Millis) {
	s.Fired++
	if s.firing = -1; len(s.Times) < previewTimes {
		s.firing = len(s.Times)
		s.Times = append(s.Times, telemetry.RuleFiring{Serial: s.serial, From: at})
	}
}
