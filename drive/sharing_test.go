package drive

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"
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
