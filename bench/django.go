package main

import (
	"context"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// replaced is the peer that Sensorcast takes the place of.
const replaced = "django"

// djangoSlower divides the fixed rates of rows with many viewers, for both sides of its duels: at the full rate it would fall ever further
// behind, and there would be nothing to compare.
const djangoSlower = 20

// djangoApp is a small Channels project. Its sensors publish over a WebSocket, as the replaced system's did (it knew no MQTT), and not with
// a POST for each reading, which would cost Django more. What that system did besides is left out in its favour: no token is checked, and
// a sensor is not in its own group, so it is not sent its own readings.
//
//go:embed django/*.py
var djangoApp embed.FS

// djangoVersions is run to see whether an interpreter has all that is needed.
const djangoVersions = `import platform, channels, daphne, django
print("Channels %s, daphne %s, Django %s, Python %s" % (channels.__version__, daphne.__version__, django.__version__, platform.python_version()))`

// django is Django Channels behind daphne: one process, for its in-memory layer reaches no other.
type django struct {
	process
	addr string
}

// djangoFound is an interpreter and what it has.
type djangoFound struct{ python, versions string }

// findDjango asks Debian's own interpreter too, for which Debian's packages are, though another may come first in PATH.
var findDjango = sync.OnceValues(func() (djangoFound, error) {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if out, err := exec.Command(python, "-c", djangoVersions).Output(); err == nil {
			return djangoFound{python, strings.TrimSpace(string(out))}, nil
		}
	}
	return djangoFound{}, errors.New("channels or daphne is missing for Python; install them with: scripts/need --install python3-django-channels")
})

func djangoContender() contender {
	return contender{
		name: replaced, viewers: "WebSocket", noMQTT: true, slower: djangoSlower,
		promise: "the system replaced, at its best: the in-memory channel layer, sensors on WebSockets of their own instead of POSTs, " +
			"no token, no database; parses each reading and writes it anew for each viewer; drops without a word beyond 100 waiting for one",
		version: func() (string, error) {
			found, err := findDjango()
			return found.versions, err
		},
		start: startDjango,
	}
}

func startDjango(ctx context.Context, dir string) (server, error) {
	found, err := findDjango()
	if err != nil {
		return nil, err
	}
	app, err := fs.Sub(djangoApp, "django")
	if err != nil {
		return nil, err
	}
	at, err := freeAddresses(1)
	if err != nil {
		return nil, err
	}
	if dir, err = os.MkdirTemp(dir, "bench-django-"); err != nil {
		return nil, err
	}
	if err := os.CopyFS(dir, app); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	// Verbosity 0 saves it the access log. An idle socket is idle: no pings, which the generator would not answer.
	cmd := exec.Command(found.python, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", port(at[0]), "--ping-interval", "3600", "asgi:application")
	cmd.Dir = dir
	p, err := launch(cmd, dir)
	if err != nil {
		return nil, err
	}
	d := &django{process: p, addr: at[0]}
	if err := d.ready(ctx, d.answers); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

func (d *django) prepare(context.Context, int) error { return nil }

func (d *django) publisher(i int) (*publisher, error) {
	s, err := d.open(i, "publish")
	if err != nil {
		return nil, err
	}
	return &publisher{socket: s, qos0: djangoPublication()}, nil
}

// viewer is in its group before the upgrade is answered.
func (d *django) viewer(i int) (*viewer, error) {
	s, err := d.open(i, "watch")
	if err != nil {
		return nil, err
	}
	return &viewer{socket: s, reading: isDjangoReading}, nil
}

func (d *django) open(i int, to string) (*socket, error) {
	return dialWebSocket(d.addr, fmt.Sprintf("/sensors/%s/%s", serial(i), to), "", cutFrames)
}

func (d *django) answers() error {
	v, err := d.viewer(0)
	if err != nil {
		return err
	}
	return v.close()
}

func isDjangoReading(opcode byte, _ []byte) bool { return opcode == text }

// djangoPublication is a text frame with a reading in the envelope of the replaced system, and a mask of zero like frame's.
func djangoPublication() publication {
	const before, after = `{"data":`, `}`
	size := len(before) + payloadBytes + len(after)
	b := binary.BigEndian.AppendUint16([]byte{0x80 | text, 0x80 | 126}, uint16(size))
	b = append(append(b, 0, 0, 0, 0), before...)
	at := len(b)
	b = append(append(b, payload()...), after...)
	return publication{bytes: b, payload: b[at : at+payloadBytes]}
}
