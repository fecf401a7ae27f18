package alert

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/telemetry"
)

func number(v float64) *float64 { return &v }

// hot is a rule over S1.
func hot(long time.Duration) *telemetry.Rule {
	return &telemetry.Rule{
		Name: "Too hot", Serial: "S1", Metric: "t", Op: ">", Value: number(30), For: long, Severity: telemetry.SeverityWarning, Enabled: true,
	}
}

func (w *ward) rule(r *telemetry.Rule) *telemetry.Rule {
	w.t.Helper()
	if err := w.rules.Create(w.t.Context(), w.owner(), r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *ward) change(r *telemetry.Rule, change func(*telemetry.Rule)) {
	w.t.Helper()
	if _, err := w.rules.Change(w.t.Context(), w.owner(), r.ID, change); err != nil {
		w.t.Fatal(err)
	}
}

// measure is a reading of a sensor, observed and stored; of so long ago by the sensor's clock.
func (w *ward) measure(n int, t float64, ago ...time.Duration) {
	w.t.Helper()
	r := w.measured(n, fmt.Sprintf(`{"t":%v}`, t), ago...)
	w.Observe([]telemetry.Reading{r})
	w.rules.Observe([]telemetry.Reading{r})
	w.store(r)
}

func (w *ward) measured(n int, data string, ago ...time.Duration) telemetry.Reading {
	w.seq++
	r := w.reading(n)
	r.Data = []byte(data)
	for _, d := range ago {
		r.Time = r.Time.Add(-d)
	}
	return r
}

func (w *ward) store(r telemetry.Reading) {
	w.t.Helper()
	if err := w.db.Record(ingest.Batch{Readings: []telemetry.Reading{r}}); err != nil {
		w.t.Fatal(err)
	}
}

// tags gives a sensor tags and tells of it.
func (w *ward) tag(n int, tags ...string) {
	w.t.Helper()
	s, err := w.db.SensorBySerial(w.t.Context(), serialOf(int64(n)))
	if err != nil {
		w.t.Fatal(err)
	}
	s.Tags = tags
	if err := w.db.UpdateSensor(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	w.rules.AuthorityChanged(auth.Change{Kind: auth.SensorChanged, Serial: s.Serial, SensorID: s.ID})
	wait(time.Second)
}

// wantLast checks how the newest incident reads.
func (w *ward) wantLast(message string) {
	w.t.Helper()
	found, err := w.db.Alerts(w.t.Context(), telemetry.AlertQuery{Serials: []string{"S1", "S2"}, Limit: 1})
	if err != nil || len(found) != 1 || found[0].Message != message || found[0].Kind != telemetry.AlertThreshold {
		w.t.Errorf("got %+v, %v, want %q", found, err, message)
	}
}

func TestRule_OpensAtOnceAndEndsWhenItIsClear(t *testing.T) {
	inWard(t, 2, func(w *ward) {
		r := hot(0)
		r.Clear = number(28)
		w.rule(r)
		w.measure(1, 30)
		w.measure(2, 99) // no rule of its
		wait(time.Second)
		w.want()
		w.measure(1, 31.5)
		wait(time.Second)
		w.want("S1 open")
		w.wantLast("Too hot: t is 31.5, above 30")
		w.measure(1, 33)
		w.measure(1, 29) // between
		wait(time.Second)
		w.want()
		w.measure(1, 28)
		wait(time.Second)
		w.want("S1 resolved")
		w.wantNotices("opened S1 needs a look", "resolved S1 is well again")
	})
}

func TestRule_HoldsForItsTimeAlsoWhenNothingMoreComes(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(5 * time.Minute))
		w.measure(1, 31)
		wait(4*time.Minute + 50*time.Second)
		w.want()
		wait(12 * time.Second)
		w.want("S1 open")
		w.wantLast("Too hot: t is 31, above 30 for 5 minutes")
		wait(5 * time.Minute)
		w.want("S1 silent", "S1 open") // then silence takes over, and the rule's goes on
		w.measure(1, 20)
		wait(time.Second)
		w.forget()
		w.wantAll("S1 resolved", "S1 resolved")
	})
}

