package drive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mosquitto drives mosquitto_sub, one process for each connection, and mosquitto_pub, one for each message.
type mosquitto struct{}

func mosquittoDriver(*testing.T) driver { return mosquitto{} }

// mosquittoLink is a mosquitto_sub, or nothing yet where the connection is to publish only.
type mosquittoLink struct {
	t        *testing.T
	options  connectOptions
	cmd      *exec.Cmd
	got      chan message
	standing chan error
	once     sync.Once
}

// mosquittoFields is how mosquitto_sub is told to print what it receives; a tab is in none of them.
const mosquittoFields = "\t%t\t%q\t%r\t%S\t%E\t%C\t%R\t%P\t%p"

// partsWithWill: a mosquitto_sub of v5 that is interrupted sends DISCONNECT with 0x04.
func (mosquitto) partsWithWill(version int) bool { return version == 5 }

func (mosquitto) connect(t *testing.T, o connectOptions) (link, error) {
	l := &mosquittoLink{t: t, options: o, got: make(chan message, 100), standing: make(chan error, 1)}
	if len(o.filters) == 0 && o.will == nil && o.keep == 0 {
		close(l.got)
		return l, nil
	}
	args := l.arguments(o.id)
	for _, f := range o.filters {
		args = append(args, "-t", f.Filter, "-q", strconv.Itoa(int(f.QoS)))
		if f.Identifier > 0 {
			args = append(args, "-D", "subscribe", "subscription-identifier", strconv.Itoa(f.Identifier))
		}
	}
	if len(o.filters) == 0 { // it insists on subscribing: to a topic that says nothing
		args = append(args, "-t", o.quiet, "-q", "2")
	}
	l.cmd = exec.CommandContext(t.Context(), "stdbuf", append([]string{"-oL", tool(t, "mosquitto_sub")}, append(args, "-d", "-F", mosquittoFields)...)...)
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.cmd.Stderr = l.cmd.Stdout
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing is left of a test that was cut off
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	go l.read(out) // ends with the process
	t.Cleanup(l.close)
	return l, within(l.standing)
}

// arguments are those of either tool.
func (l *mosquittoLink) arguments(id string) []string {
	o := l.options
	args := []string{"-h", o.door.host, "-p", o.door.port, "-u", o.user, "-P", o.password, "-i", id, "-V", map[int]string{4: "mqttv311", 5: "mqttv5"}[o.version]}
	if o.door.transport == "tls" {
		args = append(args, "--cafile", o.door.ca)
	}
	if !o.clean() {
		args = append(args, "-c")
	}
	if o.keep > 0 && o.version == 5 {
		args = append(args, "-x", strconv.Itoa(int(o.keep.Seconds())))
	}
	if w := o.will; w != nil {
		args = append(args, "--will-topic", w.Topic, "--will-payload", w.Payload, "--will-qos", strconv.Itoa(int(w.QoS)))
		if w.Delay > 0 {
			args = append(args, "-D", "will", "will-delay-interval", strconv.Itoa(int(w.Delay)))
		}
	}
	return args
}

func (l *mosquittoLink) read(out io.Reader) {
	defer close(l.got)
	told := false
	tell := func(err error) {
		if !told {
			told = true
			l.standing <- err
		}
	}
	granted, said := 0, ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		fields := strings.Split(line, "\t")
		switch {
		case len(fields) == 10:
			l.got <- mosquittoMessage(fields[1:])
		case strings.HasPrefix(line, "Subscribed (mid"):
			for _, code := range strings.Split(line[strings.Index(line, "): ")+3:], ",") {
				if n, err := strconv.Atoi(strings.TrimSpace(code)); err != nil || n > 2 {
					tell(fmt.Errorf("subscription refused: %s", line))
				}
				if granted++; granted == max(1, len(l.options.filters)) {
					tell(nil)
				}
			}
		default:
			said += line + "\n"
		}
	}
	tell(errors.New("mosquitto_sub ended: " + said))
}

func mosquittoMessage(f []string) message {
	qos, _ := strconv.Atoi(f[1])
	expiry, _ := strconv.Atoi(f[4])
	m := message{Topic: f[0], QoS: byte(qos), Retain: f[2] == "1", Expiry: uint32(expiry), ContentType: f[5], Response: f[6], Payload: f[8]}
	if id, err := strconv.Atoi(f[3]); err == nil && id > 0 {
		m.Identifiers = []int{id}
	}
	for _, pair := range strings.Fields(f[7]) {
		key, value, _ := strings.Cut(pair, ":")
		m.User = append(m.User, [2]string{key, value})
	}
	return m
}

func (l *mosquittoLink) publish(m message) error {
	o := l.options
	l.options.will, l.options.keep = nil, 0
	args := append(l.arguments(o.id+"-pub"), "-t", m.Topic, "-q", strconv.Itoa(int(m.QoS)))
	l.options = o
	if m.Retain {
		args = append(args, "-r")
	}
	if m.Payload == "" {
		args = append(args, "-n")
	} else {
		args = append(args, "-m", m.Payload)
	}
	for name, value := range map[string]string{"content-type": m.ContentType, "response-topic": m.Response} {
		if value != "" {
			args = append(args, "-D", "publish", name, value)
		}
	}
	for _, pair := range m.User {
		args = append(args, "-D", "publish", "user-property", pair[0], pair[1])
	}
	if m.Expiry > 0 {
		args = append(args, "-D", "publish", "message-expiry-interval", strconv.Itoa(int(m.Expiry)))
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, tool(l.t, "mosquitto_pub"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("mosquitto_pub: %w: %s", err, out)
	}
	return nil
}

func (l *mosquittoLink) messages() <-chan message  { return l.got }
func (l *mosquittoLink) present() (is, known bool) { return false, false } // it does not say
func (l *mosquittoLink) close()                    { l.end(os.Interrupt) } // on which it sends DISCONNECT
func (l *mosquittoLink) kill()                     { l.end(os.Kill) }

// end signals the tool, and kills one that does not go: its signal handler takes locks that it may hold already.
func (l *mosquittoLink) end(how os.Signal) {
	l.once.Do(func() {
		if l.cmd == nil {
			return
		}
		_ = l.cmd.Process.Signal(how) // it may have ended by itself
		stuck := time.AfterFunc(2*time.Second, func() { _ = l.cmd.Process.Kill() })
		defer stuck.Stop()
		for range l.got { // so that the reader comes to the end
		}
		_ = l.cmd.Wait()
	})
}
