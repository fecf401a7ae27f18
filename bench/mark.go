package main

import "fmt"

// mark is what a figure of Sensorcast is held to: a ratio to a peer's, never an absolute.
type mark struct {
	row            string
	figure         figure
	against        string  // a peer; empty: whichever of those measured is best, but for the system replaced, which is held to more
	must, moonshot float64 // 0: none
}

var marks = append([]mark{
	{row: "A", figure: rate, must: 0.7, moonshot: 1},
	{row: "B", figure: rate, must: 0.6, moonshot: 1},
	{row: "C", figure: rate, must: 1, moonshot: 2.5},
	{row: "E", figure: p50, must: 1.2, moonshot: 1},
	{row: "E", figure: p99, must: 1, moonshot: 1},
	{row: "G", figure: rate, must: 2, moonshot: 3.5},
	{row: "H", figure: p99, must: 0.9},
	{row: "I", figure: rate, must: 2, moonshot: 3},
	{row: "I", figure: p99, must: 0.9, moonshot: 0.5},
	{row: "J", figure: p50, must: 1, moonshot: 0.7},
	{row: "J", figure: p99, must: 1, moonshot: 0.7},
	{row: "K-viewer", figure: memory, must: 1, moonshot: 0.6},
	{row: "K-device", figure: memory, against: "mochi", must: 0.3},
	{row: "K-device", figure: memory, against: "mosquitto", moonshot: 1},
}, everything(replaced, 50, 150)...)

// everything is the marks that every figure of the rows with viewers is so many times better than a peer's.
func everything(against string, must, moonshot float64) (all []mark) {
	for _, r := range rows(0) {
		if !r.watched {
			continue
		}
		for _, f := range r.figures {
			m := mark{row: r.letter, figure: f, against: against, must: must, moonshot: moonshot}
			if !f.more() {
				m.must, m.moonshot = 1/must, 1/moonshot
			}
			all = append(all, m)
		}
	}
	return all
}

// verdict is a mark with what was found.
type verdict struct {
	Row, Name, Figure, Peer, Ratio, Must, Moonshot string
}

// judge looks a mark up among the duels; false where its row was not measured.
func (m mark) judge(duels []duel) (verdict, bool) {
	var best *duel
	for i := range duels {
		d := &duels[i]
		if d.row.letter != m.row || d.failed != nil || !m.concerns(d.peer.name) {
			continue
		}
		if best == nil || better(m.figure, d.figure(m.figure).theirs.median, best.figure(m.figure).theirs.median) {
			best = d
		}
	}
	if best == nil {
		return verdict{}, false
	}
	c := best.figure(m.figure)
	return verdict{
		Row: m.row, Name: best.row.name, Figure: string(m.figure),
		Peer: best.peer.name + " " + best.row.show(m.figure, c.theirs.median), Ratio: c.ratio.String() + best.doubt(),
		Must: m.met(m.must, c.ratio.median), Moonshot: m.met(m.moonshot, c.ratio.median),
	}, true
}

func (m mark) concerns(peer string) bool {
	if m.against == "" {
		return peer != replaced
	}
	return peer == m.against
}

func (m mark) met(want, got float64) string {
	if want == 0 {
		return "–"
	}
	sign, answer := "≤", "missed"
	if m.figure.more() {
		sign = "≥"
	}
	if got == want || better(m.figure, got, want) {
		answer = "**met**"
	}
	return fmt.Sprintf("%s %s×: %s", sign, bound(want), answer)
}

// bound writes what a ratio is held to, with no more figures than were set.
func bound(want float64) string {
	if want < 0.1 {
		return fmt.Sprintf("1/%.3g", 1/want)
	}
	return fmt.Sprintf("%.3g", want)
}

func better(f figure, a, b float64) bool {
	if f.more() {
		return a > b
	}
	return a < b
}
