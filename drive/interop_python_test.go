package drive

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// pythonPaho drives Python's paho-mqtt by way of testdata/interop/client.py, one process for all its connections.
type pythonPaho struct {
	in io.Writer

	mu    sync.Mutex
	links map[int]*pythonLink // guarded by mu
}

type pythonLink struct {
	driver  *pythonPaho
	options connectOptions
	number  int
	answers chan pythonAnswer
	got     chan message
	session bool
	once    sync.Once
}

// pythonAnswer is a line of the process.
type pythonAnswer struct {
	Link    int
	Done    bool
	Present bool
	Error   string
	Message *message
}

// pythonWithPaho finds an interpreter that knows paho-mqtt: the first on the path may be none of the distribution's.
func pythonWithPaho(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import paho.mqtt.client").Run() == nil {
			return python
		}
	}
	t.Fatal("Python's paho-mqtt is missing; install it with: sudo apt-get install python3-paho-mqtt")
	return ""
}

func pythonDriver(t *testing.T) driver {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), pythonWithPaho(t), "-W", "ignore", filepath.Join("testdata", "interop", "client.py"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said := new(safeBuffer)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &pythonPaho{in: in, links: map[int]*pythonLink{}}
	ended := make(chan struct{})
	go func() { // ends with the process
		defer close(ended)
		p.read(out)
	}()
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill() // its clients are done, and may be left in the middle of something
		<-ended
		_ = cmd.Wait()
		if t.Failed() && said.String() != "" {
			t.Logf("client.py said:\n%s", said)
		}
	})
	return p
}

func (p *pythonPaho) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var a pythonAnswer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			continue
		}
		p.mu.Lock()
		l := p.links[a.Link]
		p.mu.Unlock()
		switch {
		case l == nil:
		case a.Message != nil:
			l.got <- *a.Message
		default:
			l.answers <- a
		}
	}
}

func (p *pythonPaho) connect(t *testing.T, o connectOptions) (link, error) {
	p.mu.Lock()
	l := &pythonLink{driver: p, options: o, number: len(p.links) + 1, answers: make(chan pythonAnswer, 1), got: make(chan message, 100)}
	p.links[l.number] = l
	p.mu.Unlock()
	port, err := strconv.Atoi(o.door.port)
	if err != nil {
		return nil, err
	}
	a, err := l.ask("connect", map[string]any{
		"host": o.door.host, "port": port, "transport": o.door.transport, "ca": o.door.ca, "user": o.user, "password": o.password, "id": o.id,
		"clean": o.clean(), "expiry": int(o.keep.Seconds()), "will": o.will, "filters": append([]filter{}, o.filters...),
	})
	if err != nil {
		return nil, err
	}
	l.session = a.Present
	t.Cleanup(l.close)
	return l, nil
}

// ask makes one request and waits for its answer.
func (l *pythonLink) ask(what string, more map[string]any) (pythonAnswer, error) {
	request := map[string]any{"do": what, "link": l.number, "version": l.options.version}
	for k, v := range more {
		request[k] = v
	}
	line, err := json.Marshal(request)
	if err != nil {
		return pythonAnswer{}, err
	}
	l.driver.mu.Lock()
	_, err = fmt.Fprintf(l.driver.in, "%s\n", line)
	l.driver.mu.Unlock()
	if err != nil {
		return pythonAnswer{}, err
	}
	select {
	case a := <-l.answers:
		if a.Error != "" {
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-time.After(2 * patience):
		return pythonAnswer{}, errNotInTime
	}
}

func (l *pythonLink) publish(m message) error {
	_, err := l.ask("publish", map[string]any{"message": m})
	return err
}

func (l *pythonLink) messages() <-chan message  { return l.got }
func (l *pythonLink) present() (is, known bool) { return l.session, true }
func (l *pythonLink) close()                    { l.once.Do(func() { _, _ = l.ask("close", nil) }) }
func (l *pythonLink) kill()                     { l.once.Do(func() { _, _ = l.ask("kill", nil) }) }

// within waits for the outcome of what was begun.
func within(outcome <-chan error) error {
	select {
	case err := <-outcome:
		return err
	case <-time.After(patience):
		return errNotInTime
	}
}
