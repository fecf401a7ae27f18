// Command bench measures Sensorcast side by side with its peers on one machine, with one load generator: every row is run against
// Sensorcast and a peer in turn, several times, and the ratio is taken pair by pair, so that it holds when the machine's speed drifts.
//
//	go run ./bench -sensorcast bin/sensorcast -peers mochi,mosquitto,nats,django
//
// Sensorcast runs as its users run it: tickets, access control, history with an fsync before each acknowledgement. Its peers have none
// of that. Servers and generator share the machine, so the figures compare, they do not boast. A run that loses a message fails.
//
// Traffic stays on loopback, every row ends by itself, every server is ended by its process and its folder removed, on an interrupt too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if tcp := os.Getenv(asMochi); tcp != "" {
		exit(runMochi(tcp, os.Getenv(asMochiWebSocket)))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends at once
	exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func exit(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted; its servers are ended and their folders removed")
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// options are the flags.
type options struct {
	binary, peers, rows, out, dir, profiles string
	length                                  time.Duration
	pairs, idle                             int
	quick                                   bool
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.binary, "sensorcast", "bin/sensorcast", "the binary to measure")
	f.StringVar(&o.peers, "peers", "mochi,mosquitto,nats,django", "whom to measure it beside; also mochi-tcp, mosquitto-tcp, nats-tcp, whose viewers use no WebSocket")
	f.StringVar(&o.rows, "rows", "", "run only these, by their letters: A,B,K-viewer")
	f.StringVar(&o.out, "out", "", "write the page here (docs/performance.md), and its plot beside it")
	f.StringVar(&o.dir, "dir", ".", "where servers may make folders; should be on a real disk, for fsync is part of what is measured")
	f.StringVar(&o.profiles, "profile", "", "folder to write CPU profiles of Sensorcast to, one a row")
	f.DurationVar(&o.length, "length", 2*time.Second, "of one run")
	f.IntVar(&o.pairs, "pairs", 3, "runs of each side; half as many of memory")
	f.IntVar(&o.idle, "idle", 5000, "sockets in the memory rows")
	f.BoolVar(&o.quick, "quick", false, "a smoke run: one pair, one second, few idle sockets; its figures mean nothing")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.length, o.pairs, o.idle = time.Second, 1, 200
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.length < 100*time.Millisecond || o.length > time.Minute:
		return o, errors.New("-length must lie between 100ms and 1m")
	case o.pairs < 1 || o.pairs > 20:
		return o, errors.New("-pairs must lie between 1 and 20")
	case o.idle < 1 || o.idle > 15000:
		return o, errors.New("-idle must lie between 1 and 15000")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if err := raiseFileLimit(); err != nil {
		return err
	}
	debug.SetGCPercent(400) // the generator should not collect in the middle of a burst
	known := contenders(o.binary)
	peers, err := choose(o.peers, known[1:], func(c contender) string { return c.name })
	if err != nil {
		return fmt.Errorf("-peers: %w", err)
	}
	chosen := rows(o.idle)
	if o.rows != "" {
		if chosen, err = choose(o.rows, chosen, func(r row) string { return r.letter }); err != nil {
			return fmt.Errorf("-rows: %w", err)
		}
	}
	// Asked first, so that what is missing is told before an hour has gone by.
	where, err := settingOf(o, append([]contender{known[0]}, peers...))
	if err != nil {
		return err
	}
	b := &bench{ours: known[0], peers: peers, length: o.length, pairs: o.pairs, tries: 2, dir: o.dir, profiles: o.profiles, log: stderr}
	if o.quick {
		b.tries = 1
	}
	all := report{setting: where}
	b.plan(chosen)
	writeTableHead(stdout)
	for _, r := range chosen {
		duels, err := b.run(ctx, r)
		if err != nil {
			return err
		}
		writeTable(stdout, duels)
		all.duels = append(all.duels, duels...)
	}
	all.setting.Took = time.Since(b.progress.began).Round(time.Minute)
	if o.out != "" {
		if err := all.write(o.out); err != nil {
			return err
		}
	}
	return all.failures()
}

// choose picks by name, in the order asked for.
func choose[T any](names string, from []T, name func(T) string) (chosen []T, err error) {
	var known []string
	for _, f := range from {
		known = append(known, name(f))
	}
	for _, n := range strings.Split(names, ",") {
		i := slices.Index(known, strings.TrimSpace(n))
		if i < 0 {
			return nil, fmt.Errorf("%q is none of %s", n, strings.Join(known, ", "))
		}
		chosen = append(chosen, from[i])
	}
	return chosen, nil
}
