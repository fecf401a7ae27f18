package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"sensorcast/bridge"
	"sensorcast/telemetry"
)

// watchCommand is `sensorcast watch`: live readings in the terminal through ticket and WebSocket, as a browser gets them.
type watchCommand struct {
	Serials []string `arg:"" name:"serial" help:"Sensors to watch."`
	URL     string   `name:"url" default:"http://127.0.0.1:8080" help:"The server."`
	JSON    bool     `name:"json" help:"Print each frame as it came, one JSON object a line."`

	token string // to come back with, once
	epoch string // of the last hello; empty: there was none
	seq   int64  // all up to it has been printed
}

// Reconnect delays: full jitter below a bound that doubles, so that many watchers do not come back in step.
const (
	minRetry = 500 * time.Millisecond
	maxRetry = 30 * time.Second
)

// Run prints until the context ends, coming back where it left off whenever the connection is lost.
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

// session is one connection: its frames until it ends. opened reports whether the handshake succeeded.
func (c *watchCommand) session(ctx context.Context, api *client) (opened bool, err error) {
	socket, err := c.open(ctx, api)
	if err != nil {
		return false, err
	}
	defer socket.Close()
	for {
		frame, err := socket.Next(ctx)
		if err != nil {
			return true, err
		}
		switch frame.Type {
		case "resume":
			c.token = frame.Token
			continue // a secret, and of no interest
		case "hello":
			c.epoch, c.seq = frame.Epoch, frame.Seq
		case "reading":
			c.seq = frame.Seq
		}
		c.print(&frame)
	}
}

// open connects with the token of the connection before, or with a ticket.
func (c *watchCommand) open(ctx context.Context, api *client) (*bridge.Client, error) {
	from := ""
	if c.epoch != "" {
		from = "&" + url.Values{"epoch": {c.epoch}, "since": {strconv.FormatInt(c.seq, 10)}}.Encode()
	}
	target := *api.base
	target.Scheme = map[string]string{"http": "ws", "https": "wss"}[target.Scheme]
	address := target.Scheme + "://" + target.Host
	if c.token != "" {
		socket, err := bridge.Dial(ctx, address+"/ws?resume="+c.token+from, nil)
		if refused, ok := errors.AsType[*bridge.Refused](err); !ok || refused.Status != http.StatusUnauthorized {
			return socket, err
		}
		c.token = "" // used or too old
	}
	var ticket struct {
		URL string `json:"url"`
	}
	if err := api.post(ctx, "tickets", map[string]any{"serial_nos": c.Serials}, &ticket); err != nil {
		return nil, fmt.Errorf("get ticket: %w", err)
	}
	return bridge.Dial(ctx, address+ticket.URL+from, nil)
}

func (c *watchCommand) print(f *bridge.Frame) {
	if c.JSON {
		fmt.Println(string(f.Raw))
		return
	}
	switch f.Type {
	case "hello":
		for _, s := range f.Sensors {
			switch {
			case f.Resumed: // what was missed follows
			case s.Reading != nil:
				fmt.Printf("%s  %-20s %s  (latest)\n", clock(s.Reading.Time), s.SerialNo, s.Reading.Data)
			default:
				fmt.Fprintf(os.Stderr, "%s: no reading yet\n", s.SerialNo)
			}
		}
	case "reading":
		fmt.Printf("%s  %-20s %s\n", clock(f.Time), f.SerialNo, f.Data)
	case "gap":
		fmt.Fprintf(os.Stderr, "gap: %s (%s)\n", cmp.Or(f.SerialNo, "all sensors"), f.Reason)
	case "state":
		fmt.Fprintf(os.Stderr, "%s is %s\n", f.SerialNo, f.State)
	case "error":
		fmt.Fprintf(os.Stderr, "%s: %s\n", f.Code, f.Message)
	}
}

// clock shows a frame's time in the terminal's own zone.
func clock(at telemetry.Millis) string { return at.Time().Local().Format("15:04:05.000") }
