package alert

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"sensorcast/telemetry"
)

func TestIncident_OpensWithTheSilenceAndEndsWithIt(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		wait(10*time.Minute + time.Second)
		w.want("S1 silent", "S1 open")
		wait(time.Hour)
		w.want()
		w.read(1)
		w.want("S1 online") // at once
		wait(time.Second)
		w.want("S1 resolved")
		w.wantAll("S1 resolved")
	})
}

// A reading of a sensor that is online writes nothing about incidents and waits for nothing.
func TestIncident_NothingHappensWhileAllIsWell(t *testing.T) {
	inWard(t, 3, func(w *ward) {
		w.readEvery(time.Minute, 2*time.Hour, 1, 2, 3)
		w.want()
		w.wantAll()
	})
}

func TestIncident_ReadingThatIsNotStoredEndsNothing(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		wait(11 * time.Minute)
		w.forget()
		w.show(1)
		w.want("S1 online")
		wait(9 * time.Minute)
		w.want()
		w.wantAll("S1 open")
		wait(2 * time.Minute) // the store has never heard of it
		w.want("S1 silent")
		w.wantAll("S1 open")
		w.read(1)
		wait(time.Second)
		w.want("S1 online", "S1 resolved")
	})
}

func TestIncident_ReadingThatIsStoredLateEndsItThen(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		wait(11 * time.Minute)
		w.forget()
		w.show(1)
		wait(5 * time.Second)
		w.keep(1)
		w.want("S1 online")
		wait(time.Second)
		w.want("S1 resolved")
	})
}

func TestIncident_RestartAroundTheDeadline(t *testing.T) {
	for _, age := range []time.Duration{9*time.Minute + 59*time.Second, 10 * time.Minute, 10*time.Minute + time.Second} {
		t.Run(age.String(), func(t *testing.T) {
			inWard(t, 2, func(w *ward) {
				wait(age - time.Second)
				w.restart(0)
				wait(30 * time.Second)
				w.read(2) // finds its way back to us, if we had not found it silent before
				wait(5 * time.Minute)
				late := age > 10*time.Minute
				if late {
					w.wantAll("S1 open", "S2 resolved")
				} else {
					w.wantAll("S1 open")
				}
			})
		})
	}
}

func TestIncident_OutageOfOursOpensNothing(t *testing.T) {
	inWard(t, 3, func(w *ward) {
		w.restart(30 * time.Minute)
		w.readEvery(5*time.Minute, 40*time.Minute, 1, 2)
		w.wantAll("S3 open") // which is dead
	})
}

func TestIncident_SurvivesRestartsAsOne(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		wait(11 * time.Minute)
		w.forget()
		for range 5 {
			w.restart(7 * time.Minute)
			wait(25 * time.Minute)
		}
		w.want()
		w.wantAll("S1 open")
		w.read(1)
		wait(time.Second)
		w.wantAll("S1 resolved")
	})
}

// The server fell after the reading was stored and before the incident was resolved: the start makes up for it.
func TestIncident_ReturnForgottenByACrashIsMadeUpFor(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		wait(11 * time.Minute)
		w.forget()
		w.restart(time.Minute, func() { w.keep(1) })
		wait(time.Second)
		w.want("S1 resolved")
	})
}

func TestIncident_ClockJumpsInventNothingAndMissNothing(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			inWard(t, 2, func(w *ward) {
				w.readEvery(time.Minute, 20*time.Minute, 1, 2)
				w.offset.Add(int64(jump))
				w.readEvery(time.Minute, 20*time.Minute, 1, 2)
				w.wantAll()
				w.readEvery(time.Minute, 25*time.Minute, 1)
				w.wantAll("S2 open")
				w.offset.Add(int64(-jump))
				w.read(2)
				wait(2 * time.Second)
				w.wantAll("S2 resolved")
			})
		})
	}
}

func TestIncident_AcknowledgedIsToldInOrder(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		wait(11 * time.Minute)
		id := w.alerts[0].ID
		w.forget()
		ann := w.owner()
		if a, err := w.Incidents().Acknowledge(w.t.Context(), ann, id); err != nil || a.AcknowledgedBy != "owner" {
			t.Errorf("got %+v, %v", a, err)
		}
		w.read(1)
		wait(time.Second)
		w.want("S1 acknowledged", "S1 online", "S1 resolved")
	})
}

func TestIncident_ManyAtOnceAreOneDigest(t *testing.T) {
	inWard(t, 20, func(w *ward) {
		wait(11 * time.Minute)
		if got := len(w.all()); got != 20 {
			t.Errorf("got %d incidents, want one each", got)
		}
		wait(20 * time.Second)
		w.wantNotices("digest 20 of your 20 sensors need a look")
		wait(time.Hour)
		w.wantNotices("digest 20 of your 20 sensors need a look", "digest 20 of your 20 sensors still need a look")
	})
}

