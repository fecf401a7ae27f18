package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// natsConfig has a file store for JetStream, through which NATS acknowledges QoS 1.
const natsConfig = `server_name: bench
listen: "%s"
jetstream { store_dir: "%s" }
mqtt { listen: "%s", max_ack_pending: 65535 }
websocket { listen: "%s", no_tls: true }
`

// findNATS has the go command build the pinned server into its cache, and returns where it is.
var findNATS = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("go", "tool", "-modfile=tools/go.mod", "-n", "nats-server")
	said := new(tail)
	cmd.Stderr = said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("nats-server is missing (%w: %s); from the project's folder, fetch it with: go mod download -modfile=tools/go.mod", err, said)
	}
	return strings.TrimSpace(string(out)), nil
})

func natsContender(name, viewers string) contender {
	return contender{
		name: name, viewers: viewers,
		promise: "acknowledges QoS 1 through JetStream, which keeps a message only while a QoS 1 subscription wants it (here none does, so nothing " +
			"is written) and syncs files every two minutes by default; is asked for no access control",
		version: func() (string, error) {
			path, err := findNATS()
			if err != nil {
				return "", err
			}
			out, err := exec.Command(path, "--version").Output()
			return strings.Replace(strings.TrimSpace(string(out)), ": v", " ", 1), err
		},
		start: func(ctx context.Context, dir string) (server, error) {
			path, err := findNATS()
			if err != nil {
				return nil, err
			}
			if dir, err = os.MkdirTemp(dir, "bench-nats-"); err != nil {
				return nil, err
			}
			at, err := freeAddresses(3)
			if err != nil {
				return nil, errors.Join(err, os.RemoveAll(dir))
			}
			config := filepath.Join(dir, "nats.conf")
			text := fmt.Appendf(nil, natsConfig, at[0], filepath.Join(dir, "jetstream"), at[1], at[2])
			if err := os.WriteFile(config, text, 0o600); err != nil {
				return nil, errors.Join(err, os.RemoveAll(dir))
			}
			return startBroker(ctx, exec.Command(path, "-c", config), dir, at[1], at[2], viewers)
		},
	}
}
