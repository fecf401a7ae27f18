package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// invented is a report with made-up figures that has one of everything.
func invented() report {
	row := func(letter string) row {
		all := rows(5000)
		i := 0
		for all[i].letter != letter {
			i++
		}
		return all[i]
	}
	run := func(cpu, foreign float64, note string, values map[figure]float64) result {
		return result{figures: values, cpu: cpu, foreign: foreign, note: note}
	}
	type of = map[figure]float64
	mosquitto, nats, mochi := contender{name: "mosquitto"}, contender{name: "nats"}, contender{name: "mochi"}
	django := djangoContender()
	return report{
		setting: setting{
			Date: "2026-01-02", Processor: "Abacus 3", Processors: 2, Memory: "24 GB", Kernel: "6.18.0", Pairs: 3, Length: 3 * time.Second, Idle: 5000,
			Rest: 10 * time.Second, Took: 21 * time.Minute,
			Contenders: []contestant{
				{"sensorcast", "sensorcast v1", "WebSocket with a single-use ticket each", "commits"},
				{"mosquitto", "mosquitto 2.0.11", overWebSocket, "keeps nothing"},
			},
		},
		duels: []duel{
			{row: row("A"), peer: mosquitto, pairs: []pair{
				{run(1.27, 0.01, "3 % shed", of{rate: 800e3}), run(3.6, 0.01, "", of{rate: 290e3})},
				{run(1.3, 0.02, "4 % shed", of{rate: 700e3}), run(3.5, 0.01, "", of{rate: 300e3})},
				{run(1.2, 0, "2 % shed", of{rate: 750e3}), run(3.7, 0.03, "", of{rate: 250e3})},
			}},
			{row: row("A"), peer: nats, pairs: []pair{{run(1.27, 0.01, "3 % shed", of{rate: 800e3}), run(0.71, 0.2, "", of{rate: 940e3})}}},
			{row: row("B"), peer: mosquitto, failed: errors.New("mosquitto: lost: 1 of 9 acknowledgements did not come for 10s")},
			{row: row("E"), peer: mosquitto, pairs: []pair{
				{run(50, 0, "", of{p50: 94, p99: 254}), run(40, 0, "", of{p50: 81, p99: 372})},
				{run(51, 0, "", of{p50: 99, p99: 1254}), run(41, 0, "", of{p50: 80, p99: 400})},
			}},
			{row: row("E"), peer: django, pairs: []pair{{run(50, 0, "", of{p50: 94, p99: 254}), run(1260, 0, "", of{p50: 670, p99: 40e3})}}},
			{row: row("H").easedFor(django), peer: django, pairs: []pair{
				{run(2, 0, "", of{p50: 5e3, p99: 6e3}), run(300, 0, "", of{p50: 1e6, p99: 0.9e6})},
				{run(2, 0, "", of{p50: 4e3, p99: 6e3}), run(300, 0, "", of{p50: 1e6, p99: 1.2e6})},
				{run(2, 0, "", of{p50: 6e3, p99: 6e3}), run(300, 0, "", of{p50: 1.1e6, p99: 1e6})},
			}},
			{row: row("K-device"), peer: mosquitto, pairs: []pair{{run(0, 0, "", of{memory: 12}), run(0, 0, "", of{memory: 0.9})}}},
			{row: row("K-device"), peer: mochi, pairs: []pair{{run(0, 0, "", of{memory: 12}), run(0, 0, "", of{memory: 48})}}},
		},
	}
}

func TestReport_PageAndPlotAreAsApproved(t *testing.T) {
	dir := t.TempDir()
	if err := invented().write(filepath.Join(dir, "performance.md")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"performance.md", "performance.svg"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name)
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
			t.Errorf("%s differs from %s; look at it and run the test with -update if it is right. got:\n%s", name, golden, got)
		}
	}
}

