package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"time"

	"sensorcast/telemetry"
)

// Debt is what somebody owes a throttle, as it outlives the process.
type Debt struct {
	Kind   string // of throttle
	Debtor string // 16 bytes: a keyed hash of a login, address or account, for people type passwords where a login belongs
	PaidAt telemetry.Millis
}

// Ledger keeps debts. Its methods are safe for concurrent use.
type Ledger interface {
	// SaveDebts writes these in place of what it has by their kind and debtor, and may forget all that are paid at now.
	SaveDebts(ctx context.Context, debts []Debt, now telemetry.Millis) error
	// Debts returns those not paid at now: at most limit of them, those paid last, in the order in which they will be.
	Debts(ctx context.Context, now telemetry.Millis, limit int) ([]Debt, error)
}

const (
	saveDebtsEvery = 2 * time.Second // what a crash forgives
	maxDebtsSaved  = 1000            // of a kind at once: some milliseconds of the store's time. argon2 takes far longer for as many failures
	lastSave       = 2 * time.Second // at most, for the save when the service stops
)

// kept are the throttles whose debts outlive the process.
func (s *Service) kept() map[string]*throttle {
	return map[string]*throttle{
		"login": s.limits.names, "address": s.limits.addresses, "code": s.limits.codes, "registration": s.limits.registrations,
	}
}

// debtor is the key by which throttles know a name or address.
func (s *Service) debtor(name string) string {
	mac := hmac.New(sha256.New, s.keys.debtor)
	mac.Write([]byte(name))
	return string(mac.Sum(nil)[:16])
}

// RecallDebts takes up what failed logins and registrations owed when the last process ended, so that a restart forgives nobody. It is called once, before
// anybody can log in, and KeepDebts afterwards.
func (s *Service) RecallDebts(ctx context.Context, l Ledger) error {
	debts, err := l.Debts(ctx, telemetry.Now(), maxThrottled)
	if err != nil {
		return fmt.Errorf("recall login throttles: %w", err)
	}
	kept := s.kept()
	for _, t := range kept {
		t.keep()
	}
	for _, d := range debts {
		kept[d.Kind].restore(d.Debtor, time.UnixMilli(int64(d.PaidAt)), s.clock.now())
	}
	return nil
}

// KeepDebts writes down what RecallDebts takes up, some seconds late at most, until ctx ends and once more then.
func (s *Service) KeepDebts(ctx context.Context, l Ledger) {
	tick := time.NewTicker(saveDebtsEvery)
	defer tick.Stop()
	for failing := false; ; {
		select {
		case <-tick.C:
			err := s.saveDebts(ctx, l)
			if err != nil && !failing && ctx.Err() == nil {
				s.log.Warn("login throttles not saved, will be tried again", "err", err)
			}
			failing = err != nil
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
			defer cancel()
			if err := s.saveDebts(ctx, l); err != nil {
				s.log.Warn("login throttles not saved", "err", err)
			}
			return
		}
	}
}

// saveDebts writes what changed since it last did, if anything.
func (s *Service) saveDebts(ctx context.Context, l Ledger) error {
	var debts []Debt
	for kind, t := range s.kept() {
		for _, d := range t.changes(maxDebtsSaved) {
			debts = append(debts, Debt{Kind: kind, Debtor: d.key, PaidAt: telemetry.MillisOf(d.paid)})
		}
	}
	if len(debts) == 0 {
		return nil
	}
	err := l.SaveDebts(ctx, debts, telemetry.Now())
	if err != nil {
		for _, d := range debts {
			s.kept()[d.Kind].note(d.Debtor)
		}
	}
	return err
}

// keep has the throttle remember whose debts change.
func (t *throttle) keep() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = make(map[string]struct{})
}

// restore makes key owe until paid, but never more than who has just reached the limit does: the clock may have been set back, or the limit raised.
func (t *throttle) restore(key string, paid, now time.Time) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if most := now.Add(t.grace + t.cost); paid.After(most) {
		paid = most
	}
	t.debts[key] = t.order.PushFront(&debt{key: key, paid: paid})
}

// changes returns the debts, at most n, that changed since it last returned them. One that was forgiven or forgotten is paid in 1970.
func (t *throttle) changes(n int) (changed []debt) {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.changed {
		if len(changed) == n {
			break
		}
		delete(t.changed, key)
		d := debt{key: key, paid: time.UnixMilli(0)}
		if e, ok := t.debts[key]; ok {
			d = *e.Value.(*debt)
		}
		changed = append(changed, d)
	}
	return changed
}

// note has changes return key once more.
func (t *throttle) note(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(key)
}

func (t *throttle) noteLocked(key string) {
	if t.changed != nil && len(t.changed) < maxThrottled {
		t.changed[key] = struct{}{}
	}
}
