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
	return report{
		setting: setting{
			Date: "2026-01-02", Processor: "Abacus 3", Processors: 2, Memory: "24 GB", Kernel: "6.18.0", Pairs: 3, Length: 3 * time.Second, Idle: 5000,
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
	} {
		got, ok := c.judge(duels)
		if !ok || got.Peer != c.peer || got.Must != c.must || got.Moonshot != c.moonshot {
			t.Errorf("%s %s: got %q, %q, %q; want %q, %q, %q", c.row, c.figure, got.Peer, got.Must, got.Moonshot, c.peer, c.must, c.moonshot)
		}
	}
	if got, ok := (mark{row: "B", figure: rate, must: 1}).judge(duels); ok {
		t.Errorf("a row that failed: got %+v, want no verdict", got)
	}
}

func TestTable_HasALineForEachFigureAndEachFailure(t *testing.T) {
	var out strings.Builder
	writeTable(&out, invented().duels)
	if got := strings.Count(out.String(), "\n"); got != 7 {
		t.Errorf("got %d lines, want 7:\n%s", got, &out)
	}
	for _, want := range []string{"2.76× (2.33–3.00)", "20 % ✱", "failed against mosquitto: mosquitto: lost"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got no %q in:\n%s", want, &out)
		}
	}
}
