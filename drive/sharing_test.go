package drive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sensorcast/bridge"
)

// mosquittoSub runs the real tool for a person with a session that is kept, and returns what it printed.
func (p *person) mosquittoSub(args ...string) string {
	p.s.t.Helper()
	ctx, cancel := context.WithTimeout(p.s.t.Context(), 15*time.Second)
	defer cancel()
	args = append([]string{"-h", "127.0.0.1", "-p", p.s.port("mqtt"), "-u", p.name, "-P", p.password, "-c", "-i", "eyes", "-q", "1", "-F", "%t %p"}, args...)
	out, _ := exec.CommandContext(ctx, tool(p.s.t, "mosquitto_sub"), args...).CombinedOutput() // a timeout of its own is an error to it
	return string(out)
}

// TestSharing_OutlivesKills shares a sensor and gives it away with the server killed after each step: what was answered holds, and what was queued
// for a viewer is not the new owner's, although both are the same person.
func TestSharing_OutlivesKills(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	ann, ben := s.register("ann"), s.register("ben")
	again := func() {
		t.Helper()
		s.kill()
		s = serve(t, dir)
		ann.s, ben.s = s, s
	}
	publish := func(secret, payload string) error {
		_, err := s.mosquittoPub("SN1", secret, "sensors/SN1/telemetry", payload, "-q", "1")
		return err
	}
	const path = "/api/v1/sensors/SN1"
	old := ann.sensor("SN1")
	ann.call("PUT", path+"/shares/ben", nil, 200, nil)
	again()
	ben.call("GET", path, nil, 200, nil)
	ben.mosquittoSub("-t", "sensors/+/telemetry", "-E")
	if err := publish(old, `{"past":1}`); err != nil {
		t.Fatal(err)
	}
	var offer struct {
		Code string `json:"claim_code"`
	}
	ann.call("POST", path+"/transfer", nil, 201, &offer)
	again()
	var claimed struct {
		Secret string `json:"secret_key"`
	}
	ben.call("POST", "/api/v1/sensors/claim", map[string]any{"claim_code": offer.Code}, 200, &claimed)
	again()
	ann.call("GET", path, nil, 404, nil)
	ben.call("POST", "/api/v1/sensors/claim", map[string]any{"claim_code": offer.Code}, 404, nil)
	if publish(old, `{"forged":1}`) == nil {
		t.Error("the secret of before is still good")
	}
	if err := publish(claimed.Secret, `{"now":1}`); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(ben.mosquittoSub("-t", "sensors/+/telemetry", "-C", "1", "-W", "5")), `sensors/SN1/telemetry {"now":1}`; got != want {
		t.Errorf("waiting for ben: got %q, want %q", got, want)
	}
	var page struct {
		Items []struct{ Data json.RawMessage }
	}
	ben.call("GET", path+"/readings", nil, 200, &page)
	if len(page.Items) != 1 || string(page.Items[0].Data) != `{"now":1}` {
		t.Errorf("history: got %s, want the reading since", page.Items)
	}
}

// TestSharing_EndHoldsForWhoComesBack takes shares away while their guests leave and come back with resume tokens all the time: from a second after
// the answer on none of them is let in, and nobody sees a reading that was sent after it.
func TestSharing_EndHoldsForWhoComesBack(t *testing.T) {
	const guests, rounds = 10, 5
	s := serve(t, t.TempDir(), "--ticket-ttl", "30s", "--tickets-per-minute", "0")
	ann := s.register("ann")
	secret := ann.sensor("SN1")
	load := s.publisher(t, mqttOfA, "SN1", secret, 5)
	var people []*person
	for i := range guests {
		people = append(people, s.register(fmt.Sprintf("guest-%d", i)))
	}
	for round := range rounds {
		var all sync.WaitGroup
		newest := make([]int64, guests) // when what a guest saw last was sent
		returns := make([]int, guests)
		in := make(chan struct{}, guests)
		for i, guest := range people {
			ann.call("PUT", "/api/v1/sensors/SN1/shares/"+guest.name, nil, 200, nil)
			var ticket struct{ URL string }
			guest.call("POST", "/api/v1/tickets", map[string]any{"serial_no": "SN1"}, 201, &ticket)
			all.Go(func() { newest[i], returns[i] = s.comesBack(t, ticket.URL, in) })
		}
		for range guests {
			<-in
		}
		answered := make([]int64, guests)
		for i, guest := range people {
			ann.call("DELETE", "/api/v1/sensors/SN1/shares/"+guest.name, nil, 204, nil)
			answered[i] = time.Now().UnixMicro()
		}
		ended := time.Now()
		all.Wait()
		if took := time.Since(ended); took > time.Second {
			t.Errorf("round %d: the last guest was out %v after the answer, want within 1s", round, took)
		}
		for i, at := range newest {
			if at > answered[i] {
				t.Errorf("round %d: guest %d saw a reading sent %v after the answer", round, i, time.UnixMicro(at).Sub(time.UnixMicro(answered[i])))
			}
		}
		t.Logf("round %d: they came back %d times", round, returns)
	}
	if len(load.knows()) == 0 || !load.lasts() {
		t.Error("the sensor was disturbed")
	}
}

// comesBack follows the sensor, leaves at once or every fourth time after a reading, and comes back, until it is refused or sent away. It tells in once it has come back, and
// returns when the last reading it saw was sent, and how often it came back.
func (s *instance) comesBack(t *testing.T, path string, in chan<- struct{}) (newest int64, times int) {
	var token string
	cursor := int64(-1)
	defer func() {
		if times < 10 { // and never will
			in <- struct{}{}
		}
	}()
	for {
		ws, resp, err := websocket.DefaultDialer.Dial("ws://"+s.addr["http"]+path, nil)
		if err != nil {
			if resp == nil || resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("coming back: got %v, %v, want 403", resp, err)
			}
			return newest, times
		}
		if times++; times == 10 {
			in <- struct{}{}
		}
		for saw := times%4 > 0; !saw || token == ""; {
			var m bridge.Frame
			if err := ws.ReadJSON(&m); err != nil {
				if closed, ok := errors.AsType[*websocket.CloseError](err); !ok || closed.Code != 4403 {
					t.Errorf("sent away: got %v, want 4403", err)
				}
				return newest, times
			}
			switch m.Type {
			case "hello":
				cursor = max(cursor, m.Seq)
			case "resume":
				token = m.Token
				secrets.add("resume token", token)
			case "reading":
				r, err := measure(m.Data)
				if err != nil {
					t.Error(err)
				}
				saw, newest, cursor = true, max(newest, r.At), m.Seq
			}
		}
		ws.Close()
		path, token = fmt.Sprintf("/ws?resume=%s&since=%d", token, cursor), ""
	}
}
