package alert

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"sensorcast/alert/rule"
	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Load learns of all rules, whom they judge and what they have found. It is called once, after the Watch's; what is in the log behind that is judged
// when Run begins.
func (r *Rules) Load(ctx context.Context) error {
	all, err := r.book.RulesOf(ctx, nil)
	if err != nil {
		return fmt.Errorf("load rules: %w", err)
	}
	orders := make(map[int64]struct{}, len(all))
	for i := range all {
		orders[all[i].Order] = struct{}{}
	}
	if err := r.coverAll(ctx, stale{rules: orders}); err != nil {
		return fmt.Errorf("load rules: %w", err)
	}
	holds, judgedTo, err := r.book.RuleHolds(ctx)
	if err != nil {
		return fmt.Errorf("load rules: %w", err)
	}
	for _, h := range holds {
		j := r.judgeOf(h.RulePair)
		if j == nil {
			continue // withdrawn by the first turn
		}
		s := standing{judge: j, State: rule.State{Phase: rule.Firing}}
		if h.Since != 0 {
			s.State = rule.State{Phase: rule.Waiting, Since: h.Since, Value: h.Value}
			s.began = r.watch.moment(h.Since)
			r.expect(s.began)
		}
		r.pairs[h.RulePair] = s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cursor = max(judgedTo, r.book.LastSeq()-maxCatchUp)
	r.kept = judgedTo
	r.stale.sensors[0] = struct{}{} // nobody: the incidents nobody stands behind any more are looked for all the same
	for id := range r.ruled {
		r.dirty[id] = 0
	}
	return nil
}

// judgeOf finds the rule of a pair, if it judges the sensor.
func (r *Rules) judgeOf(p telemetry.RulePair) *judge {
	for _, j := range r.ruled[p.Sensor] {
		if j.Order == p.Rule {
			return j
		}
	}
	return nil
}

// AuthorityChanged implements auth.Watcher: another owner, manager or tag may be another rule.
func (r *Rules) AuthorityChanged(c auth.Change) {
	switch c.Kind {
	case auth.SensorAdded, auth.SensorChanged, auth.SensorRemoved, auth.ShareAdded, auth.ShareRemoved:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stale.sensors[c.SensorID] = struct{}{}
	}
}

// outdated has a rule that is new, changed or gone looked at, and waits for it, so that the next reading is judged by what was answered. It does
// not wait for long: the rule is stored, and looked at as soon as the store can be asked again.
func (r *Rules) outdated(ctx context.Context, order int64) {
	r.mu.Lock()
	r.stale.rules[order] = struct{}{}
	seen := r.seen
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	patience := time.NewTimer(lookWithin)
	defer patience.Stop()
	select {
	case <-seen:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// lookWithin is how long an answer waits for a rule to be at work.
const lookWithin = 2 * time.Second

// refresh brings up to date who is judged by what, and withdraws the incidents that nobody stands behind any more.
func (r *Rules) refresh(ctx context.Context) (err error) {
	r.mu.Lock()
	old := r.stale
	if len(old.rules)+len(old.sensors) == 0 {
		r.mu.Unlock()
		return nil
	}
	r.stale = stale{map[int64]struct{}{}, map[int64]struct{}{}}
	seen := r.seen
	r.seen = make(chan struct{})
	r.mu.Unlock()
	defer func() {
		if err == nil {
			close(seen)
		} else {
			r.mu.Lock()
			defer r.mu.Unlock()
			maps.Copy(r.stale.rules, old.rules)
			maps.Copy(r.stale.sensors, old.sensors)
		}
	}()
	if err = r.coverAll(ctx, old); err != nil {
		return err
	}
	return r.withdraw(ctx)
}

func (r *Rules) withdraw(ctx context.Context) error {
	withdrawn := false
	for more := true; more; {
		err := r.watch.incidents.change(ctx, func() (steps []telemetry.Alert, err error) {
			steps, more, err = r.book.Withdraw(ctx, r.watch.clock.Wall(), r.watch.incidents.etiquette)
			withdrawn = withdrawn || len(steps) > 0
			return steps, err
		})
		if err != nil {
			return err
		}
	}
	if !withdrawn {
		return nil
	}
	// A sensor may have lost a tag and have it back since it was looked at: what fires here must be open there.
	holds, _, err := r.book.RuleHolds(ctx)
	if err != nil {
		return err
	}
	open := make(map[telemetry.RulePair]bool, len(holds))
	for _, h := range holds {
		open[h.RulePair] = open[h.RulePair] || h.Since == 0
	}
	maps.DeleteFunc(r.pairs, func(p telemetry.RulePair, s standing) bool { return s.Phase == rule.Firing && !open[p] })
	return nil
}

// coverAll asks the store anew whom rules judge and by what sensors are judged, some at a time: what one query reads is bounded.
func (r *Rules) coverAll(ctx context.Context, s stale) error {
	for some := range slices.Chunk(slices.Sorted(maps.Keys(s.rules)), coverAtOnce) {
		if err := r.coverRules(ctx, some); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(s.sensors)), staleAtOnce) {
		if err := r.coverSensors(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rules) coverRules(ctx context.Context, orders []int64) error {
	covers, err := r.book.Coverage(ctx, orders, nil)
	if err != nil {
		return err
	}
	asked := func(j *judge) bool { return slices.Contains(orders, j.Order) }
	lists := map[int64][]*judge{} // of the sensors that are concerned
	if slices.ContainsFunc(orders, func(order int64) bool { return r.rules[order] != nil }) {
		for id, list := range r.ruled {
			if slices.ContainsFunc(list, asked) {
				lists[id] = slices.DeleteFunc(slices.Clone(list), asked)
			}
		}
	}
	if err := r.learn(ctx, orders); err != nil {
		return err
	}
	r.extend(lists, covers)
	return nil
}

func (r *Rules) coverSensors(ctx context.Context, sensors []int64) error {
	covers, err := r.book.Coverage(ctx, nil, sensors)
	if err != nil {
		return err
	}
	lists := map[int64][]*judge{}
	orders := map[int64]struct{}{} // of rules not known yet, and of those that may have gone with their sensor or maker
	for _, id := range sensors {
		lists[id] = []*judge{}
		for _, j := range r.ruled[id] {
			orders[j.Order] = struct{}{}
		}
	}
	for _, c := range covers {
		if r.rules[c.Rule] == nil {
			orders[c.Rule] = struct{}{}
		}
	}
	if len(orders) > 0 {
		if err := r.learn(ctx, slices.Collect(maps.Keys(orders))); err != nil {
			return err
		}
	}
	r.extend(lists, covers)
	return nil
}

// extend adds to the lists what covers them, and has sensors judged by them.
func (r *Rules) extend(lists map[int64][]*judge, covers []telemetry.RuleCover) {
	for _, c := range covers {
		list, begun := lists[c.Sensor]
		if !begun {
			list = slices.Clone(r.ruled[c.Sensor])
		}
		if j := r.rules[c.Rule]; j != nil { // it is not, where it was deleted in between
			list = append(list, j)
		}
		lists[c.Sensor] = list
	}
	r.replace(lists)
}

// learn reads rules anew. What has begun to hold by one that watches for something else now is forgotten. Judges stay in their place.
func (r *Rules) learn(ctx context.Context, orders []int64) error {
	found, err := r.book.RulesOf(ctx, orders)
	if err != nil {
		return err
	}
	missing := map[int64]bool{}
	for _, order := range orders {
		missing[order] = true
	}
	changed := map[int64]bool{}
	for i := range found {
		condition, err := rule.Compile(&found[i])
		if err != nil { // by an older version it could be made
			r.log.Warn("rule cannot be applied", "rule", found[i].ID, "err", err)
			continue
		}
		delete(missing, found[i].Order)
		j := r.rules[found[i].Order]
		if j == nil {
			j = new(judge)
			r.rules[found[i].Order] = j
		} else if j.Revision != found[i].Revision {
			changed[j.Order] = true
		}
		j.Rule, j.Condition = found[i], condition
	}
	for order := range missing {
		delete(r.rules, order)
	}
	maps.DeleteFunc(r.pairs, func(p telemetry.RulePair, _ standing) bool { return changed[p.Rule] })
	return nil
}

// replace sets by what sensors are judged. Sensors of the same rules, such as all with a tag, share one list.
func (r *Rules) replace(lists map[int64][]*judge) {
	shared := map[string][]*judge{}
	for id, list := range lists {
		slices.SortFunc(list, func(a, b *judge) int { return int(a.Order - b.Order) })
		list = slices.Compact(list)
		if len(list) > maxSensorRules {
			r.log.Warn("sensor has too many rules, the newest are not applied", "sensor", id, "rules", len(list))
			list = list[:maxSensorRules]
		}
		var key []byte
		for _, j := range list {
			key = binary.AppendVarint(key, j.Order)
		}
		if same, ok := shared[string(key)]; ok {
			list = same
		}
		shared[string(key)] = list
		lists[id] = list
	}
	r.mu.Lock()
	for id, list := range lists {
		if len(list) == 0 {
			delete(r.ruled, id)
			delete(r.dirty, id)
			delete(r.latest, id)
			continue
		}
		r.ruled[id] = list
	}
	r.counters.sensors.Store(int64(len(r.ruled)))
	r.mu.Unlock()
	r.counters.rules.Store(int64(len(r.rules)))
	maps.DeleteFunc(r.pairs, func(p telemetry.RulePair, _ standing) bool {
		_, concerned := lists[p.Sensor]
		return concerned && r.judgeOf(p) == nil
	})
}
