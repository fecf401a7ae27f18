package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// result is one run's figure, with latencies where the row has them.
type result struct {
	figure   float64
	p50, p99 time.Duration
}

// row is one comparison. better is 1 where more is better, -1 where less is.
type row struct {
	name, unit string
	measure    func(server) (result, error)
	better     int
}

type bench struct {
	binary string
	length time.Duration
	pairs  int

	profiles string // folder for CPU profiles of Sensorcast; empty: none
}

// run measures a row against both servers in turn and prints medians and ratios.
func (b *bench) run(r row) error {
	var ours, theirs []result
	var ratios []float64
	for range b.pairs {
		a, err := b.measure(r, func() (server, error) { return startSensorcast(b.binary) })
		if err != nil {
			return fmt.Errorf("sensorcast: %w", err)
		}
		m, err := b.measure(r, func() (server, error) { return startMochi() })
		if err != nil {
			return fmt.Errorf("bare mochi: %w", err)
		}
		ours, theirs = append(ours, a), append(theirs, m)
		ratios = append(ratios, a.figure/m.figure)
	}
	slices.Sort(ratios)
	fmt.Printf("%-10s %-13s %22s %22s   %.2f× (%.2f–%.2f)\n", r.name, r.unit, show(ours), show(theirs),
		ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
	return nil
}

// measure starts a fresh server for one run.
func (b *bench) measure(r row, start func() (server, error)) (result, error) {
	s, err := start()
	if err != nil {
		return result{}, err
	}
	defer s.stop()
	if ours, ok := s.(*sensorcast); ok && b.profiles != "" {
		path := filepath.Join(b.profiles, r.name+".prof")
		time.AfterFunc(2*b.length/3, func() {
			if err := ours.profile(path, b.length); err != nil {
				fmt.Fprintln(os.Stderr, "bench: profile:", err)
			}
		})
	}
	return r.measure(s)
}

// show prints the median figure, and the median latencies where there are any.
func show(runs []result) string {
	slices.SortFunc(runs, func(a, b result) int { return int(a.figure*100) - int(b.figure*100) })
	m := runs[len(runs)/2]
	text := fmt.Sprintf("%.0f", m.figure)
	if m.figure < 100 {
		text = fmt.Sprintf("%.1f", m.figure)
	}
	if m.p99 > 0 {
		text += fmt.Sprintf(" %s/%s", short(m.p50), short(m.p99))
	}
	return text
}

func short(d time.Duration) string {
	if d < time.Millisecond {
		return fmt.Sprintf("%dµs", d.Microseconds())
	}
	return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
}
