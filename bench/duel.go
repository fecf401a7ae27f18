package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// pair is one run of each side, one right after the other.
type pair struct{ ours, theirs result }

// duel is a row measured against one peer.
type duel struct {
	row    row
	peer   contender
	pairs  []pair
	failed error // why it was given up; nil: it was not
}

// spread is the least, median and greatest of some values.
type spread struct{ least, median, most float64 }

func spreadOf(values []float64) spread {
	slices.SortFunc(values, cmp.Compare)
	return spread{values[0], values[len(values)/2], values[len(values)-1]}
}

// comparison is what a duel says about one figure. ratio is ours by theirs, taken pair by pair.
type comparison struct {
	ours, theirs, ratio spread
}

func (d duel) compare(of func(result) float64) comparison {
	var ours, theirs, ratios []float64
	for _, p := range d.pairs {
		a, b := of(p.ours), of(p.theirs)
		ours, theirs, ratios = append(ours, a), append(theirs, b), append(ratios, a/b)
	}
	return comparison{spreadOf(ours), spreadOf(theirs), spreadOf(ratios)}
}

func (d duel) figure(f figure) comparison {
	return d.compare(func(r result) float64 { return r.figures[f] })
}

// timed is whether the row has to do with time at all.
func (d duel) timed() bool { return d.pairs[0].ours.cpu > 0 }

// cpu is the processor time for each message, ours and theirs; empty where the row has none.
func (d duel) cpu() string {
	if !d.timed() {
		return ""
	}
	c := d.compare(func(r result) float64 { return r.cpu })
	return micros(c.ours.median) + " / " + micros(c.theirs.median)
}

// micros writes processor time with three figures.
func micros(v float64) string {
	if v >= 999.5 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// foreign is the most that something else used of the machine during a kept run.
func (d duel) foreign() float64 {
	most := 0.0
	for _, p := range d.pairs {
		most = max(most, p.ours.foreign, p.theirs.foreign)
	}
	return most
}

// noise is the foreign share, marked where it makes the duel doubtful.
func (d duel) noise() string {
	if !d.timed() {
		return ""
	}
	return fmt.Sprintf("%.0f %%", 100*d.foreign()) + d.doubt()
}

func (d duel) doubt() string {
	if d.foreign() > disturbed {
		return " ✱"
	}
	return ""
}

// note is what our last run remarked.
func (d duel) note() string { return d.pairs[len(d.pairs)-1].ours.note }

// show writes a value of a figure with its unit.
func (r row) show(f figure, v float64) string {
	switch f {
	case memory:
		return fmt.Sprintf("%.1f KB", v)
	case p50, p99:
		switch {
		case v >= 999_500: // what would be written 1e+03 ms
			return fmt.Sprintf("%.3g s", v/1e6)
		case v >= 1000:
			return fmt.Sprintf("%.3g ms", v/1000)
		}
		return fmt.Sprintf("%.0f µs", v)
	}
	switch {
	case v >= 100_000:
		return fmt.Sprintf("%.0fk/s", v/1000)
	case v >= 1000:
		return fmt.Sprintf("%.1fk/s", v/1000)
	}
	return fmt.Sprintf("%.0f/s", v)
}

func (r spread) String() string {
	return fmt.Sprintf("%s× (%s–%s)", factor(r.median), factor(r.least), factor(r.most))
}

// factor writes a ratio with three figures; one far below 1 as a part of it, since who sees that 0.007 is less than 1/140?
func factor(v float64) string {
	switch {
	case v > 0 && v < 0.1:
		return "1/" + factor(1/v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// line is a run in the log.
func (r result) line(in row) string {
	var words []string
	for _, f := range in.figures {
		words = append(words, string(f)+" "+in.show(f, r.figures[f]))
	}
	if r.cpu > 0 {
		words = append(words, fmt.Sprintf("cpu %s µs, generator %.0f %%, foreign %.0f %%", micros(r.cpu), 100*r.generator, 100*r.foreign))
	}
	if r.note != "" {
		words = append(words, r.note)
	}
	return strings.Join(words, ", ")
}
