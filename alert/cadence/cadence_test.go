package cadence

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

// learned is the rhythm of so many gaps.
func learned(n int, gap func(i int) time.Duration) (r Rhythm) {
	for i := range n {
		r.Learn(gap(i))
	}
	return r
}

func TestRhythm_TakesTwelveBytes(t *testing.T) {
	if got := unsafe.Sizeof(Rhythm{}); got > 12 {
		t.Errorf("got %d bytes, want 12 at most", got)
	}
}

func TestRhythm_IsKnownAfterTwentyGaps(t *testing.T) {
	var r Rhythm
	for i := 1; i <= Enough; i++ {
		if r.Known() {
			t.Fatalf("known after %d gaps", i-1)
		}
		if moved := r.Learn(time.Minute); moved != (i == Enough) {
			t.Errorf("gap %d: got moved %v", i, moved)
		}
	}
	if !r.Known() || r.Typical() != time.Minute || r.Long() != time.Minute || r.Silence() != 3*time.Minute {
		t.Errorf("got typical %v, long %v, silence %v", r.Typical(), r.Long(), r.Silence())
	}
}

func TestRhythm_OfTrueShapes(t *testing.T) {
	var random *rand.Rand
	jitter := func(of time.Duration, by float64) func(int) time.Duration {
		return func(int) time.Duration { return time.Duration(float64(of) * (1 + by*(2*random.Float64()-1))) }
	}
	// Where the estimate of a quantile stands at the end of its walk varies by some hundredths.
	for name, c := range map[string]struct {
		gap          func(int) time.Duration
		typical, tol time.Duration
		beyond       float64 // the share of gaps longer than Long, at most
	}{
		"a clock":        {jitter(time.Minute, 0), time.Minute, 0, 0},
		"jitter":         {jitter(time.Minute, 0.1), time.Minute, 3 * time.Second, 0.1},
		"every second":   {jitter(time.Second, 0.3), time.Second, 150 * time.Millisecond, 0.1},
		"once a day":     {jitter(24*time.Hour, 0.02), 24 * time.Hour, 15 * time.Minute, 0.1},
		"at random":      {func(int) time.Duration { return time.Duration(random.ExpFloat64() * float64(time.Minute)) }, 35 * time.Second, 25 * time.Second, 0.1},
		"one in 20 lost": {func(i int) time.Duration { return time.Minute * time.Duration(1+i%20/19) }, time.Minute, 5 * time.Second, 0.1},
	} {
		random = rand.New(rand.NewPCG(1, 2))
		r := learned(2000, c.gap)
		if got := r.Typical(); got < c.typical-c.tol || got > c.typical+c.tol {
			t.Errorf("%s: got typical %v, want %v", name, got, c.typical)
		}
		longer := 0
		for i := range 10_000 {
			if c.gap(i) > r.Long() {
				longer++
			}
			if c.gap(i) > r.Silence() && name != "at random" {
				t.Fatalf("%s: a usual gap is a silence: %v", name, r.Silence())
			}
		}
		if share := float64(longer) / 10_000; share > c.beyond {
			t.Errorf("%s: %.3f of gaps are longer than long %v, want %.2f at most", name, share, r.Long(), c.beyond)
		}
	}
}

func TestRhythm_OneOutageChangesLittleAndIsForgotten(t *testing.T) {
	r := learned(100, func(int) time.Duration { return time.Minute })
	r.Learn(5 * time.Hour)
	if r.Typical() > 63*time.Second || r.Silence() > 5*time.Minute {
		t.Errorf("after an outage: got typical %v, silence %v", r.Typical(), r.Silence())
	}
	for range 1000 {
		r.Learn(time.Minute)
	}
	if r.Silence() > 200*time.Second {
		t.Errorf("a thousand readings later: got silence %v", r.Silence())
	}
}

func TestRhythm_FollowsANewSetting(t *testing.T) {
	r := learned(100, func(int) time.Duration { return 10 * time.Minute })
	for range 200 {
		r.Learn(time.Minute)
	}
	if r.Typical() > 70*time.Second {
		t.Errorf("faster: got typical %v, want a minute", r.Typical())
	}
	for range 200 {
		r.Learn(10 * time.Minute)
	}
	if got := r.Typical(); got < 9*time.Minute || r.Silence() < 27*time.Minute {
		t.Errorf("slower: got typical %v, silence %v", got, r.Silence())
	}
}

// What happened to be the first gap, say of a sensor that was set up and then carried to its place, does not stay.
func TestRhythm_ForgetsHowItBegan(t *testing.T) {
	r := learned(40, func(int) time.Duration { return time.Minute })
	long := learned(40, func(i int) time.Duration {
		if i == 0 {
			return 10 * time.Hour
		}
		return time.Minute
	})
	if long.Silence() > 2*r.Silence() {
		t.Errorf("got silence %v, want not far from %v", long.Silence(), r.Silence())
	}
}

func TestRhythm_StaysWithinItsBounds(t *testing.T) {
	for gap, want := range map[time.Duration]time.Duration{
		0: floor, -time.Hour: floor, time.Second: floor, 10 * time.Second: floor, 100 * 24 * time.Hour: ceiling, 1 << 62: ceiling,
	} {
		r := learned(50, func(int) time.Duration { return gap })
		if got := r.Silence(); got != want {
			t.Errorf("gaps of %v: got %v, want %v", gap, got, want)
		}
	}
}

func TestRhythm_IsTheSameOnceWrittenDown(t *testing.T) {
	r := learned(60, func(i int) time.Duration { return time.Minute + time.Duration(i%7)*time.Second })
	again := Of(r.Gaps(), r.Typical(), r.Long())
	if again.Learn(r.Typical()) {
		t.Error("what was read back wants to be written again")
	}
	if d := again.Typical() - r.Typical(); d > time.Second || d < -time.Second {
		t.Errorf("got %v, want %v", again.Typical(), r.Typical())
	}
	if broken := Of(50, time.Minute, time.Second); broken.Known() {
		t.Error("a rhythm with long below typical is known")
	}
}

// It is written down when it has moved, so not with each reading.
func TestRhythm_IsSeldomWorthWriting(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var r Rhythm
	writes := 0
	for range 10_000 {
		if r.Learn(time.Minute + time.Duration(random.IntN(6000))*time.Millisecond) {
			r.Keep()
			writes++
		}
	}
	if writes > 20 {
		t.Errorf("got %d writes of 10,000 readings", writes)
	}
}

func BenchmarkLearn(b *testing.B) {
	var r Rhythm
	i := 0
	for b.Loop() {
		r.Learn(time.Duration(60_000+i&1023) * time.Millisecond)
		i++
	}
}
