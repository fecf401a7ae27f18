package format

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"sensorcast/telemetry"
)

// testNow is what relative times are relative to.
const testNow = telemetry.Millis(1_750_000_000_000)

func TestDecode_ReadsEachDialect(t *testing.T) {
	const at = telemetry.Millis(1716200000000)
	for name, tc := range map[string]struct {
		metric, payload string
		want            []Point
	}{
		"object":                   {"", `{"temperature": 21.5, "n": {"big": 1234567890123456789}}`, []Point{{Data: []byte(`{"temperature":21.5,"n":{"big":1234567890123456789}}`)}}},
		"empty object":             {"", `{}`, []Point{{Data: []byte(`{}`)}}},
		"number":                   {"", ` 21.50 `, []Point{{Data: []byte(`{"value":21.50}`)}}},
		"true":                     {"", `true`, []Point{{Data: []byte(`{"value":true}`)}}},
		"string":                   {"", `"on"`, []Point{{Data: []byte(`{"value":"on"}`)}}},
		"envelope":                 {"", `{"time":1716200000,"id":"a","data":{"x":1}}`, []Point{{Given: at, ID: "a", Data: []byte(`{"x":1}`)}}},
		"envelope, RFC 3339":       {"", `{"time":"2024-05-20T12:13:20+02:00","data":{"x":1}}`, []Point{{Given: at, Data: []byte(`{"x":1}`)}}},
		"envelope, milliseconds":   {"", `{"time":1716200000000,"data":{"x":1}}`, []Point{{Given: at, Data: []byte(`{"x":1}`)}}},
		"envelope, microseconds":   {"", `{"time":1716200000000999,"data":{"x":1}}`, []Point{{Given: at, Data: []byte(`{"x":1}`)}}},
		"envelope, nanoseconds":    {"", `{"time":1716200000000999999,"data":{"x":1}}`, []Point{{Given: at, Data: []byte(`{"x":1}`)}}},
		"envelope, fraction":       {"", `{"time":1716200000.25,"data":{"x":1}}`, []Point{{Given: at + 250, Data: []byte(`{"x":1}`)}}},
		"envelope, null time":      {"", `{"time":null,"id":null,"data":{"x":1}}`, []Point{{Data: []byte(`{"x":1}`)}}},
		"envelope, unset clock":    {"", `{"time":0,"data":{"x":1}}`, []Point{{Data: []byte(`{"x":1}`)}}},
		"envelope, before 1970":    {"", `{"time":"1969-12-31T23:59:59Z","data":{"x":1}}`, []Point{{Given: -1000, Data: []byte(`{"x":1}`)}}},
		"envelope, number id":      {"", `{"id":42,"data":{"x":1}}`, []Point{{ID: "42", Data: []byte(`{"x":1}`)}}},
		"data alone":               {"", `{"data":{"x":1}}`, []Point{{Data: []byte(`{"x":1}`)}}},
		"data and others: metrics": {"", `{"data":{"x":1},"temperature":2}`, []Point{{Data: []byte(`{"data":{"x":1},"temperature":2}`)}}},
		"data no object: metrics":  {"", `{"data":5}`, []Point{{Data: []byte(`{"data":5}`)}}},
		"time no envelope":         {"", `{"time":5,"temperature":2}`, []Point{{Data: []byte(`{"time":5,"temperature":2}`)}}},
		"envelope, escaped id":     {"", `{"id":"a\u0062\"","data":{"x":1}}`, []Point{{ID: `ab"`, Data: []byte(`{"x":1}`)}}},
		"envelope, twice the key":  {"", `{"id":"a","data":{"x":1},"id":"b"}`, []Point{{ID: "b", Data: []byte(`{"x":1}`)}}},
		"envelope, mixed: metrics": {"", `{"ts":1716200000,"data":{"x":1}}`, []Point{{Data: []byte(`{"ts":1716200000,"data":{"x":1}}`)}}},
		"both bodies: metrics":     {"", `{"data":{},"values":{}}`, []Point{{Data: []byte(`{"data":{},"values":{}}`)}}},
		"empty name: metrics":      {"", `{"":1,"data":{}}`, []Point{{Data: []byte(`{"":1,"data":{}}`)}}},
		"ThingsBoard":              {"", `{"ts":1716200000000,"values":{"x":1}}`, []Point{{Given: at, Data: []byte(`{"x":1}`)}}},
		"batch":                    {"", `[{"time":1716200000,"data":{"x":1}}, {"ts":1716200000000,"values":{"x":2}}]`, []Point{{Given: at, Data: []byte(`{"x":1}`)}, {Given: at, Data: []byte(`{"x":2}`)}}},
		"SenML":                    {"", `[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3}]`, []Point{{Given: 1276020076001, Data: []byte(`{"voltage":120.1}`)}, {Given: 1276020071001, Data: []byte(`{"current":1.2}`)}, {Given: 1276020072001, Data: []byte(`{"current":1.3}`)}}},
		"SenML, one time":          {"", `[{"bn":"dev:","n":"t","v":21.50},{"n":"door","vb":true},{"n":"id","vs":"x"},{"n":"e","s":5}]`, []Point{{Data: []byte(`{"t":21.50,"door":true,"id":"x","e_sum":5}`)}}},
		"SenML, relative":          {"", `[{"n":"t","t":-2.5,"v":1}]`, []Point{{Given: testNow - 2500, Data: []byte(`{"t":1}`)}}},
		"SenML, two devices":       {"", `[{"bn":"a/","n":"t","v":1},{"bn":"b/","n":"t","v":2}]`, []Point{{Data: []byte(`{"a/t":1,"b/t":2}`)}}},
		"SenML, base value":        {"", `[{"bn":"a/","bv":20,"n":"t","v":1.5}]`, []Point{{Data: []byte(`{"t":21.5}`)}}},
		"SenML, name in base":      {"", `[{"bn":"temp","v":1}]`, []Point{{Data: []byte(`{"temp":1}`)}}},
		"metric number":            {"temperature", `21.5`, []Point{{Data: []byte(`{"temperature":21.5}`)}}},
		"metric text":              {"door", `OPEN`, []Point{{Data: []byte(`{"door":"OPEN"}`)}}},
		"metric name is quoted":    {`a"b`, `1`, []Point{{Data: []byte(`{"a\"b":1}`)}}},
		"metric object":            {"pos", `{"x": 1}`, []Point{{Data: []byte(`{"pos":{"x":1}}`)}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode(nil, tc.metric, []byte(tc.payload), testNow)
			if err != nil {
				t.Fatalf("Decode(%q, %q) = %v", tc.metric, tc.payload, err)
			}
			if len(got) != len(tc.want) {
				t.Fatalf("Decode(%q) gave %d points, want %d", tc.payload, len(got), len(tc.want))
			}
			for i := range got {
				if got[i].Given != tc.want[i].Given || got[i].ID != tc.want[i].ID || string(got[i].Data) != string(tc.want[i].Data) {
					t.Errorf("Decode(%q)[%d] = {%d %q %s}, want {%d %q %s}", tc.payload, i,
						got[i].Given, got[i].ID, got[i].Data, tc.want[i].Given, tc.want[i].ID, tc.want[i].Data)
				}
			}
		})
	}
}

