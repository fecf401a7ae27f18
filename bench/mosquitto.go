package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mosquittoConfig opens every limit that could make it drop or hold back a message.
const mosquittoConfig = `listener %s 127.0.0.1
listener %s 127.0.0.1
protocol websockets
allow_anonymous true
persistence false
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
sys_interval 0
connection_messages false
log_type error
log_dest stderr
`

func mosquittoContender(name, viewers string) contender {
	return contender{
		name: name, viewers: viewers,
		promise: "keeps messages in memory and is asked for no access control: an acknowledgement means received",
		version: func() (string, error) {
			path, err := findMosquitto()
			if err != nil {
				return "", err
			}
			help, _ := exec.Command(path, "-h").Output() // exits with an error, having helped
			line, _, _ := strings.Cut(string(help), "\n")
			return strings.Replace(line, " version", "", 1), nil
		},
		start: func(ctx context.Context, dir string) (server, error) {
			path, err := findMosquitto()
			if err != nil {
				return nil, err
			}
			if dir, err = os.MkdirTemp(dir, "bench-mosquitto-"); err != nil {
				return nil, err
			}
			at, err := freeAddresses(2)
			if err != nil {
				return nil, errors.Join(err, os.RemoveAll(dir))
			}
			config := filepath.Join(dir, "mosquitto.conf")
			if err := os.WriteFile(config, fmt.Appendf(nil, mosquittoConfig, port(at[0]), port(at[1])), 0o600); err != nil {
				return nil, errors.Join(err, os.RemoveAll(dir))
			}
			return startBroker(ctx, exec.Command(path, "-c", config), dir, at[0], at[1], viewers)
		},
	}
}

// findMosquitto looks where Debian puts it, too: /usr/sbin is not in everybody's PATH.
func findMosquitto() (string, error) {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("mosquitto is missing; install it with: scripts/need --install mosquitto")
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}
