package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"sensorcast/bridge"
	"sensorcast/telemetry"
)

// watchCommand is `sensorcast watch`: live readings in the terminal through ticket and WebSocket, as a browser gets them.
type watchCommand struct {
	Serials []string `arg:"" name:"serial" help:"Sensors to watch."`
	URL     string   `name:"url" default:"http://127.0.0.1:8080" help:"The server."`
	JSON    bool     `name:"json" help:"Print each frame as it came, one JSON object a line."`
}

// Reconnect delays: full jitter below a bound that doubles, so that many watchers do not come back in step.
const (
	minRetry = 500 * time.Millisecond
	maxRetry = 30 * time.Second
)

// Run prints until the context ends, reconnecting with a fresh ticket whenever the connection is lost.
func (c *watchCommand) Run(ctx context.Context) error {
	api, err := newClient(c.URL)
	if err != nil {
		return err
	}
	if err := api.login(ctx); err != nil {
		return err
	}
	bound := minRetry
	for ctx.Err() == nil {
		opened, err := c.session(ctx, api)
		if ctx.Err() != nil {
			break
		}
		if refused, ok := errors.AsType[*statusError](err); ok && refused.status < 500 && refused.status != 429 {
			return err // asking again would be answered the same
		}
		if opened {
			bound = minRetry
		}
		delay := rand.N(bound)
		bound = min(2*bound, maxRetry)
		fmt.Fprintf(os.Stderr, "%v; connecting again in %s\n", err, delay.Round(100*time.Millisecond))
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
	return nil
}

// session is one connection: ticket, WebSocket, frames until it ends. opened reports whether the handshake succeeded.
func (c *watchCommand) session(ctx context.Context, api *client) (opened bool, err error) {
	var ticket struct {
		URL string `json:"url"`
	}
	if err := api.post(ctx, "tickets", map[string]any{"serial_nos": c.Serials}, &ticket); err != nil {
		return false, fmt.Errorf("get ticket: %w", err)
	}
	target := *api.base
	target.Scheme = map[string]string{"http": "ws", "https": "wss"}[target.Scheme]
	socket, err := bridge.Dial(ctx, target.Scheme+"://"+target.Host+ticket.URL, nil)
	if err != nil {
		return false, err
	}
	defer socket.Close()
	for {
		frame, err := socket.Next(ctx)
		if err != nil {
			return true, err
		}
		c.print(&frame)
	}
}

func (c *watchCommand) print(f *bridge.Frame) {
	if c.JSON {
		fmt.Println(string(f.Raw))
		return
	}
	switch f.Type {
	case "hello":
		for _, s := range f.Sensors {
			if s.Reading != nil {
				fmt.Printf("%s  %-20s %s  (latest)\n", clock(s.Reading.Time), s.SerialNo, s.Reading.Data)
			} else {
				fmt.Fprintf(os.Stderr, "%s: no reading yet\n", s.SerialNo)
			}
		}
	case "reading":
		fmt.Printf("%s  %-20s %s\n", clock(f.Time), f.SerialNo, f.Data)
	case "gap":
		fmt.Fprintf(os.Stderr, "gap: %s (%s)\n", f.SerialNo, f.Reason)
	case "state":
		fmt.Fprintf(os.Stderr, "%s is %s\n", f.SerialNo, f.State)
	case "error":
		fmt.Fprintf(os.Stderr, "%s: %s\n", f.Code, f.Message)
	}
}

// clock shows a frame's time in the terminal's own zone.
func clock(at telemetry.Millis) string { return at.Time().Local().Format("15:04:05.000") }
