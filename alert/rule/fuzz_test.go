package rule

import (
	"encoding/json"
	"runtime"
	"testing"
	"time"

	"sensorcast/telemetry"
)

// FuzzExpression holds that whatever compiles is judged in bounded time and memory by whatever is sent, and never panics.
func FuzzExpression(f *testing.F) {
	for _, text := range []string{
		`data.t > 30 and data.h < 50`, `data.mode in ["eco", "off"]`, `(data.a ?? 1) ** 9 ** 9 > 1`, `data == data`, `data.s + data.s + data.s == "x"`,
		`data.list == data.list`, `len(data.s + data.s) > 1`, `data.a.b.c?.d != nil`, `max(data.t, 1, 2) > min(3, data.h)`, `data.t % 0 == 1`, `not data.on`,
		`lower(data.s) contains data.s`, `int(data.s) / 0 > 1`, `data.list[0] > 1`, `data[data.s] ? true : hour > 3`, `[1,2,3,4][data.t] == 1`, `1 in data`, `float(data.s) > 1`,
	} {
		f.Add(text, `{"t":31,"h":40,"s":"abc","list":[1,2,3],"on":true,"a":{"b":{"c":null}}}`)
	}
	f.Fuzz(func(t *testing.T, text, data string) {
		defer time.AfterFunc(3*time.Second, func() { panic(text + " of " + data) }).Stop()
		condition, err := Compile(&telemetry.Rule{Name: "x", Expression: text, Severity: telemetry.SeverityInfo})
		if err != nil || len(data) > 64<<10 {
			return
		}
		sample, err := Decode(&telemetry.Reading{Data: []byte(data)})
		if err != nil {
			return
		}
		sample.surroundings()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		condition.Judge(sample)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 || took > time.Second {
			t.Errorf("%q: took %v and %d bytes", text, took, used)
		}
	})
}

// The worst that can be written and sent, as far as is known.
func TestExpression_WorstStaysSmall(t *testing.T) {
	long := make([]byte, 60<<10)
	for i := range long {
		long[i] = 'a'
	}
	data, err := json.Marshal(map[string]any{"s": string(long), "l": make([]int, 250)})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`data.s+data.s+data.s+data.s+data.s+data.s+data.s+data.s+data.s+data.s == "x"`,
		`data.l == data.l and data.l == data.l and data.l == data.l and data.l == data.l and data.l == data.l and data == data`,
		`1 in data.l or 2 in data.l or 3 in data.l or 4 in data.l or 5 in data.l or data.s contains data.s`,
	} {
		condition, err := Compile(&telemetry.Rule{Name: "x", Expression: text, Severity: telemetry.SeverityInfo})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		s, err := Decode(&telemetry.Reading{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		s.surroundings()
		if verdict, _ := condition.Judge(s); verdict != Clear && verdict != Broken {
			t.Errorf("%s: got %d, want it judged", text, verdict)
		}
		if n := testing.AllocsPerRun(100, func() { condition.Judge(s) }); n > 100 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}
