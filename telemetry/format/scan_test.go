package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

var texts = []string{
	``, ` `, `{}`, `[]`, ` { } `, `[ ]`, `[[],{}]`, `[1,]`, `{"a":1,}`, `{,}`, `[,1]`, `{"a"}`, `{"a":}`, `{1:2}`, `{"a" : 1 , "b":[ 1 ]}`,
	`[1 2]`, `[1]]`, `{]`, `[}`, `tru`, `true`, `truex`, `nul`, `null`, `false`, `fals`, `True`,
	`0`, `-0`, `00`, `01`, `-`, `+1`, `1.`, `.5`, `1.5`, `1e5`, `1E+5`, `1e-`, `1e`, `0x10`, `1_000`, `NaN`, `Infinity`, `0.0e00`, `1e5.5`,
	`""`, `"`, `"a`, `"\`, `"\"`, `"\""`, `"\x"`, `"\u12"`, `"\u12G4"`, `"\u12aF"`, `"\uD800"`, `"\/\b\f\n\r\t\\"`, "\"\n\"", "\"\x00\"", "\x00", "\"\x7f\"",
	"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"é€😀\uFFFD\"", "\"\xe2\x82\"", "\xef\xbb\xbf1", "\u00a01", "{\"\xff\":1}",
	`{"a":1,"b":-2.50,"c":"plain text, longer than eight","d":true,"e":false,"f":null,"g":0}`, `{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`,
	`{"a":truex}`, `{"a":nul}`, `{"a":"}`, `{"a":"}"`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1}}`, `{"a":1,"data":2}`, `{"values":1}`, `{}`, `{"}`, `{a:1}`,
	"{\"a\":\"0123456\x1f\"}", "{\"a\":\"0123456\xff\"}", `{"a":"0123456\\"}`, `{"0123456789\"":1}`, "{\"a\":\"01234567\"\x00}", `{"a":1:2}`,
	"[\t\r\n 1]", "\v1", "\f1", `[1] `, "1\x00", `{"a":1}{"b":2}`, `"a" "b"`, `{"data":{}}`,
	strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
}

func TestScan_AgreesWithEncodingJSON(t *testing.T) {
	for _, text := range texts {
		checkScan(t, []byte(text))
	}
}

func FuzzScan(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(checkScan)
}

// checkScan holds scan to what json.Valid says of a text, and compact to json.Compact.
func checkScan(t *testing.T, text []byte) {
	s, err := scan(text)
	if flat(text) && (err != nil || s.spaces > 0 || s.envelope) {
		t.Fatalf("flat(%q) = true; scan: %v, %d blanks, envelope %t", text, err, s.spaces, s.envelope)
	}
	if errors.Is(err, errDeep) {
		// The validator has no such bound, so all that can be asked is that the text really opens so many brackets.
		if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= maxDepth {
			t.Fatalf("scan(%q) = %v, though it opens no more than %d brackets", text, err, maxDepth)
		}
		return
	}
	want := json.Valid(text) && utf8.Valid(text)
	if got := err == nil; got != want {
		t.Fatalf("scan(%q) = %v; json.Valid and UTF-8: %t", text, err, want)
	}
	if errors.Is(err, errUTF8) && utf8.Valid(text) {
		t.Fatalf("scan(%q) = %v, though it is", text, err)
	}
	if err != nil {
		return
	}
	if got := depthOf(text); got > maxDepth {
		t.Fatalf("scan(%q) let %d levels pass", text, got)
	}
	got, named, err := compact(text)
	if err != nil {
		t.Fatalf("compact(%q) = %v, though scan took it", text, err)
	}
	var want2 bytes.Buffer
	if err := json.Compact(&want2, text); err != nil || !bytes.Equal(got, want2.Bytes()) {
		t.Fatalf("compact(%q) = %q, want %q", text, got, want2.Bytes())
	}
	if cap(got) > len(got) && &got[0] != &text[0] {
		t.Fatalf("compact(%q) holds %d bytes for %d", text, cap(got), len(got))
	}
	if _, is, _ := envelope(got); is && !named && !bytes.ContainsRune(got, '\\') {
		t.Fatalf("scan(%q) overlooked an envelope", text)
	}
}

// depthOf measures valid text by its tokens.
func depthOf(text []byte) (deepest int) {
	d := json.NewDecoder(bytes.NewReader(text))
	level := 0
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			level++
			deepest = max(deepest, level)
		case json.Delim('}'), json.Delim(']'):
			level--
		}
	}
}

func TestCompact_BlanksAreNotKept(t *testing.T) {
	payload := []byte(`{"a":1` + strings.Repeat(" ", 60_000) + `}`)
	got, _, err := compact(payload)
	if err != nil || string(got) != `{"a":1}` || cap(got) > 64 {
		t.Errorf("compact of an object with 60,000 blanks = %s in %d bytes, %v; want {\"a\":1} in no more than it needs", got, cap(got), err)
	}
}

func TestDecode_SmallDataDoesNotHoldALargePayload(t *testing.T) {
	payload := `{` + strings.Repeat(`"id":"x",`, 5_000) + `"data":{"a":1}}`
	for name, text := range map[string]string{"envelope": payload, "batch": `[` + payload + `]`} {
		points, err := Decode(nil, "", []byte(text), testNow)
		if err != nil || len(points) != 1 || cap(points[0].Data) > 64 {
			t.Errorf("%s: Decode gave %d points, %v; want one whose data holds no more than it needs", name, len(points), err)
		}
	}
}

func TestDecode_FailedBatchLeavesNothingBehind(t *testing.T) {
	dst := make([]Point, 0, 4)
	_, err := Decode(dst, "", []byte(`[{"data":{"a":1}},{"data":{"a":2}},5]`), testNow)
	if err == nil {
		t.Fatal("a batch with a scalar in it was accepted")
	}
	for i, p := range dst[:cap(dst)] {
		if p.Data != nil {
			t.Errorf("dst[%d] beyond its end still holds %s", i, p.Data)
		}
	}
}

func BenchmarkDecode_Blanks(b *testing.B) {
	payload := []byte(`{"temperature": 21.53, "humidity": 48.2, "pressure": 1013.2, "co2": 612, "battery": 97, "rssi": -61, "door": false}`)
	var points []Point
	b.ReportAllocs()
	for b.Loop() {
		points, _ = Decode(points[:0], "", payload, testNow)
	}
}

func BenchmarkDecode_Envelope(b *testing.B) {
	payload := []byte(`{"time":1716200000000,"id":"a1","data":{"temperature":21.53,"humidity":48.2}}`)
	var points []Point
	b.ReportAllocs()
	for b.Loop() {
		points, _ = Decode(points[:0], "", payload, testNow)
	}
}