func TestRule_OneReadingInBetweenBeginsItAnew(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(2 * time.Minute))
		for range 5 {
			w.measure(1, 31)
			wait(90 * time.Second)
			w.measure(1, 30)
			wait(20 * time.Second)
		}
		w.want()
		w.measure(1, 31)
		wait(2*time.Minute + 2*time.Second)
		w.measure(1, 20)
		wait(time.Second)
		w.want("S1 open", "S1 resolved")
	})
}

func TestRule_LateReadingMovesNothing(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(0))
		w.measure(1, 20)
		w.measure(1, 99, time.Minute)
		wait(time.Second)
		w.want()
		w.measure(1, 31)
		w.measure(1, 20, time.Minute)
		wait(time.Second)
		w.want("S1 open")
		w.restart(0)
		w.measure(1, 20, time.Hour)
		wait(time.Second)
		w.want()
		w.measure(1, 20)
		wait(time.Second)
		w.want("S1 resolved")
	})
}

func TestRule_WhatCannotBeComparedChangesNothing(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(0))
		w.measure(1, 31)
		for _, data := range []string{`{}`, `{"t":null}`, `{"t":"20"}`, `{"u":20}`} {
			r := w.measured(1, data)
			w.rules.Observe([]telemetry.Reading{r})
			w.store(r)
		}
		wait(time.Second)
		w.want("S1 open")
		if s := w.rules.Stats(); s.Unusable != 1 || s.Readings != 5 {
			t.Errorf("got %+v, want 5 readings, one of them of no use", s)
		}
	})
}

func TestRule_AllReadingsThatCameTogetherAreJudged(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(0))
		together := []telemetry.Reading{w.measured(1, `{"t":31}`), w.measured(1, `{"t":20}`), w.measured(1, `{"t":32}`)}
		w.rules.Observe(together)
		for _, r := range together {
			w.store(r)
		}
		wait(time.Second)
		w.want("S1 open", "S1 resolved", "S1 open")
	})
}

func TestRule_ReadingThatIsNotStoredOpensNothing(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(0))
		lost := w.measured(1, `{"t":99}`)
		w.rules.Observe([]telemetry.Reading{lost})
		wait(time.Minute)
		w.want()
		w.wantAll()
		w.measure(1, 20)
		wait(time.Second)
		w.want()
	})
}

func TestRule_ReadingThatComesAgainIsJudgedOnce(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(0))
		first := w.measured(1, `{"t":31}`)
		first.Key = telemetry.Key{1}
		w.rules.Observe([]telemetry.Reading{first})
		w.store(first)
		w.measure(1, 20)
		again := w.measured(1, `{"t":31}`)
		again.Key = first.Key
		w.rules.Observe([]telemetry.Reading{again})
		w.store(again)
		wait(time.Second)
		w.want("S1 open", "S1 resolved")
	})
}

func TestRule_RestartForgetsNothingAndInventsNothing(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.steady = true
		w.restart(0)
		w.rule(hot(10 * time.Minute))
		readFor := func(long time.Duration, value float64) {
			for passed := time.Duration(0); passed < long; passed += time.Minute {
				w.measure(1, value)
				wait(time.Minute)
			}
		}
		readFor(9*time.Minute, 31)
		w.restart(0)
		w.want()
		readFor(2*time.Minute, 31)
		w.want("S1 open")
		w.restart(30 * time.Minute)
		wait(time.Minute)
		w.want()
		w.measure(1, 20)
		wait(time.Second)
		w.want("S1 resolved")
		readFor(5*time.Minute, 31) // and the server is away for longer than the rest
		w.restart(30 * time.Minute)
		wait(time.Second)
		w.measure(1, 20)
		wait(20 * time.Minute)
		w.measure(1, 20)
		wait(time.Second)
		w.wantAll("S1 resolved", "S1 resolved") // one of the rule and one of the silence since
	})
}

// What was stored and not judged before a stop is judged after it.
func TestRule_StopBetweenStoreAndJudgement(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(0))
		w.halt()
		w.halt = func() {}
		w.store(w.measured(1, `{"t":31}`))
		w.store(w.measured(1, `{"t":20}`))
		w.store(w.measured(1, `{"t":32}`))
		w.forget()
		w.restart(0)
		wait(time.Second)
		w.want("S1 open", "S1 resolved", "S1 open")
		w.restart(0)
		wait(time.Second)
		w.want()
	})
}

