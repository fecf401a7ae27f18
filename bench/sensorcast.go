package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// sensorcast is the product as its users run it.
type sensorcast struct {
	process
	dir        string
	admin      string
	http, mqtt string
	token      string
	secrets    []string
}

func startSensorcast(binary string) (_ server, err error) {
	dir, err := os.MkdirTemp(".", "bench-data-")
	if err != nil {
		return nil, err
	}
	s := &sensorcast{dir: dir}
	s.cmd = exec.Command(binary, "serve", "--data-dir", dir, "--http-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0",
		"--admin-listen", "127.0.0.1:0", "--tickets-per-minute", "0", "--log-level", "info")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var entry struct{ Msg, Listener, Addr string }
		_ = json.Unmarshal(lines.Bytes(), &entry)
		switch {
		case entry.Msg == "listening" && entry.Listener == "http":
			s.http = entry.Addr
		case entry.Msg == "listening" && entry.Listener == "mqtt":
			s.mqtt = entry.Addr
		case entry.Msg == "listening" && entry.Listener == "admin":
			s.admin = entry.Addr
		case entry.Msg == "serving":
			go io.Copy(io.Discard, stderr) // ends with the process
			return s, s.register()
		}
	}
	s.stop()
	return nil, fmt.Errorf("%s did not start", binary)
}

func (s *sensorcast) stop() {
	s.process.stop()
	_ = os.RemoveAll(s.dir)
}

func (s *sensorcast) register() error {
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	err := s.post("auth/register", map[string]string{
		"username": "bench", "email": "bench@example.com", "password": "correct horse battery", "first_name": "B", "last_name": "B",
	}, &grant)
	s.token = grant.AccessToken
	return err
}

func (s *sensorcast) prepare(n int) error {
	for i := len(s.secrets); i < n; i++ {
		var made struct {
			SecretKey string `json:"secret_key"`
		}
		if err := s.post("sensors", map[string]string{"serial_no": serial(i), "name": serial(i)}, &made); err != nil {
			return err
		}
		s.secrets = append(s.secrets, made.SecretKey)
	}
	return nil
}

func serial(i int) string { return fmt.Sprintf("BENCH-%d", i) }

func (s *sensorcast) publisher(i int) (net.Conn, string, error) {
	c, err := dialMQTT(s.mqtt, serial(i), serial(i), s.secrets[i])
	return c, "sensors/" + serial(i) + "/telemetry", err
}

func (s *sensorcast) viewer(i int) (*viewer, error) {
	var ticket struct{ URL string }
	if err := s.post("tickets", map[string]string{"serial_no": serial(i)}, &ticket); err != nil {
		return nil, err
	}
	v, err := dialWebSocket(s.http, ticket.URL, "")
	if err != nil {
		return nil, err
	}
	v.count = func(payload []byte) int {
		if bytes.HasPrefix(payload, []byte(`{"type":"reading"`)) {
			return 1
		}
		return 0
	}
	_, _, err = v.next() // hello
	return v, err
}

func (s *sensorcast) post(path string, body, result any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest("POST", "http://"+s.http+"/api/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.token)
	if s.token == "" {
		req.Header.Del("Authorization")
	}
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("POST %s: %s %s", path, resp.Status, reply)
	}
	return json.Unmarshal(reply, result)
}

// profile has the server write a CPU profile of the next d into a file.
func (s *sensorcast) profile(path string, d time.Duration) error {
	resp, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.admin, max(1, int(d.Seconds()))))
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