func TestIncident_FlappingIsToldOnceAndEndsByItself(t *testing.T) {
	inWard(t, 1, func(w *ward) {
		for range 12 {
			wait(10*time.Minute + 2*time.Second)
			w.read(1)
		}
		wait(time.Second)
		w.wantAll("S1 resolved", "S1 resolved", "S1 resolved", "S1 open")
		w.readEvery(time.Minute, 62*time.Minute, 1)
		w.wantAll("S1 resolved", "S1 resolved", "S1 resolved", "S1 resolved")
		w.wantNotices("opened S1 is silent", "resolved S1 is back", "opened S1 is silent", "resolved S1 is back", "opened S1 is silent", "resolved S1 is back",
			"opened S1 keeps falling silent", "resolved S1 is back")
	})
}

func TestIncident_SaysWhy(t *testing.T) {
	inWard(t, 2, func(w *ward) {
		w.mu.Lock()
		w.door["S1"] = telemetry.Standing{Departure: telemetry.Departure{At: telemetry.Now(), Cause: telemetry.CauseKeepAlive}}
		w.mu.Unlock()
		at := telemetry.Now().Time().Format("15:04 UTC")
		wait(11 * time.Minute)
		for _, a := range w.alerts {
			want := map[string]string{
				"S1": "keep_alive no reading for 10 minutes; its connection was lost (keep-alive) at " + at,
				"S2": "unknown no reading for 10 minutes",
			}[a.Serial]
			if got := string(a.Cause) + " " + a.Message; got != want {
				t.Errorf("%s: got %q, want %q", a.Serial, got, want)
			}
		}
	})
}

func TestCause_IsWhatCameLast(t *testing.T) {
	noon := telemetry.MillisOf(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))
	at := func(minute int) telemetry.Millis { return noon.Add(time.Duration(minute) * time.Minute) }
	departure := func(minute int, c telemetry.Cause, detail string) telemetry.Departure {
		return telemetry.Departure{At: at(minute), Cause: c, Detail: detail}
	}
	refusal := &telemetry.Refusal{At: at(5), Reason: "wrong secret"}
	for name, c := range map[string]struct {
		s     telemetry.Standing
		seen  int
		cause telemetry.Cause
		words string
	}{
		"connected":        {telemetry.Standing{Connected: true, Departure: departure(1, telemetry.CauseLost, "")}, 0, telemetry.CauseNoData, "it is connected all the same"},
		"goodbye":          {telemetry.Standing{Departure: departure(1, telemetry.CauseDisconnected, "")}, 0, telemetry.CauseDisconnected, "it disconnected at 12:01 UTC"},
		"lost":             {telemetry.Standing{Departure: departure(1, telemetry.CauseLost, "")}, 0, telemetry.CauseLost, "its connection was lost at 12:01 UTC"},
		"will":             {telemetry.Standing{Departure: departure(1, telemetry.CauseWill, "battery empty")}, 0, telemetry.CauseWill, `its connection was lost at 12:01 UTC, its will says "battery empty"`},
		"closed":           {telemetry.Standing{Departure: departure(1, telemetry.CauseClosed, "not authorized")}, 0, telemetry.CauseClosed, "the server closed its connection at 12:01 UTC: not authorized"},
		"refused after it": {telemetry.Standing{Departure: departure(1, telemetry.CauseLost, ""), LastRefusal: refusal}, 0, telemetry.CauseRefused, "it was not let in at 12:05 UTC: wrong secret"},
		"refused before":   {telemetry.Standing{Departure: departure(6, telemetry.CauseLost, ""), LastRefusal: refusal}, 0, telemetry.CauseLost, "its connection was lost at 12:06 UTC"},
		"heard by another door since": {
			telemetry.Standing{Departure: departure(1, telemetry.CauseLost, ""), LastRefusal: refusal}, 7, telemetry.CauseUnknown, "",
		},
		"not heard since the start": {telemetry.Standing{}, -90, telemetry.CauseNotBack, "it has not come back since the server was started at 11:00 UTC"},
		"nothing known":             {telemetry.Standing{}, 0, telemetry.CauseUnknown, ""},
	} {
		cause, words := causeOf(c.s, at(c.seen), at(-60), at(20))
		if cause != c.cause || words != c.words {
			t.Errorf("%s: got %s %q, want %s %q", name, cause, words, c.cause, c.words)
		}
	}
	if got := clockTime(noon, at(24*60)); got != "12:00 UTC on 31 January" {
		t.Errorf("yesterday: got %q", got)
	}
}

// Whoever cannot hear would else blame a thousand sensors for its own fault.
func TestIncident_NobodyIsBlamedWhileTheServerIsDeaf(t *testing.T) {
	inWard(t, 3, func(w *ward) {
		var deaf atomic.Bool
		w.Suspect(func(context.Context) error {
			if deaf.Load() {
				return telemetry.ErrUnavailable
			}
			return nil
		})
		deaf.Store(true)
		wait(3 * time.Hour)
		w.want()
		w.wantAll()
		if got := w.Stats().Spared; got < 3 {
			t.Errorf("spared: got %d, want at least 3", got)
		}
		deaf.Store(false)
		w.read(1)
		w.read(2)
		wait(2 * time.Minute)
		w.want("S3 silent", "S3 open") // which really is
	})
}
