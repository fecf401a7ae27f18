// Command bench measures Sensorcast side by side with a bare mochi broker on the same machine, with the same load generator: every row
// is run against both in turn, several times, and the ratio is taken pair by pair, so that it holds when the machine's speed drifts.
//
//	go run ./bench -sensorcast bin/sensorcast
//
// Sensorcast runs as its users run it: tickets, access control, history with an fsync before each acknowledgement. The bare broker
// has none of that. Server and generator share the machine, so the figures compare, they do not boast. Traffic stays on loopback and
// every row ends by itself.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	var (
		binary = flag.String("sensorcast", "bin/sensorcast", "the binary to measure")
		length = flag.Duration("length", 3*time.Second, "of one run")
		pairs  = flag.Int("pairs", 3, "runs against each server")
		only   = flag.String("row", "", "run only the row with this name")
		idle   = flag.Int("idle", 5000, "sockets in the memory row")
		prof   = flag.String("profile", "", "folder to write CPU profiles of Sensorcast to, one a row")
		peer   = flag.Bool("as-mochi", false, "be the bare broker; used by the bench itself")
	)
	flag.Parse()
	if *peer {
		exit(runMochi())
	}
	if err := raiseFileLimit(); err != nil {
		exit(err)
	}
	b := &bench{binary: *binary, length: *length, pairs: *pairs, profiles: *prof}
	rows := []row{
		{"1→1", "deliveries/s", b.fanout(1, 1, 64), 1},
		{"1→1000", "deliveries/s", b.fanout(1, 1000, 4), 1},
		{"100→1000", "deliveries/s", b.fanout(100, 1000, 100), 1},
		{"qos1-1", "acks/s", b.ingest(100, 1), 1},
		{"qos1-100", "acks/s", b.ingest(10, 100), 1},
		{"idle", "KB/socket", b.idle(*idle), -1},
	}
	fmt.Printf("%-10s %-13s %22s %22s   %s\n", "row", "figure", "sensorcast", "bare mochi", "ratio (min–max)")
	for _, r := range rows {
		if *only != "" && *only != r.name {
			continue
		}
		if err := b.run(r); err != nil {
			exit(fmt.Errorf("%s: %w", r.name, err))
		}
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
