package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"sensorcast/store"
)

// reach is which server a command speaks to. All commands speak the REST interface; there are three ways to it:
//
//	--url        a server anywhere, with a token or a prompt for name and password
//	--data-dir   the server that works on the directory, through its control socket
//	--data-dir   no server works on it: the command serves the directory to itself for as long as it takes
type reach struct {
	ConfigFile string `name:"config" placeholder:"FILE" help:"The server's YAML file, for its data_dir."`
	DataDir    string `name:"data-dir" default:"./data" placeholder:"DIR" help:"Of the server on this machine, running or not."`
	URL        string `name:"url" placeholder:"URL" help:"A server elsewhere, in place of --data-dir; SENSORCAST_TOKEN holds an access or API token, or there is a prompt."`
	JSON       bool   `name:"json" help:"Print JSON, for scripts."`

	as     string // in whose name, on the server's own machine
	create bool   // a directory that is not there is made
}

// person is reach for what is done in a person's name.
type person struct {
	reach `embed:""`
	As    string `name:"as" placeholder:"USERNAME" help:"In whose name; needed with --data-dir, where nobody signs in."`
}

// AfterApply is called by the parser.
func (p *person) AfterApply() error {
	if p.As != "" && p.URL != "" {
		return errors.New("--as goes with --data-dir: with --url you act as who you signed in as")
	}
	p.as = p.As
	return nil
}

// shieldFlags keeps what the commands are told about one account or sensor from being read out of the environment or the file, where
// SENSORCAST_SILENCE_AFTER, say, is a setting of the server. Only where that is they may know from there.
func shieldFlags(k *kong.Kong) error {
	for _, node := range k.Model.Children {
		if !slices.Contains([]string{"user", "sensor", "audit"}, node.Name) {
			continue
		}
		for _, command := range append(slices.Clone(node.Children), node) {
			for _, flag := range command.Flags {
				if !slices.Contains([]string{"help", "config", "data-dir", "url"}, flag.Name) {
					flag.Envs = []string{"-"}
				}
			}
		}
	}
	return nil
}

// with calls f with a client of the server.
func (r *reach) with(ctx context.Context, f func(*client) error) error {
	if r.URL == "" {
		return r.atHome(ctx, f)
	}
	c, err := newClient(r.URL)
	if err != nil {
		return usageError{err}
	}
	if err := c.login(ctx); err != nil {
		return err
	}
	return f(c)
}

const (
	lockTries    = 50 // while a server starts or stops it holds the directory and does not answer yet
	lockInterval = 100 * time.Millisecond
)

// atHome is with on the server's own machine.
func (r *reach) atHome(ctx context.Context, f func(*client) error) error {
	home := &client{
		base: &url.URL{Scheme: "http", Host: "sensorcast"},
		as:   r.as,
		http: http.Client{Timeout: clientTimeout, Transport: controlTransport(r.DataDir)},
	}
	for try := 1; ; try++ {
		if conn, err := dialControl(ctx, r.DataDir); err == nil {
			conn.Close()
			return f(home)
		}
		if err := r.mayOpen(); err != nil {
			return err
		}
		s, err := openDirectory(r.DataDir)
		if err == nil {
			return errors.Join(f(home), s.stop())
		}
		if !errors.Is(err, store.ErrInUse) {
			return err
		}
		if try == lockTries {
			return fmt.Errorf("%w, which does not answer on its control socket; its log may say why", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockInterval):
		}
	}
}

// mayOpen keeps a slip of the pen from making a database, and root from leaving files that the server cannot open.
func (r *reach) mayOpen() error {
	info, err := os.Stat(r.DataDir)
	if err != nil || !store.Exists(r.DataDir) {
		if r.create {
			return nil
		}
		return fmt.Errorf("there is no server's data in %s: say where it is with --data-dir, or where a server is with --url", r.DataDir)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user: run this as the user the server runs as, or while it runs", r.DataDir)
	}
	return nil
}
