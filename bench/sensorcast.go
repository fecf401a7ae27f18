package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

// sensorcast is the product as its users run it.
type sensorcast struct {
	process
	binary            string
	http, mqtt, admin string
	client            client
	secrets           []string
	audited           [2]int64 // accepted and shed at the last audit
}

func sensorcastContender(binary string) contender {
	return contender{
		name: "sensorcast", viewers: "WebSocket with a single-use ticket each",
		promise: "commits to SQLite with an fsync before it acknowledges QoS 1; at QoS 0 and overload stores the newest of each sensor and counts " +
			"the rest as shed; every sensor has its own secret and topic, every viewer its own ticket",
		version: func() (string, error) {
			out, err := exec.Command(binary, "version").Output()
			return strings.TrimSpace(string(out)), err
		},
		start: func(ctx context.Context, dir string) (server, error) {
			dir, err := os.MkdirTemp(dir, "bench-sensorcast-")
			if err != nil {
				return nil, err
			}
			s := &sensorcast{binary: binary, process: process{dir: dir}}
			s.client.http.Transport = &http.Transport{MaxIdleConnsPerHost: atOnce}
			if err := s.serve(ctx); err != nil {
				return nil, errors.Join(err, s.clean())
			}
			if err := s.client.register(ctx); err != nil {
				s.stop()
				return nil, err
			}
			return s, nil
		},
	}
}

// serve starts the server on its folder, and leaves nothing running where that fails.
func (s *sensorcast) serve(ctx context.Context) error {
	cmd := exec.Command(s.binary, "serve", "--data-dir", s.dir, "--http-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0",
		"--admin-listen", "127.0.0.1:0", "--tickets-per-minute", "0", "--log-level", "info")
	log, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stderr = w
	p, err := launch(cmd, s.dir)
	if err := errors.Join(err, w.Close()); err != nil {
		return errors.Join(err, log.Close())
	}
	s.process = p
	stop := context.AfterFunc(ctx, s.end)
	defer stop()
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var entry struct{ Msg, Listener, Addr string }
		_ = json.Unmarshal(lines.Bytes(), &entry) // what is no JSON is no such entry
		switch {
		case entry.Msg == "listening":
			for listener, addr := range map[string]*string{"http": &s.http, "mqtt": &s.mqtt, "admin": &s.admin} {
				if entry.Listener == listener {
					*addr = entry.Addr
				}
			}
		case entry.Msg == "serving":
			go func() { _, _ = io.Copy(io.Discard, log); log.Close() }() // ends with the process
			s.client.base = "http://" + s.http + "/api/v1/"
			return nil
		}
		fmt.Fprintln(s.tail, lines.Text())
	}
	s.end()
	return errors.Join(fmt.Errorf("%s did not start: %s", s.binary, s.tail), log.Close())
}

// prepare registers the sensors and starts the server anew: what thousands of requests left in its heap would else serve the sockets of
// the memory rows for nothing.
func (s *sensorcast) prepare(ctx context.Context, n int) error {
	known := len(s.secrets)
	s.secrets = append(s.secrets, make([]string, max(0, n-known))...)
	err := each(ctx, "sensor", len(s.secrets)-known, func(i int) error {
		var made struct {
			SecretKey string `json:"secret_key"`
		}
		err := s.client.post(ctx, "sensors", map[string]string{"serial_no": serial(known + i), "name": serial(known + i)}, &made)
		s.secrets[known+i] = made.SecretKey
		return err
	})
	if err != nil {
		return err
	}
	s.end()
	return s.serve(ctx)
}

func serial(i int) string { return fmt.Sprintf("BENCH-%d", i) }

func (s *sensorcast) publisher(i int) (*publisher, error) {
	return dialMQTT(s.mqtt, serial(i), serial(i), s.secrets[i], topicOf(i))
}

func (s *sensorcast) viewer(i int) (*viewer, error) {
	var ticket struct{ URL string }
	if err := s.client.post(context.Background(), "tickets", map[string]string{"serial_no": serial(i)}, &ticket); err != nil {
		return nil, err
	}
	v, err := dialWebSocket(s.http, ticket.URL, "", cutFrames)
	if err != nil {
		return nil, err
	}
	if _, err := v.await(text); err != nil { // hello
		return nil, errors.Join(err, v.close())
	}
	return &viewer{socket: v, reading: isReading}, nil
}

func isReading(opcode byte, body []byte) bool {
	const start = `{"type":"reading"`
	return opcode == text && len(body) > len(start) && string(body[:len(start)]) == start
}

// audit is what the metrics say of readings since the last audit.
func (s *sensorcast) audit() (accepted, shed int64, err error) {
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	totals := map[string]*int64{`sensorcast_readings_accepted_total{via="mqtt"}`: &accepted, `sensorcast_readings_shed_total`: &shed}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if total, wanted := totals[name]; wanted {
			var v float64 // large counters come in exponent form
			if _, err := fmt.Sscan(value, &v); err != nil {
				return 0, 0, fmt.Errorf("metric %s: %w", name, err)
			}
			*total = int64(v)
			delete(totals, name)
		}
	}
	if len(totals) > 0 {
		return 0, 0, errors.New("the metrics do not say what became of the readings")
	}
	last := s.audited
	s.audited = [2]int64{accepted, shed}
	return accepted - last[0], shed - last[1], nil
}

// profile has the server write a CPU profile of the next seconds into a file.
func (s *sensorcast) profile(path string, seconds int) error {
	resp, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.admin, seconds))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}
