package drive

import (
	"strings"
	"testing"
	"time"
)

// A publisher over its bytes a second is read no further for a while; nothing is lost, and nobody else waits.
func TestPublishBytes_HoldBackOnePublisherAtEveryDoor(t *testing.T) {
	t.Parallel()
	const rate, size, all = 200_000, 50_000, 8
	s := newSecureStage(t, "--mqtt-publish-bytes", "200000")
	slow, topic := s.newSensor()
	quick, other := s.newSensor()
	atEveryDoor(t, func(t *testing.T, transport string) {
		p := s.enter(t, transport, true, login{role: slow, id: "greedy"})
		bystander := s.enter(t, transport, true, login{role: quick, id: "modest"})
		begin := time.Now()
		for id := range all {
			p.write(p.publication(topic, `"`+strings.Repeat("x", size-2)+`"`, 1, 1+id, 0))
		}
		bystander.publish(other, "1", 1, 1, 0)
		for id := range all {
			p.completed(1, 1+id)
		}
		if least := time.Second * (all*size - rate - 2*size) / rate; time.Since(begin) < least { // a burst, and what was read already
			t.Errorf("%d bytes at %d a second took %v, want at least %v", all*size, rate, time.Since(begin), least)
		}
		p.Close()
	})
	m := s.metrics()
	if m[`mqtt_paced_total{budget="bytes"}`] < 4 || m[`mqtt_paced_total{budget="messages"}`] != 0 {
		t.Errorf("got %v pauses for bytes and %v for messages counted, want at least one at each door and none",
			m[`mqtt_paced_total{budget="bytes"}`], m[`mqtt_paced_total{budget="messages"}`])
	}
	s.nothingRefused()
}
