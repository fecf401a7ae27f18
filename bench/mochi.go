package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// allowAll lets everybody do everything.
type allowAll struct{ mqtt.HookBase }

func (allowAll) ID() string                                              { return "allow-all" }
func (allowAll) Provides(b byte) bool                                    { return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck }
func (allowAll) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (allowAll) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

// mochi is the bare broker with default options, everybody let in, nothing stored.
type mochi struct {
	process
	tcp, ws string
	viewers int
}

func startMochi() (server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m := &mochi{}
	m.cmd = exec.Command(self, "-as-mochi")
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		m.stop()
		return nil, fmt.Errorf("bare broker did not start: %w", err)
	}
	m.tcp, m.ws, _ = strings.Cut(strings.TrimSpace(line), " ")
	for range 500 { // it says the address before it listens there
		if c, err := net.Dial("tcp", m.ws); err == nil {
			return m, c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.stop()
	return nil, fmt.Errorf("bare broker does not listen at %s", m.ws)
}

// runMochi is the process behind startMochi. It prints its two addresses and serves until it is told to end.
func runMochi() error {
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := s.AddHook(new(allowAll), nil); err != nil {
		return err
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	if err := s.AddListener(tcp); err != nil {
		return err
	}
	// The WebSocket listener binds only when it serves and cannot say where, so its port is chosen here.
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ws := probe.Addr().String()
	if err := probe.Close(); err != nil {
		return err
	}
	if err := s.AddListener(listeners.NewWebsocket(listeners.Config{ID: "ws", Address: ws})); err != nil {
		return err
	}
	if err := s.Serve(); err != nil {
		return err
	}
	fmt.Println(tcp.Address(), ws)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	<-end
	return nil // the process ends; the broker's own Close can wait for ever
}

func (m *mochi) prepare(int) error { return nil }

func (m *mochi) publisher(i int) (net.Conn, string, error) {
	c, err := dialMQTT(m.tcp, fmt.Sprintf("pub-%d", i), "", "")
	return c, "sensors/" + serial(i) + "/telemetry", err
}

func (m *mochi) viewer(i int) (*viewer, error) {
	m.viewers++
	v, err := dialWebSocket(m.ws, "/", "mqtt")
	if err != nil {
		return nil, err
	}
	v.count = countPublishes
	if err := v.send(connectPacket(fmt.Sprintf("view-%d", m.viewers), "", "")); err != nil {
		return nil, err
	}
	if _, _, err := v.next(); err != nil { // CONNACK
		return nil, err
	}
	if err := v.send(subscribePacket("sensors/" + serial(i) + "/telemetry")); err != nil {
		return nil, err
	}
	_, _, err = v.next() // SUBACK
	return v, err
}
