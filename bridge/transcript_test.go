package bridge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sensorcast/telemetry"
)

// event is one of a stream as a client dispatches it.
type event struct {
	id   string // the last one given, by this event or an earlier
	name string
	data string
	own  bool // this event has an id itself
}

// eventReader interprets a stream as WHATWG HTML §9.2.6 tells clients to, without looking at what the server wrote it from.
type eventReader struct {
	r        *bufio.Reader
	last     string
	retry    time.Duration
	comments int
	unfit    []string // lines of no field the server has a use for
}

func newEventReader(r io.Reader) *eventReader { return &eventReader{r: bufio.NewReader(r)} }

// next returns the next event; at the end of the stream what no empty line ended is dropped.
func (e *eventReader) next() (event, error) {
	var ev event
	var data []string
	for {
		line, err := e.line()
		if err != nil {
			return event{}, err
		}
		if line == "" {
			if data == nil {
				ev = event{} // without data there is no event
				continue
			}
			ev.id, ev.data = e.last, strings.Join(data, "\n")
			return ev, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			e.comments++
		case "event":
			ev.name = value
		case "data":
			data = append(data, value)
		case "id":
			e.last, ev.own = value, true
		case "retry":
			ms, err := strconv.Atoi(value)
			if err != nil {
				e.unfit = append(e.unfit, line)
			}
			e.retry = time.Duration(ms) * time.Millisecond
		default:
			e.unfit = append(e.unfit, line)
		}
	}
}

// line reads up to CR, LF or both.
func (e *eventReader) line() (string, error) {
	var b []byte
	for {
		c, err := e.r.ReadByte()
		switch {
		case err != nil:
			return "", err
		case c == '\n':
			return string(b), nil
		case c == '\r':
			if next, err := e.r.Peek(1); err == nil && next[0] == '\n' {
				e.r.Discard(1)
			}
			return string(b), nil
		}
		b = append(b, c)
	}
}

// eventsOf interprets a whole stream.
func eventsOf(t testing.TB, stream []byte) ([]event, *eventReader) {
	t.Helper()
	r := newEventReader(bytes.NewReader(stream))
	var all []event
	for {
		ev, err := r.next()
		if errors.Is(err, io.EOF) {
			return all, r
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ev)
	}
}

// fragments seals text as at most n frames.
func fragments(text []byte, n int) [][]byte {
	var out [][]byte
	first := byte(opText)
	for n > 1 && len(text) > 0 {
		cut := len(text) / n
		out = append(out, seal(first, append(payload(cut), text[:cut]...)))
		text, first = text[cut:], opContinuation
		n--
	}
	return append(out, seal(final|first, append(payload(len(text)), text...)))
}

