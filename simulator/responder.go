package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// maxCommandBytes is what a simulated sensor reads of a command; a larger one is ignored, as a small device would.
const maxCommandBytes = 4096

// responder is the part of a sensor that obeys commands: it answers each on commands/reply with the command's id and ok. A nil
// responder does nothing. It has no state, so paho may call it from any goroutine.
type responder struct {
	topic   string // sensors/{serial}/commands
	timeout time.Duration
	meter   *meter
}

func newResponder(serial string, timeout time.Duration, m *meter) *responder {
	return &responder{topic: "sensors/" + serial + "/commands", timeout: timeout, meter: m}
}

func (r *responder) handler() mqtt.MessageHandler {
	if r == nil {
		return nil
	}
	return r.answer
}

// subscribe asks for the sensor's commands and waits for SUBACK.
func (r *responder) subscribe(ctx context.Context, l *link) error {
	if r == nil {
		return nil
	}
	token := l.client.Subscribe(r.topic, 1, nil)
	timer := time.NewTimer(r.timeout)
	defer timer.Stop()
	select {
	case <-token.Done():
	case <-timer.C:
		return errors.New("subscribe to commands: no SUBACK in time")
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := token.Error(); err != nil {
		return fmt.Errorf("subscribe to commands: %w", err)
	}
	if t, ok := token.(*mqtt.SubscribeToken); ok && t.Result()[r.topic] > 2 { // 0x80 is a refusal [MQTT-3.9.3-2]
		return fmt.Errorf("subscribe to commands: %w", errRefused)
	}
	return nil
}

// answer runs in a goroutine of paho, which acknowledges the command when it returns. It blocks at most handOverTimeout and leaves the
// reply's own acknowledgement to itself: the server asks again if it needs to.
func (r *responder) answer(client mqtt.Client, m mqtt.Message) {
	var command struct {
		ID string `json:"id"`
	}
	if len(m.Payload()) > maxCommandBytes || json.Unmarshal(m.Payload(), &command) != nil || command.ID == "" {
		return
	}
	reply, err := json.Marshal(map[string]any{"id": command.ID, "ok": true})
	if err != nil {
		return
	}
	r.meter.commands.Add(1)
	client.Publish(r.topic+"/reply", 1, false, reply)
}
