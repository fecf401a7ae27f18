// Command sensorcast is the whole product in one binary: MQTT in, authorised live readings out to the browser.
//
// main parses and dispatches; serve.go wires the parts together and is the architecture diagram in code; every other file here is one
// sub-command or one concern of the process (configuration, logging, metrics, start and stop).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the Makefile through -ldflags "-X main.version=…".
var version = ""

// commands is the command line. Each field's Run method carries the sub-command out.
type commands struct {
	Serve    serveCommand    `cmd:"" help:"Run the server."`
	Demo     demoCommand     `cmd:"" help:"Run a server on loopback with a demo account and a simulated fleet."`
	Simulate simulateCommand `cmd:"" help:"Run a seeded fleet of MQTT sensors against any broker."`
	Watch    watchCommand    `cmd:"" help:"Show live readings in the terminal, the way a browser gets them."`
	User     userCommand     `cmd:"" help:"Accounts."`
	Sensor   sensorCommand   `cmd:"" help:"The registry of sensors."`
	Audit    auditCommand    `cmd:"" help:"List who did what."`
	Config   configCommand   `cmd:"" help:"Check or print the configuration."`
	OpenAPI  openapiCommand  `cmd:"" name:"openapi" help:"Print the OpenAPI description of the REST interface."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is main without os.Exit, so that what is deferred runs.
func run(args []string) int {
	var cli commands
	file := &configFile{}
	parser := kong.Must(&cli,
		kong.Name("sensorcast"),
		kong.Description("MQTT in, authorised live readings out to the browser."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.PostBuild(shieldFlags),
		kong.PostBuild(showExamples),
		kong.DefaultEnvars("SENSORCAST"),
		kong.Resolvers(file),
		kong.Vars{"version": versionString()},
	)
	// The file must be known before the parser resolves flags from it, and its own path is a flag.
	if err := file.load(configPath(args)); err != nil {
		return fail(err)
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		return fail(usageError{err})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	kctx.BindTo(ctx, (*context.Context)(nil))
	kctx.Bind(parser)
	if err := kctx.Run(); err != nil {
		return fail(err)
	}
	return 0
}

// fail prints one clear line and returns the exit status: 2 for a command line that cannot be carried out, 1 for what went wrong.
func fail(err error) int {
	fmt.Fprintln(os.Stderr, "sensorcast:", err)
	if _, misused := errors.AsType[usageError](err); misused {
		return 2
	}
	return 1
}

// versionString is the version the binary was built as, or the one its module was fetched at.
func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

type versionCommand struct{}

// Run prints the version and what it was built with.
func (versionCommand) Run() error {
	goversion := "unknown Go"
	if info, ok := debug.ReadBuildInfo(); ok {
		goversion = info.GoVersion
	}
	fmt.Printf("sensorcast %s (%s)\n", versionString(), goversion)
	return nil
}