func TestDecode_RefusesAndNamesWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct{ metric, payload, want string }{
		"empty":              {"", ``, "empty"},
		"spaces":             {"", "  \n", "empty"},
		"text":               {"", `hello`, "not valid JSON"},
		"truncated":          {"", `{"a":1`, "not valid JSON"},
		"two values":         {"", `{} {}`, "not valid JSON"},
		"NaN":                {"", `{"a":NaN}`, "not valid JSON"},
		"null":               {"", `null`, "null"},
		"bad UTF-8":          {"", "{\"a\":\"\xff\"}", "UTF-8"},
		"deep":               {"", strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20), "nested"},
		"unclosed deep":      {"", strings.Repeat("[", 100_000), "nested"},
		"bad time":           {"", `{"time":"yesterday","data":{"x":1}}`, "time"},
		"negative time":      {"", `{"time":-5,"data":{"x":1}}`, "time"},
		"huge time":          {"", `{"time":1e300,"data":{"x":1}}`, "time"},
		"bad ts":             {"", `{"ts":"x","values":{"x":1}}`, "ts"},
		"object id":          {"", `{"id":{},"data":{"x":1}}`, "id"},
		"long id":            {"", `{"id":"` + strings.Repeat("x", 200) + `","data":{"x":1}}`, "id"},
		"empty batch":        {"", `[]`, "batch"},
		"batch of scalars":   {"", `[1,2]`, "reading 0"},
		"batch of metrics":   {"", `[{"a":1}]`, "reading 0"},
		"batch, second bad":  {"", `[{"data":{"a":1}},{"time":"x","data":{}}]`, "reading 1"},
		"batch too long":     {"", "[" + strings.Repeat(`{"data":{}},`, 1000) + `{"data":{}}]`, "batch"},
		"SenML label_":       {"", `[{"n":"a","v":1,"x_":2}]`, "x_"},
		"SenML newer":        {"", `[{"bver":11,"n":"a","v":1}]`, "bver"},
		"SenML two values":   {"", `[{"n":"a","v":1,"vs":"x"}]`, "record 0"},
		"SenML no values":    {"", `[{"n":"a"}]`, "without values"},
		"SenML no name":      {"", `[{"n":"","v":1}]`, "name"},
		"SenML time":         {"", `[{"n":"a","v":1,"t":1e12}]`, "time"},
		"SenML text number":  {"", `[{"n":"a","v":"1"}]`, "record 0"},
		"SenML scalar":       {"", `[{"n":"a","v":1},5]`, "record 1"},
		"metric empty":       {"t", ``, "empty"},
		"metric bad UTF-8":   {"t", "\xff\xfe", "UTF-8"},
		"metric long":        {"t", strings.Repeat("x", 5000), "longer"},
		"metric name long":   {strings.Repeat("m", 65), `1`, "metric name"},
		"metric name binary": {"\xff", `1`, "metric name"},
	} {
		t.Run(name, func(t *testing.T) {
			dst := []Point{{ID: "kept"}}
			got, err := Decode(dst, tc.metric, []byte(tc.payload), testNow)
			if !errors.Is(err, telemetry.ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Decode(%.40q) error = %v, want an ErrInvalid with %q", tc.payload, err, tc.want)
			}
			if len(got) != 1 {
				t.Errorf("Decode changed dst to %d points, want it left at 1", len(got))
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `[{"time":1,"data":{}}]`, `{"ts":1,"values":{"a":[1,2]}}`, `[{"bn":"x","bt":1,"n":"a","v":1},{"n":"b","vs":"","s":2}]`, "\"\\u0000\"", `1e5`, `{"a":"\ud800"}`} {
		f.Add("", []byte(s))
		f.Add("m", []byte(s))
	}
	f.Fuzz(func(t *testing.T, metric string, payload []byte) {
		points, err := Decode(nil, metric, payload, testNow)
		if err != nil {
			if !errors.Is(err, telemetry.ErrInvalid) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		for _, p := range points {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(p.Data, &m); err != nil {
				t.Fatalf("data %q is no JSON object: %v", p.Data, err)
			}
			if !utf8.Valid(p.Data) || len(p.ID) > maxIDBytes {
				t.Fatalf("point out of bounds: %+v", p)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	payload := []byte(`{"temperature":21.53,"humidity":48.2,"pressure":1013.2,"co2":612,"battery":97,"rssi":-61,"door":false,"n":123456}`)
	var points []Point
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		points, _ = Decode(points[:0], "", payload, testNow)
	}
}