func TestPlot_IsWellFormed(t *testing.T) {
	plot := invented().plot()
	if bytes.Contains(plot, []byte("%!")) {
		t.Errorf("a figure was not written as one:\n%s", plot)
	}
	for d := xml.NewDecoder(bytes.NewReader(plot)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestMark_IsJudgedAgainstTheBestPeer(t *testing.T) {
	duels := invented().duels
	for _, c := range []struct {
		mark
		peer, must, moonshot string
	}{
		{mark{row: "A", figure: rate, must: 0.7, moonshot: 1}, "nats 940k/s", "≥ 0.7×: **met**", "≥ 1×: missed"},
		{mark{row: "E", figure: p50, must: 1.2, moonshot: 1}, "mosquitto 81 µs", "≤ 1.2×: missed", "≤ 1×: missed"},
		{mark{row: "K-device", figure: memory, against: "mochi", must: 0.3}, "mochi 48.0 KB", "≤ 0.3×: **met**", "–"},
		{mark{row: "K-device", figure: memory, moonshot: 1}, "mosquitto 0.9 KB", "–", "≤ 1×: missed"},
		{mark{row: "E", figure: p99, against: replaced, must: 1. / 50, moonshot: 1. / 200}, "django 40 ms", "≤ 1/50×: **met**", "≤ 1/200×: missed"},
		{mark{row: "H", figure: p99, against: replaced, must: 1. / 50, moonshot: 1. / 150}, "django 1 s", "≤ 1/50×: **met**", "≤ 1/150×: **met**"},
	} {
		got, ok := c.judge(duels)
		if !ok || got.Peer != c.peer || got.Must != c.must || got.Moonshot != c.moonshot {
			t.Errorf("%s %s: got %q, %q, %q; want %q, %q, %q", c.row, c.figure, got.Peer, got.Must, got.Moonshot, c.peer, c.must, c.moonshot)
		}
	}
	if got, ok := (mark{row: "B", figure: rate, must: 1}).judge(duels); ok {
		t.Errorf("a row that failed: got %+v, want no verdict", got)
	}
	if got, ok := (mark{row: "H", figure: p99, must: 0.9}).judge(duels); ok {
		t.Errorf("a row that only the replaced system was measured in: got %+v, want no verdict", got)
	}
}

func TestMarks_HoldEveryFigureOfAViewerRowAgainstTheReplacedSystem(t *testing.T) {
	held := map[string]bool{}
	for _, m := range marks {
		if m.against == replaced {
			held[m.row+" "+string(m.figure)] = true
			if better(m.figure, m.must, m.moonshot) || !better(m.figure, m.must, 1) {
				t.Errorf("%s %s: must be %g and at best %g times ours by theirs", m.row, m.figure, m.must, m.moonshot)
			}
		}
	}
	for _, r := range rows(5000) {
		for _, f := range r.figures {
			if name := r.letter + " " + string(f); held[name] != r.watched {
				t.Errorf("%s: got a mark: %t, want %t", name, held[name], r.watched)
			}
		}
	}
}

func TestFactor_SaysSmallRatiosAsParts(t *testing.T) {
	for v, want := range map[float64]string{0.005: "1/200", 0.099: "1/10.1", 0.1: "0.10", 0.9: "0.90", 2.759: "2.76", 13.33: "13.3", 169.2: "169", 0: "0.00"} {
		if got := factor(v); got != want {
			t.Errorf("factor(%g): got %q, want %q", v, got, want)
		}
	}
}

func TestTable_HasALineForEachFigureAndEachFailure(t *testing.T) {
	var out strings.Builder
	writeTable(&out, invented().duels)
	if got := strings.Count(out.String(), "\n"); got != 11 {
		t.Errorf("got %d lines, want 11:\n%s", got, &out)
	}
	for _, want := range []string{"2.76× (2.33–3.00)", "1/167× (1/200–1/150)", "bursts at 20/s ÷ 20", "20 % ✱", "failed against mosquitto: mosquitto: lost"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got no %q in:\n%s", want, &out)
		}
	}
}
