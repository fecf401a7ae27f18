package simulator

import (
	"math"
	"testing"
	"time"
)

var (
	monday    = time.Date(2026, 6, 15, 0, 0, 0, 0, time.UTC)
	afternoon = monday.Add(15 * time.Hour)
)

// series samples a signal over a span.
func series(s Signal, seed uint64, from time.Time, span, step time.Duration) []float64 {
	var values []float64
	for t := from; t.Before(from.Add(span)); t = t.Add(step) {
		values = append(values, s(seed, t))
	}
	return values
}

func mean(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func correlation(a, b []float64) float64 {
	var ab, aa, bb float64
	ma, mb := mean(a), mean(b)
	for i := range a {
		ab += (a[i] - ma) * (b[i] - mb)
		aa += (a[i] - ma) * (a[i] - ma)
		bb += (b[i] - mb) * (b[i] - mb)
	}
	return ab / math.Sqrt(aa*bb)
}

func eachMetric(t *testing.T, test func(t *testing.T, m Metric)) {
	for _, p := range Profiles() {
		for _, m := range p.Metrics {
			t.Run(p.Name+"/"+m.Name, func(t *testing.T) { test(t, m) })
		}
	}
}

func TestSignal_SameSeedSameSeries(t *testing.T) {
	eachMetric(t, func(t *testing.T, m Metric) {
		forward := series(m.Signal, 7, monday, 24*time.Hour, 7*time.Minute)
		for i := len(forward) - 1; i >= 0; i-- { // another order of asking: no state
			at := monday.Add(time.Duration(i) * 7 * time.Minute)
			if got := m.Signal(7, at); got != forward[i] {
				t.Fatalf("at %v got %v want %v", at, got, forward[i])
			}
		}
	})
}

func TestSignal_TwoSensorsOfOneSeedDiffer(t *testing.T) {
	a, b := seedOf(1, "SIM-0001"), seedOf(1, "SIM-0002")
	eachMetric(t, func(t *testing.T, m Metric) {
		x, y := series(m.Signal, a, monday, 48*time.Hour, 5*time.Minute), series(m.Signal, b, monday, 48*time.Hour, 5*time.Minute)
		for i := range x {
			if x[i] != y[i] {
				return
			}
		}
		t.Fatal("two sensors have the same series")
	})
}

func TestSignal_StaysInItsPhysicalRange(t *testing.T) {
	ranges := map[string][2]float64{
		"room/temperature": {16, 27}, "room/humidity": {25, 65}, "room/co2": {400, 1100}, "room/occupied": {0, 1},
		"weather/temperature": {-20, 35}, "weather/humidity": {15, 100}, "weather/pressure": {980, 1045}, "weather/wind_speed": {0, 10},
		"weather/illuminance": {0, 90_000}, "meter/power": {0, 3000}, "meter/energy": {0, 100_000}, "meter/voltage": {220, 240},
		"meter/current": {0, 14}, "people/numberOfPerson": {0, 40}, "people/status": {0, 1}, "people/entered": {0, 2e6},
		"door/open": {0, 1}, "door/battery": {8, 100}, "door/rssi": {-90, -40},
	}
	for _, p := range Profiles() {
		for _, m := range p.Metrics {
			bounds, ok := ranges[p.Name+"/"+m.Name]
			if !ok {
				t.Errorf("%s/%s has no range in this test", p.Name, m.Name)
			}
			for seed := range uint64(20) {
				for _, v := range series(m.Signal, seed, monday.AddDate(0, int(seed), 0), 72*time.Hour, 11*time.Minute) {
					if !(v >= bounds[0] && v <= bounds[1]) {
						t.Fatalf("%s/%s seed %d: got %v want within %v", p.Name, m.Name, seed, v, bounds)
					}
				}
			}
		}
	}
}

func TestSignal_TemperaturePeaksInTheAfternoonHumidityAgainstIt(t *testing.T) {
	for seed := range uint64(10) {
		day := series(roomTemperature, seed, monday, 24*time.Hour, 10*time.Minute)
		night, noon := mean(day[0:36]), mean(day[72:108]) // 00–06, 12–18
		if noon <= night {
			t.Errorf("seed %d: afternoon %.2f is not warmer than night %.2f", seed, noon, night)
		}
		if r := correlation(day, series(roomHumidity, seed, monday, 24*time.Hour, 10*time.Minute)); r > -0.5 {
			t.Errorf("seed %d: correlation of temperature and humidity got %.2f want below -0.5", seed, r)
		}
	}
}

func TestSignal_FollowsTheClockOnTheWall(t *testing.T) {
	tokyo := time.FixedZone("Tokyo", 9*3600)
	if got, want := dayCurve(time.Date(2026, 6, 15, 15, 0, 0, 0, tokyo), 15), 1.0; got != want {
		t.Errorf("day curve at 15:00 in Tokyo: got %v want %v", got, want)
	}
	for _, c := range []struct {
		at   time.Time
		want float64
	}{{monday.Add(9 * time.Hour), 0.75}, {monday.Add(12*time.Hour + time.Minute), 0.35}, {monday.Add(3 * time.Hour), 0.02}, {monday.Add(-12 * time.Hour), 0.1}, {monday.Add(-22 * time.Hour), 0.01}} {
		if got := busy(localSeconds(c.at)); got != c.want {
			t.Errorf("busy on %v: got %v want %v", c.at.Format("Monday 15:04"), got, c.want)
		}
	}
}

func TestSignal_CountersNeverFall(t *testing.T) {
	for name, s := range map[string]Signal{"energy": energyKilowattHours, "entered": entered} {
		for seed := range uint64(10) {
			for _, step := range []time.Duration{80 * time.Millisecond, 7 * time.Second, 13 * time.Minute} {
				last := math.Inf(-1)
				for i, v := range series(s, seed, afternoon, 5000*step, step) {
					if v < last {
						t.Fatalf("%s seed %d step %v: value %d fell from %v to %v", name, seed, step, i, last, v)
					}
					last = v
				}
			}
		}
	}
}

func TestSignal_EnergyIsTheIntegralOfPower(t *testing.T) {
	const step = time.Second
	for seed := range uint64(5) {
		wattHours := 0.0
		for _, w := range series(powerWatts, seed, afternoon, 2*time.Hour, step) {
			wattHours += w * step.Hours()
		}
		got := 1000 * (energyKilowattHours(seed, afternoon.Add(2*time.Hour)) - energyKilowattHours(seed, afternoon))
		if math.Abs(got-wattHours) > 0.5 {
			t.Errorf("seed %d: energy rose by %.2f Wh, power integrates to %.2f Wh", seed, got, wattHours)
		}
	}
}

func TestSignal_CO2FollowsThePeople(t *testing.T) {
	for seed := range uint64(10) {
		night := mean(series(co2, seed, monday.Add(2*time.Hour), 3*time.Hour, time.Minute))
		work := mean(series(co2, seed, monday.Add(9*time.Hour), 8*time.Hour, time.Minute))
		if work < night+50 {
			t.Errorf("seed %d: working hours %.0f ppm, night %.0f ppm", seed, work, night)
		}
		last := co2(seed, monday)
		for _, v := range series(co2, seed, monday, 24*time.Hour, time.Second) {
			if math.Abs(v-last) > 1.5 {
				t.Fatalf("seed %d: jumped from %.1f to %.1f ppm within a second", seed, last, v)
			}
			last = v
		}
	}
}

func TestNoise_IsSmoothAndBoundedBeforeTheEpochToo(t *testing.T) {
	start := time.Unix(-100, 0)
	last := noise(3, saltSlow, start, time.Minute)
	for at := start; at.Before(start.Add(10 * time.Minute)); at = at.Add(100 * time.Millisecond) {
		v := noise(3, saltSlow, at, time.Minute)
		if v < -1 || v > 1 || math.Abs(v-last) > 3.0/600+1e-9 {
			t.Fatalf("at %v: got %v after %v", at, v, last)
		}
		last = v
	}
}

func TestBattery_RunsDownAndIsReplaced(t *testing.T) {
	values := series(batteryPercent, 5, monday, 600*24*time.Hour, 24*time.Hour)
	replaced := 0
	for i := 1; i < len(values); i++ {
		if values[i] > values[i-1] {
			replaced++
		}
	}
	if replaced < 1 || replaced > 3 {
		t.Errorf("replaced %d times in 600 days, want 1 to 3", replaced)
	}
}

func BenchmarkSignal(b *testing.B) {
	for _, p := range Profiles() {
		for _, m := range p.Metrics {
			b.Run(p.Name+"/"+m.Name, func(b *testing.B) {
				b.ReportAllocs()
				at := afternoon
				for b.Loop() {
					at = at.Add(time.Second)
					m.Signal(42, at)
				}
			})
		}
	}
}
