package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// Measures of the plot, in pixels.
const (
	plotWidth = 860
	plotLeft  = 330 // of the scale
	plotRight = 70  // beside the scale, for the figures
	plotTop   = 64
	barHeight = 12
	groupGap  = 14
)

// The page it stands on may be light or dark, so it brings a palette for each.
const plotStyle = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.faint { fill: #59636e }
.grid { stroke: #d1d9e0 }
.one { stroke: #59636e; stroke-width: 1.5 }
.spread { stroke: #1f2328; stroke-width: 1.5 }
.p0 { fill: #2a78d0 } .p1 { fill: #d9822b } .p2 { fill: #2e9e6b } .p3 { fill: #8f5bd0 } .p4 { fill: #c2487a } .p5 { fill: #7a7f87 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.faint { fill: #9198a1 }
.grid { stroke: #3d444d }
.one { stroke: #9198a1 }
.spread { stroke: #e6edf3 }
.p0 { fill: #58a6ff } .p1 { fill: #f0a050 } .p2 { fill: #4cc38a } .p3 { fill: #b48cf2 } .p4 { fill: #f27ba9 } .p5 { fill: #a0a6ae }
}
</style>
`

// bar is how many times better Sensorcast is at one figure than one peer.
type bar struct {
	peer string
	spread
}

// group is the bars of one figure of a row.
type group struct {
	label string
	bars  []bar
}

// plot draws horizontal bars on a logarithmic scale: to the right of 1 Sensorcast is the better one.
func (r report) plot() []byte {
	groups, peers := r.groups()
	scale := scaleOf(groups)
	height := plotTop + 24
	for _, g := range groups {
		height += len(g.bars)*barHeight + groupGap
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%d" role="img">`+"\n", plotWidth, height, height)
	out.WriteString("<title>How many times better Sensorcast is than each peer, row by row</title>\n" + plotStyle)
	for i, p := range peers {
		fmt.Fprintf(&out, `<rect class="p%d" x="%d" y="10" width="12" height="12"/><text x="%d" y="20">%s</text>`+"\n", i, 8+i*118, 26+i*118, p)
	}
	for x := scale.from; x <= scale.to; x *= 2 {
		class := "grid"
		if x == 1 {
			class = "one"
		}
		fmt.Fprintf(&out, `<line class="%s" x1="%.1f" x2="%.1[2]f" y1="%d" y2="%d"/>`+"\n", class, scale.x(x), plotTop-6, height-20)
		fmt.Fprintf(&out, `<text class="faint" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", scale.x(x), plotTop-12, times(x))
	}
	fmt.Fprintf(&out, `<text class="faint" x="%.1f" y="%d" text-anchor="middle">← peer better · Sensorcast better →</text>`+"\n", scale.x(1), height-6)
	y := plotTop
	for _, g := range groups {
		fmt.Fprintf(&out, `<text x="8" y="%d">%s</text>`+"\n", y+len(g.bars)*barHeight/2+4, g.label)
		for _, b := range g.bars {
			b.draw(&out, scale, slices.Index(peers, b.peer), y)
			y += barHeight
		}
		y += groupGap
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// times writes a power of two.
func times(x float64) string {
	if x < 1 {
		return fmt.Sprintf("1/%g×", 1/x)
	}
	return fmt.Sprintf("%g×", x)
}

func (b bar) draw(out *bytes.Buffer, s scale, color, y int) {
	from, to := s.x(min(1, b.median)), s.x(max(1, b.median))
	fmt.Fprintf(out, `<rect class="p%d" x="%.1f" y="%d" width="%.1f" height="%d"/>`, color, from, y+1, to-from, barHeight-2)
	fmt.Fprintf(out, `<line class="spread" x1="%.1f" x2="%.1f" y1="%d" y2="%[3]d"/>`, s.x(b.least), s.x(b.most), y+barHeight/2)
	fmt.Fprintf(out, `<text class="faint" x="%.1f" y="%d">%s×</text>`+"\n", s.x(max(1, b.most))+6, y+barHeight-2, factor(b.median))
}

// groups turns ratios into how many times better, whichever way the figure goes. peers come in the order they were measured.
func (r report) groups() (groups []group, peers []string) {
	for _, d := range r.duels {
		if d.failed != nil {
			continue
		}
		if !slices.Contains(peers, d.peer.name) {
			peers = append(peers, d.peer.name)
		}
		for _, f := range d.row.figures {
			s := d.figure(f).ratio
			if !f.more() {
				s = spread{1 / s.most, 1 / s.median, 1 / s.least}
			}
			label := fmt.Sprintf("%s  %s, %s", d.row.letter, d.row.name, f)
			i := slices.IndexFunc(groups, func(g group) bool { return g.label == label })
			if i < 0 {
				i, groups = len(groups), append(groups, group{label: label})
			}
			groups[i].bars = append(groups[i].bars, bar{d.peer.name, s})
		}
	}
	return groups, peers
}

// scale is logarithmic, from and to being powers of two.
type scale struct{ from, to float64 }

// scaleOf covers all bars, and 1 with some room around it in any case. Beyond a thousand a bar is cut off.
func scaleOf(groups []group) scale {
	s := scale{0.5, 2}
	for _, g := range groups {
		for _, b := range g.bars {
			for s.from > b.least && s.from > 1.0/1024 {
				s.from /= 2
			}
			for s.to < b.most && s.to < 1024 {
				s.to *= 2
			}
		}
	}
	return s
}

func (s scale) x(v float64) float64 {
	part := math.Log2(min(max(v, s.from), s.to)/s.from) / math.Log2(s.to/s.from)
	return plotLeft + part*(plotWidth-plotLeft-plotRight)
}
