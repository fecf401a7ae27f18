package alert

import (
	"context"
	"fmt"

	"sensorcast/alert/rule"
	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Create makes a rule of p's and fills in what is not p's to say. A sensor it names must be p's to manage, since others see its incidents and its
// owner is told of them: telemetry.ErrNotFound, telemetry.ErrForbidden. telemetry.ErrInvalid names the field, telemetry.ErrConflict: there are
// 200 already. It judges from the next reading on.
func (r *Rules) Create(ctx context.Context, p auth.Principal, draft *telemetry.Rule) error {
	draft.UserID = p.UserID
	if _, err := r.check(p, draft); err != nil {
		return err
	}
	if err := r.book.CreateRule(ctx, draft, maxRules); err != nil {
		return err
	}
	r.outdated(ctx, draft.Order)
	return nil
}

// Change changes a rule of p's; change sets SensorID to zero when it names a sensor, or none. When it watches for something else then, or is turned on or off, it begins anew and its open incidents are
// resolved. telemetry.ErrNotFound, and errors as from Create.
func (r *Rules) Change(ctx context.Context, p auth.Principal, id string, change func(*telemetry.Rule)) (telemetry.Rule, error) {
	changed, err := r.book.ChangeRule(ctx, p.UserID, id, func(now *telemetry.Rule) error {
		before := *now
		change(now)
		if _, err := r.check(p, now); err != nil {
			return err
		}
		if !sameWatch(&before, now) {
			now.Revision++
		}
		return nil
	})
	if err != nil {
		return telemetry.Rule{}, err
	}
	r.outdated(ctx, changed.Order)
	return changed, nil
}

func sameWatch(a, b *telemetry.Rule) bool {
	same := func(a, b *float64) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
	return a.SensorID == b.SensorID && a.Tag == b.Tag && a.Metric == b.Metric && a.Op == b.Op && same(a.Value, b.Value) && same(a.Clear, b.Clear) &&
		a.Expression == b.Expression && a.For == b.For && a.Enabled == b.Enabled
}

// Delete deletes a rule of p's. Its open incidents are resolved within a second. telemetry.ErrNotFound.
func (r *Rules) Delete(ctx context.Context, p auth.Principal, id string) error {
	order, err := r.book.DeleteRule(ctx, p.UserID, id)
	if err != nil {
		return err
	}
	r.outdated(ctx, order)
	return nil
}

// Show returns a rule of p's; telemetry.ErrNotFound.
func (r *Rules) Show(ctx context.Context, p auth.Principal, id string) (telemetry.Rule, error) {
	return r.book.Rule(ctx, p.UserID, id)
}

// List returns a page of p's rules, oldest first; UserID is filled in here.
func (r *Rules) List(ctx context.Context, p auth.Principal, q telemetry.RuleQuery) ([]telemetry.Rule, error) {
	q.UserID = p.UserID
	return r.book.Rules(ctx, q)
}

// maxTag is more than the characters of any tag.
const maxTag = 100

// check finds the sensor a rule names and looks whether the rule makes sense. One that has a SensorID already was p's to name when it was named.
func (r *Rules) check(p auth.Principal, draft *telemetry.Rule) (*rule.Condition, error) {
	if draft.Serial != "" && draft.SensorID == 0 {
		dev, err := r.watch.incidents.sensorFor(p, auth.Manage, draft.Serial)
		if err != nil {
			return nil, err
		}
		draft.SensorID = dev.SensorID
	}
	switch named := draft.SensorID != 0; {
	case named && draft.Tag != "":
		return nil, telemetry.Invalid("tag", "does not go with a serial_no")
	case !named && draft.Tag == "":
		return nil, telemetry.Invalid("serial_no", "or a tag is needed")
	}
	if draft.Tag != "" {
		if err := telemetry.CheckText("tag", draft.Tag, maxTag, false); err != nil {
			return nil, err
		}
	}
	condition, err := rule.Compile(draft)
	if err != nil {
		return nil, fmt.Errorf("rule: %w", err)
	}
	return condition, nil
}
