package alert

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sensorcast/telemetry"
)

// TestIncident_AtRandom lets readings come, come late, get lost, the server stop and the clock jump in any order, and holds after each that
// a sensor is silent if and only if it has an open incident, and that there were as many incidents as steps to silent.
func TestIncident_AtRandom(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			const sensors, steps = 4, 40
			random := rand.New(rand.NewPCG(seed, 1))
			upTo := func(most time.Duration) time.Duration { return time.Duration(random.Int64N(int64(most))) }
			inWard(t, sensors, func(w *ward) {
				w.steady = true
				w.restart(0)
				fallen := map[string]int{}
				for step := range steps {
					n := 1 + random.IntN(sensors)
					what := "read"
					switch random.IntN(8) {
					case 0:
						what = "late"
						w.show(n)
						wait(upTo(3 * time.Second))
						w.keep(n)
					case 1:
						what = "lost"
						if state, _ := w.StateOf(int64(n)); state == telemetry.StateSilent {
							fallen[serialOf(int64(n))]-- // it goes on, though told as if it had not
						}
						w.show(n)
						wait(13 * time.Minute) // until the store is believed
					case 2:
						what = "restart"
						w.settleAll()
						w.count(fallen)
						w.restart(upTo(10*time.Minute), func() { w.keep(n) })
					case 3:
						what = "jump"
						w.offset.Add(int64(upTo(4*time.Hour) - 2*time.Hour))
					case 4, 5:
						what = "silence"
						wait(upTo(15 * time.Minute))
					default:
						w.read(n)
					}
					w.settleAll()
					w.count(fallen)
					incidents := map[string]int{}
					open := map[string]int{}
					for _, line := range w.all() {
						serial, state, _ := strings.Cut(line, " ")
						incidents[serial]++
						if state == "open" {
							open[serial]++
						}
					}
					for i := range sensors {
						serial := serialOf(int64(i + 1))
						state, _ := w.StateOf(int64(i + 1))
						if (state == telemetry.StateSilent) != (open[serial] == 1) || open[serial] > 1 || incidents[serial] != fallen[serial] {
							w.t.Fatalf("step %d, %s: %s is %s with %d open incidents of %d, and fell silent %d times", step, what, serial, state, open[serial], incidents[serial], fallen[serial])
						}
					}
				}
			})
		})
	}
}

// settleAll waits until what was heard is stored or doubted, and its incidents are dealt with.
func (w *ward) settleAll() { wait(2 * time.Second) }

// count adds the steps to silent that were told since the last time.
func (w *ward) count(fallen map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.told {
		if serial, is := strings.CutSuffix(line, " silent"); is {
			fallen[serial]++
		}
	}
	w.told = nil
}