func TestRule_ClockThatIsSetMovesNoDeadline(t *testing.T) {
	for _, by := range []time.Duration{-24 * time.Hour, -time.Hour, time.Hour, 24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			inWard(t, 1, func(w *ward) {
				w.rule(hot(5 * time.Minute))
				w.measure(1, 31)
				wait(time.Minute)
				w.offset.Add(int64(by))
				wait(3*time.Minute + 50*time.Second)
				w.want()
				wait(90 * time.Second) // a grace included
				w.want("S1 open")
			})
		})
	}
}

func TestRule_ByTagFollowsTheTag(t *testing.T) {
	inWard(t, 2, func(w *ward) {
		r := hot(0)
		r.Serial, r.Tag = "", "attic"
		w.rule(r)
		w.measure(1, 31)
		wait(time.Second)
		w.want()
		w.tag(1, "attic")
		w.tag(2, "attic")
		w.measure(1, 31)
		w.measure(2, 31)
		wait(time.Second)
		w.want("S1 open", "S2 open")
		w.tag(1, "cellar")
		w.want("S1 resolved")
		w.tag(1, "attic")
		w.measure(1, 31)
		wait(time.Second)
		w.want("S1 open")
		w.restart(0, func() { w.tag(2) })
		wait(time.Second)
		w.want("S2 resolved")
		w.wantLast("Too hot: t is 31, above 30")
	})
}

func TestRule_EndsWithItsRule(t *testing.T) {
	for want, end := range map[string]func(w *ward, r *telemetry.Rule){
		"was deleted": func(w *ward, r *telemetry.Rule) {
			if err := w.rules.Delete(w.t.Context(), w.owner(), r.ID); err != nil {
				w.t.Error(err)
			}
			wait(time.Second)
		},
		"was turned off": func(w *ward, r *telemetry.Rule) { w.change(r, func(r *telemetry.Rule) { r.Enabled = false }) },
		"was changed":    func(w *ward, r *telemetry.Rule) { w.change(r, func(r *telemetry.Rule) { r.Value = number(40) }) },
	} {
		t.Run(want, func(t *testing.T) {
			inWard(t, 1, func(w *ward) {
				r := w.rule(hot(0))
				w.measure(1, 31)
				wait(time.Second)
				w.want("S1 open")
				w.change(r, func(r *telemetry.Rule) { r.Severity = telemetry.SeverityInfo }) // watches for the same
				w.want()
				end(w, r)
				w.want("S1 resolved")
				w.wantLast("Too hot: t is 31, above 30; the rule " + want)
				w.measure(1, 31)
				wait(time.Second)
				w.want()
			})
		})
	}
}

func TestRule_ChangedWhileItWaitsBeginsAnew(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		r := w.rule(hot(5 * time.Minute))
		w.measure(1, 31)
		wait(4 * time.Minute)
		w.change(r, func(r *telemetry.Rule) { r.Value = number(29) })
		wait(2 * time.Minute)
		w.restart(0)
		wait(2 * time.Minute)
		w.want()
		w.measure(1, 31)
		wait(5*time.Minute + 2*time.Second)
		w.want("S1 open")
	})
}

func TestRule_IsForWhoManagesTheSensor(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		stranger := auth.Principal{Kind: auth.Person, UserID: 99, Username: "bob"}
		if err := w.rules.Create(w.t.Context(), stranger, hot(0)); !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("got %v, want not found", err)
		}
		r := w.rule(hot(0))
		if _, err := w.rules.Show(w.t.Context(), stranger, r.ID); !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("got %v, want not found", err)
		}
		if err := w.rules.Delete(w.t.Context(), stranger, r.ID); !errors.Is(err, telemetry.ErrNotFound) {
			t.Errorf("got %v, want not found", err)
		}
	})
}

func TestRule_FlapsAsSilenceDoes(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(0))
		for range 6 {
			w.measure(1, 31)
			wait(time.Minute)
			w.measure(1, 20)
			wait(time.Minute)
		}
		w.wantAll("S1 resolved", "S1 resolved", "S1 resolved", "S1 open")
	})
}

