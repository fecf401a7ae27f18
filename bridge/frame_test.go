package bridge

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sensorcast/telemetry"
)

var update = flag.Bool("update", false, "rewrite golden files")

// The frames clients are written against, one in a line, headers left out.
func TestFrames_Golden(t *testing.T) {
	at := telemetry.Millis(1_795_461_296_789)
	r := telemetry.Reading{Serial: "SN1", Seq: 42, Time: at, ReceivedAt: at + 12, Data: []byte(`{"t":21.5,"n":9007199254740993}`)}
	rm := &room{id: 1, serial: "SN1"}
	reading, data := readingFrame(&r)
	if string(data) != string(r.Data) {
		t.Errorf("data within the frame: got %s, want %s", data, r.Data)
	}
	var hello tape
	s := &session{}
	s.box.init(&counters{}, func() {})
	s.sender = idlePool(t).Attach(&hello, s)
	seats := []seat{
		{room: rm, name: `kitchen "north" <1>`, state: telemetry.StateOnline, lastSeen: at, latest: r},
		{room: &room{serial: "SN2"}, state: telemetry.StateNeverSeen},
	}
	s.greet(&greeting{epoch: "e-1", seq: 41, seats: seats}, false)
	s.greet(&greeting{epoch: "e-1", seq: 41, resumed: true, seats: seats}, false)
	eventually(t, "hello to be written", s.sender.Idle)
	var empty tape
	s = &session{}
	s.box.init(&counters{}, func() {})
	s.sender = idlePool(t).Attach(&empty, s)
	s.greet(&greeting{}, false)
	eventually(t, "hello to be written", s.sender.Idle)

	var all []byte
	for _, b := range [][]byte{
		hello.b.Bytes(),
		empty.b.Bytes(),
		reading,
		stateFrame("SN1", telemetry.StateSilent, at),
		stateFrame("SN1", telemetry.StateNeverSeen, 0),
		alertFrame("SN1", &telemetry.Alert{
			ID: "mfrggzdfmztwq2lknnwg23tpoa", Serial: "SN1", Name: "kitchen", Kind: telemetry.AlertSilent, Cause: telemetry.CauseKeepAlive,
			Severity: telemetry.SeverityWarning, Message: "no reading for 10 minutes", OpenedAt: at, AcknowledgedAt: at + 1, AcknowledgedBy: "ann", Episodes: 1,
		}),
		appendGap(nil, "SN1", 42, 57, 14, "slow"),
		wholeGapFrame(42, 9001, gapPruned),
		resumeFrame("a.b.c"),
		ackFrame([]byte(`"a1"`)),
		ackFrame(nil),
		commandAckFrame([]byte(`"c1"`), "mfrggzdfmztwq2lknnwg23tpoa"),
		errorFrame("malformed", `"data" must be an object`, "", []byte("7")),
		errorFrame("sensor_deleted", "the sensor was deleted", "SN1", nil),
	} {
		all = append(all, b...)
	}
	messages, control := parse(t, all)
	if len(control) != 0 {
		t.Errorf("control frames: got %v, want none", control)
	}
	got := append(bytes.Join(messages, []byte("\n")), '\n')
	golden := filepath.Join("testdata", "frames.jsonl")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("frames: got\n%s\nwant\n%s", got, want)
	}
}

func TestFrames_HeadersForEveryLength(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20} {
		b := append(payload(n), strings.Repeat("1", n)...)
		f, err := nextFrame(bytes.NewReader(seal(final|opText, b)))
		if err != nil || !f.fin || f.op != opText || len(f.payload) != n {
			t.Errorf("payload of %d: got fin %v, op %d, %d bytes, %v", n, f.fin, f.op, len(f.payload), err)
		}
	}
}

func TestFrames_CloseFitsAControlFrame(t *testing.T) {
	f, err := nextFrame(bytes.NewReader(closeFrame(ClosePolicy, strings.Repeat("x", 500))))
	if err != nil || len(f.payload) != maxControlBytes {
		t.Errorf("close with a long reason: got %d bytes, %v, want %d", len(f.payload), err, maxControlBytes)
	}
	if f, err := nextFrame(bytes.NewReader(closeFrame(CloseNoStatus, ""))); err != nil || len(f.payload) != 0 {
		t.Errorf("close without a code: got %v, %v, want no payload", f.payload, err)
	}
}
