package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// asMochi is set in the environment of the process that is to be the bare broker; it holds the address for TCP.
const (
	asMochi          = "BENCH_AS_MOCHI"
	asMochiWebSocket = "BENCH_AS_MOCHI_WEBSOCKET"
)

const mochiModule = "github.com/mochi-mqtt/server/v2"

// mochiContender is the library inside Sensorcast as a broker of its own, with default options.
func mochiContender(name, viewers string) contender {
	return contender{
		name: name, viewers: viewers,
		promise: "keeps nothing on disk and has no access control: an acknowledgement means received",
		version: func() (string, error) {
			info, _ := debug.ReadBuildInfo()
			for _, m := range info.Deps {
				if m.Path == mochiModule {
					return "mochi " + m.Version, nil
				}
			}
			return "", errors.New("the build does not say which mochi it holds")
		},
		start: func(ctx context.Context, _ string) (server, error) {
			self, err := os.Executable()
			if err != nil {
				return nil, err
			}
			at, err := freeAddresses(2)
			if err != nil {
				return nil, err
			}
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), asMochi+"="+at[0], asMochiWebSocket+"="+at[1])
			return startBroker(ctx, cmd, "", at[0], at[1], viewers)
		},
	}
}

// allowAll lets everybody do everything.
type allowAll struct{ mqtt.HookBase }

func (allowAll) ID() string                                              { return "allow-all" }
func (allowAll) Provides(b byte) bool                                    { return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck }
func (allowAll) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (allowAll) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

// runMochi is the process behind mochiContender. It serves until it is told to end.
func runMochi(tcp, ws string) error {
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := errors.Join(
		s.AddHook(new(allowAll), nil),
		s.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: tcp})),
		s.AddListener(listeners.NewWebsocket(listeners.Config{ID: "ws", Address: ws})),
	); err != nil {
		return err
	}
	if err := s.Serve(); err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	<-end
	return nil // the process ends; the broker's own Close can wait for ever
}