func TestPreview_TellsWhatWouldHaveBeen(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		for range 3 {
			w.measure(1, 31)
			wait(time.Minute)
			w.measure(1, 20)
			wait(time.Minute)
		}
		w.measure(1, 35)
		wait(time.Minute)
		p, err := w.rules.Preview(w.t.Context(), w.owner(), hot(0))
		if err != nil || p.Fired != 4 || len(p.Times) != 4 || p.Times[0].To.Sub(p.Times[0].From) != time.Minute || p.Times[3].To != 0 || p.Truncated || p.Sensors != 1 {
			t.Errorf("got %+v, %v, want four, the last open", p, err)
		}
		p, err = w.rules.Preview(w.t.Context(), w.owner(), hot(2*time.Minute))
		if err != nil || p.Fired != 0 {
			t.Errorf("got %+v, %v, want none", p, err)
		}
		w.want()
	})
}

// TestRule_AtRandom holds rules against the simplest model there is, over readings, stops and time.
func TestRule_AtRandom(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			inWard(t, 1, func(w *ward) {
				w.steady = true
				w.restart(0)
				r := hot([]time.Duration{0, 3 * time.Minute}[seed%2])
				r.Clear = number(25)
				w.rule(r)
				var want []string
				firing, since := false, time.Time{}
				look := func() {
					if !firing && !since.IsZero() && time.Since(since) > r.For {
						want, firing, since = append(want, "open"), true, time.Time{}
					}
				}
				for range 120 {
					v := 20 + float64(random.IntN(15))
					w.measure(1, v)
					switch {
					case v > 30 && !firing && r.For == 0:
						want, firing = append(want, "open"), true
					case v > 30 && !firing && since.IsZero():
						since = time.Now()
					case v <= 25 && firing:
						want[len(want)-1], firing = "resolved", false
					case v <= 30:
						since = time.Time{}
					}
					wait(5 * time.Second)
					if random.IntN(10) == 0 {
						w.restart(0)
						wait(5 * time.Second)
					}
					if !since.IsZero() && random.IntN(3) == 0 {
						wait(4 * time.Minute)
					}
					look()
					var got []string
					for _, line := range w.all() {
						got = append(got, strings.TrimPrefix(line, "S1 "))
					}
					if !slices.Equal(got, want) {
						t.Fatalf("after %v: got %q, want %q", v, got, want)
					}
				}
			})
		})
	}
}

// What has been observed in time and is stored late may say that all is well.
func TestRule_WaitsForWhatIsNotStoredYet(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(time.Minute))
		w.measure(1, 31)
		wait(58 * time.Second)
		well := w.measured(1, `{"t":20}`)
		w.rules.Observe([]telemetry.Reading{well})
		wait(10 * time.Second)
		w.want()
		w.store(well)
		wait(time.Minute)
		w.want()
	})
}

// meddler is a Rulebook in which something happens just before the log is read.
type meddler struct {
	Rulebook
	before func()
}

func (m *meddler) ReadingsAfter(ctx context.Context, sensors []int64, after int64) ([]telemetry.Reading, int64, error) {
	if f := m.before; f != nil {
		m.before = nil
		f()
	}
	return m.Rulebook.ReadingsAfter(ctx, sensors, after)
}

// A sensor that is heard of while another's readings are looked for is not passed over.
func TestRule_ReadingThatComesWhileTheLogIsReadIsJudged(t *testing.T) {
	inWard(t, 2, func(w *ward) {
		r := hot(0)
		r.Serial, r.Tag = "", "attic"
		w.rule(r)
		w.tag(1, "attic")
		w.tag(2, "attic")
		w.halt()
		w.halt = func() {}
		w.rules.book = &meddler{w.db, func() { w.measure(2, 31) }}
		w.measure(1, 31)
		for range 2 {
			if err := w.rules.turn(w.t.Context(), true); err != nil {
				w.t.Fatal(err)
			}
		}
		w.want("S1 open", "S2 open")
	})
}