func TestTranscript_NamesAndNumbersEvents(t *testing.T) {
	at := telemetry.Millis(1_795_461_296_789)
	reading, _ := readingFrame(&telemetry.Reading{Serial: "SN1", Seq: 42, Time: at, ReceivedAt: at, Data: []byte(`{"t":21.5,"seq":7}`)})
	hello := fragments([]byte(`{"type":"hello","protocol":1,"epoch":"x,\"seq\":9,","seq":41,"resumed":false,"sensors":[{"serial_no":"SN1","name":"SN1"},{"serial_no":"SN2","name":"SN2"},{"serial_no":"SN3","name":"SN3"}]}`), 3)
	script := transcript{retry: 1234 * time.Millisecond}
	var out []byte
	for _, f := range append(hello,
		reading,
		stateFrame("SN1", telemetry.StateOnline, at),
		appendGap(nil, "SN1", 42, 57, 14, "slow"),
		appendControl(nil, opPing, ""),
		wholeGapFrame(42, 9001, gapPruned),
		errorFrame("sensor_deleted", "the sensor was deleted", "SN1", nil),
		fragments([]byte(`{"type":"alert","of":1,"seq":9}`), 1)[0], // a seq of something else is no position
		closeFrame(CloseAuthorityEnded, `logged "out"`),
	) {
		out = script.append(out, f)
	}
	want := `retry: 1234

id: 41
event: hello
data: {"type":"hello","protocol":1,"epoch":"x,\"seq\":9,","seq":41,"resumed":false,"sensors":[{"serial_no":"SN1","name":"SN1"},{"serial_no":"SN2","name":"SN2"},{"serial_no":"SN3","name":"SN3"}]}

id: 42
event: reading
data: {"type":"reading","serial_no":"SN1","seq":42,"time":"2026-11-23T19:14:56.789Z","received_at":"2026-11-23T19:14:56.789Z","data":{"t":21.5,"seq":7}}

event: state
data: {"type":"state","serial_no":"SN1","state":"online","last_seen_at":"2026-11-23T19:14:56.789Z"}

event: gap
data: {"type":"gap","serial_no":"SN1","after_seq":42,"before_seq":57,"dropped":14,"reason":"slow"}

: ping

event: gap
data: {"type":"gap","after_seq":42,"before_seq":9001,"reason":"pruned"}

event: problem
data: {"type":"error","code":"sensor_deleted","message":"the sensor was deleted","serial_no":"SN1"}

event: alert
data: {"type":"alert","of":1,"seq":9}

event: close
data: {"code":4401,"reason":"logged \"out\""}

`
	if string(out) != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

// White space between the tokens of JSON may hold line breaks. A sensor must not speak for the server with them.
func TestTranscript_DataCannotMakeEvents(t *testing.T) {
	for _, breaks := range []string{"\n\n", "\r\r", "\r\n\r\n", "\n"} {
		data := `{"a":1,` + breaks + `event: close` + breaks + `data: {"code":4401}` + breaks + `id: 9` + breaks + `"b":2}`
		frame, _ := readingFrame(&telemetry.Reading{Serial: "SN1", Seq: 42, Data: []byte(data)})
		var script transcript
		got, r := eventsOf(t, script.append(nil, frame))
		if len(got) != 1 || got[0].name != "reading" || got[0].id != "42" || len(r.unfit) > 0 {
			t.Errorf("%q: got %+v, want one reading", breaks, got)
			continue
		}
		if want := "data\":" + strings.ReplaceAll(data, "\r", "\n"); !strings.Contains(got[0].data, want) {
			t.Errorf("%q: got data %q, want all of it", breaks, got[0].data)
		}
	}
}

func TestTranscript_NothingComesBetweenTheFragmentsOfAMessage(t *testing.T) {
	text := []byte(`{"type":"hello","protocol":1,"epoch":"e","seq":41,"resumed":false,"sensors":[]}`)
	parts := fragments(text, 2)
	ping := appendControl(nil, opPing, "")
	var script transcript
	out := script.append(nil, slices.Concat(parts[0], ping, parts[1], ping))
	got, r := eventsOf(t, out)
	if len(got) != 1 || got[0].data != string(text) || r.comments != 1 {
		t.Errorf("got %+v and %d comments, want the hello and one comment after it", got, r.comments)
	}

	// A session that ends in the middle of its hello takes nothing back; the client must not take the half for a whole.
	script = transcript{}
	out = script.append(nil, slices.Concat(parts[0], closeFrame(CloseRestart, "the server is restarting")))
	if got, _ := eventsOf(t, out); len(got) != 0 {
		t.Errorf("got %+v of half a message, want nothing", got)
	}
}

// Whatever frames a session sends, in whatever pieces wire takes them: a client reads their payloads, nothing more and nothing less.
func FuzzTranscript_AnyFrames(f *testing.F) {
	f.Add([]byte("\x01\x10{\"type\":\"hello\",\"seq\":1}"), uint8(3))
	f.Add([]byte("\x02\x09\r\n\n\rdata: x"), uint8(1))
	f.Add([]byte{3, 0, 4, 2, 0x0f, 0xa1}, uint8(0))
	f.Add([]byte("\x00\x40{\"type\":\"reading\",\"serial_no\":\"a\",\"seq\":12,\"data\":{\n\n\"id: 4\":1}}"), uint8(2))
	f.Fuzz(func(t *testing.T, program []byte, pieces uint8) {
		var frames [][]byte
		type message struct{ name, data string }
		var want []message
		var pings int
		for len(program) >= 2 {
			op, n := program[0]%5, int(program[1])
			program = program[2:]
			n = min(n, len(program))
			content := program[:n]
			program = program[n:]
			switch op {
			case 3: // a ping
				frames = append(frames, appendControl(nil, opPing, ""))
				pings++
				continue
			case 4: // the end
				code := CloseNoStatus
				if len(content) >= 2 {
					code = int(binary.BigEndian.Uint16(content))
				}
				frames = append(frames, closeFrame(code, "why"))
				program = nil
				want = append(want, message{name: "close"})
				continue
			}
			// A message in one to three fragments.
			frames = append(frames, fragments(content, int(op)+1)...)
			want = append(want, message{name: "?", data: strings.ReplaceAll(string(content), "\r", "\n")})
		}
		script := transcript{retry: time.Second}
		out := script.append(nil, nil)
		for len(frames) > 0 { // several frames a piece
			n := min(len(frames), 1+int(pieces)%7)
			out = script.append(out, slices.Concat(frames[:n]...))
			frames = frames[n:]
		}
		got, r := eventsOf(t, out)
		if len(got) != len(want) || r.comments != pings || r.retry != time.Second {
			t.Fatalf("got %d events and %d comments, retry %s, want %d and %d: %q", len(got), r.comments, r.retry, len(want), pings, out)
		}
		if len(r.unfit) > 0 {
			t.Errorf("fields nobody knows: %q", r.unfit)
		}
		for i, ev := range got {
			if want[i].name == "close" {
				if ev.name != "close" || !strings.HasPrefix(ev.data, `{"code":`) {
					t.Errorf("event %d: got %+v, want close", i, ev)
				}
				continue
			}
			if ev.data != want[i].data {
				t.Errorf("event %d: got data %q, want %q", i, ev.data, want[i].data)
			}
			if ev.name == "error" || ev.own && strings.Trim(ev.id, "0123456789") != "" {
				t.Errorf("event %d: got name %q, id %q", i, ev.name, ev.id)
			}
		}
	})
}

// BenchmarkTranscript is what each viewer of a stream costs beside one of a WebSocket: the rewriting, for each frame.
func BenchmarkTranscript(b *testing.B) {
	var frames []byte
	const n = 64
	for i := range n {
		frame, _ := readingFrame(&telemetry.Reading{Serial: "SN1", Seq: int64(1_000_000 + i), Time: telemetry.Now(), ReceivedAt: telemetry.Now(), Data: payload128})
		frames = append(frames, frame...)
	}
	var script transcript
	buf := make([]byte, 0, 2*takeBytes)
	b.ReportAllocs()
	for b.Loop() {
		buf = script.append(buf[:0], frames)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/frame")
}
