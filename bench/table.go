package main

import (
	"fmt"
	"io"
)

const tableLine = "%-8s  %-36s  %-6s  %-13s  %10s  %10s  %-20s  %-15s  %s\n"

func writeTableHead(w io.Writer) {
	fmt.Fprintf(w, tableLine, "row", "what", "figure", "peer", "sensorcast", "peer", "ratio (min–max)", "µs/message", "foreign")
}

// writeTable writes a row's lines: one for each figure and peer.
func writeTable(w io.Writer, duels []duel) {
	for _, d := range duels {
		if d.failed != nil {
			fmt.Fprintf(w, "%-8s  %-36s  failed against %s: %v\n", d.row.letter, d.row.name, d.peer.name, d.failed)
			continue
		}
		for _, f := range d.row.figures {
			c := d.figure(f)
			fmt.Fprintf(w, tableLine, d.row.letter, d.row.name, f, d.peer.name,
				d.row.show(f, c.ours.median), d.row.show(f, c.theirs.median), c.ratio, d.cpu(), d.noise()+" "+d.note())
		}
	}
}