// What the store could not write down is neither remembered nor told, and comes when it can.
func TestRule_StoreThatFailsIsTriedAgain(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(0))
		w.halt()
		w.halt = func() {}
		broken := &breaker{Rulebook: w.db, err: telemetry.ErrUnavailable}
		w.rules.book = broken
		w.measure(1, 31)
		if err := w.rules.turn(w.t.Context(), false); !errors.Is(err, telemetry.ErrUnavailable) {
			w.t.Errorf("got %v", err)
		}
		w.want()
		broken.err = nil
		if err := w.rules.turn(w.t.Context(), false); err != nil {
			w.t.Error(err)
		}
		w.want("S1 open")
	})
}

type breaker struct {
	Rulebook
	err error
}

func (b *breaker) Judge(ctx context.Context, j telemetry.RuleJudgement, at telemetry.Millis, e telemetry.Etiquette) ([]telemetry.Alert, error) {
	if b.err != nil {
		return nil, b.err
	}
	return b.Rulebook.Judge(ctx, j, at, e)
}

func TestRules_PlaceInTheLogIsKeptWhileNothingIsJudged(t *testing.T) {
	inWard(t, 2, func(w *ward) {
		w.rule(hot(0))
		for range 100 {
			w.read(2)
		}
		wait(tendEvery * pulse * 2)
		if _, to, err := w.db.RuleHolds(w.t.Context()); err != nil || to != w.seq {
			w.t.Errorf("got %d, %v, want the end of the log, %d", to, err, w.seq)
		}
	})
}

// Who was away gives what waits as long to change as it was away, a minute at least: the next reading may have been missed.
func TestRule_WaitsOutTheGraceOfAStart(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(5 * time.Minute))
		w.measure(1, 31)
		wait(4*time.Minute + 50*time.Second)
		w.restart(0)
		wait(50 * time.Second)
		w.want()
		w.measure(1, 20)
		wait(5 * time.Minute)
		w.want()
		w.wantAll()
	})
}

func TestRule_ManyAtOnceAreManyTransactions(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.steady = true
		w.restart(0)
		w.rule(hot(0))
		w.halt()
		w.halt = func() {}
		meter := &meter{Rulebook: w.db}
		w.rules.book = meter
		for range 2 * stepsAtOnce {
			w.measure(1, 31)
			w.measure(1, 20)
		}
		if err := w.rules.turn(w.t.Context(), false); err != nil {
			w.t.Fatal(err)
		}
		if meter.most > stepsAtOnce || meter.all != 4*stepsAtOnce {
			w.t.Errorf("got %d steps, %d at once", meter.all, meter.most)
		}
	})
}

// meter counts steps.
type meter struct {
	Rulebook
	all, most int
}

func (m *meter) Judge(ctx context.Context, j telemetry.RuleJudgement, at telemetry.Millis, e telemetry.Etiquette) ([]telemetry.Alert, error) {
	m.all, m.most = m.all+len(j.Steps), max(m.most, len(j.Steps))
	return m.Rulebook.Judge(ctx, j, at, e)
}

func TestRules_GoWithTheirSensor(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		w.rule(hot(0))
		w.measure(1, 31)
		wait(time.Second)
		if s := w.rules.Stats(); s.RulesNow != 1 || s.SensorsNow != 1 || s.HoldingNow != 1 {
			w.t.Errorf("got %+v, want one of each", s)
		}
		if err := w.db.DeleteSensor(w.t.Context(), 1); err != nil {
			w.t.Fatal(err)
		}
		for _, to := range []auth.Watcher{w.Watch, w.rules} {
			to.AuthorityChanged(auth.Change{Kind: auth.SensorRemoved, Serial: "S1", SensorID: 1})
		}
		wait(time.Second)
		if s := w.rules.Stats(); s.RulesNow != 0 || s.SensorsNow != 0 || s.HoldingNow != 0 {
			w.t.Errorf("got %+v, want nothing left", s)
		}
	})
}

// idler is a Rulebook that takes its time to say which rules there are.
type idler struct{ Rulebook }

func (i idler) RulesOf(ctx context.Context, orders []int64) ([]telemetry.Rule, error) {
	time.Sleep(time.Second)
	return i.Rulebook.RulesOf(ctx, orders)
}

// What is sent behind the answer to a new rule is judged by it.
func TestRule_IsAtWorkWhenItIsAnswered(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		wait(time.Second)
		w.rules.book = idler{w.db}
		w.rule(hot(0))
		w.measure(1, 31)
		wait(time.Second)
		w.want("S1 open")
	})
}
