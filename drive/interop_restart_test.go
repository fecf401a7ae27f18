package drive

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Sessions, what is queued in them, and what is retained outlive the process.
func TestInterop_SessionsOutliveAKilledServer(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := serve(t, data)
	ann := s.register("ann")
	type stay struct {
		*cast
		back connectOptions
		qos  byte
		want []string
	}
	stays := map[string]*stay{}
	for _, d := range []struct {
		name    string
		driver  driver
		version int
	}{
		{"mosquitto", mosquittoDriver(t), 4}, {"mosquitto", mosquittoDriver(t), 5}, {"pahogolang", pahoDriver(t), 4},
		{"pahopython", pythonDriver(t), 4}, {"pahopython", pythonDriver(t), 5},
	} {
		for qos := byte(1); qos <= 2; qos++ {
			name := fmt.Sprintf("SN-%s-v%d-qos%d", d.name, d.version, qos)
			c := &cast{d.driver, d.version, s.doors("")["tcp"], ann, name, ann.sensor(name), new(int)}
			o := c.viewer(filter{Filter: c.topic("log"), QoS: 2})
			o.keep, o.fresh = time.Hour, true
			c.open(t, o).close()
			sensor := c.open(t, c.sensor())
			want := sendLog(t, c, sensor, qos)
			send(t, sensor, message{Topic: c.topic("kept"), Payload: "kept", QoS: 1, Retain: true})
			sensor.close()
			o.fresh, o.filters = false, nil
			stays[name] = &stay{c, o, qos, want}
		}
	}
	s.kill()
	s = serve(t, data)
	for name, c := range stays {
		t.Run(name, func(t *testing.T) {
			c.door = s.doors("")["tcp"]
			c.back.door = c.door
			viewer := c.open(t, c.back)
			defer viewer.close()
			if is, known := viewer.present(); known && !is {
				t.Error("the session did not outlive the server")
			}
			if got := payloads(t, viewer, len(c.want)); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			sensor := c.open(t, c.sensor())
			defer sensor.close()
			send(t, sensor, message{Topic: c.topic("log"), Payload: "live again", QoS: c.qos})
			if got := arrives(t, viewer); got.Payload != "live again" {
				t.Errorf("after the restart: got %s", got)
			}
			newcomer := c.open(t, c.viewer(filter{Filter: c.topic("kept"), QoS: 1}))
			defer newcomer.close()
			if got := arrives(t, newcomer); got.Payload != "kept" || !got.Retain {
				t.Errorf("retained: got %s", got)
			}
		})
	}
}
