package drive

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var scenarios = []struct {
	name string
	v5   bool // needs it
	act  func(t *testing.T, c *cast)
}{
	{"every QoS both ways", false, everyQoS},
	{"retained messages", false, retainedMessages},
	{"wildcards show one's own", false, wildcardsShowOnesOwn},
	{"will of a cut connection", false, willOfACutConnection},
	{"shared subscription", false, sharedSubscription},
	{"session outlives its connection", false, sessionOutlivesItsConnection},
	{"delayed will", true, delayedWill},
	{"properties and identifiers", true, propertiesAndIdentifiers},
	{"message expiry", true, messageExpiry},
}

func everyQoS(t *testing.T, c *cast) {
	sensor := c.open(t, c.sensor())
	defer sensor.close()
	for granted := range byte(3) {
		viewer := c.open(t, c.viewer(filter{Filter: c.topic("qos"), QoS: granted}))
		for sent := range byte(3) {
			payload := fmt.Sprintf("grüße %d %d", granted, sent)
			send(t, sensor, message{Topic: c.topic("qos"), Payload: payload, QoS: sent})
			want := message{Topic: c.topic("qos"), Payload: payload, QoS: min(granted, sent)}
			if got := arrives(t, viewer); got.String() != want.String() {
				t.Errorf("sent at QoS %d to a subscription of %d: got %s, want %s", sent, granted, got, want)
			}
		}
		viewer.close()
	}
	own := c.sensor()
	own.filters = []filter{{Filter: "sensors/" + c.serial + "/#", QoS: 2}}
	self := c.open(t, own)
	defer self.close()
	send(t, self, message{Topic: c.topic("own"), Payload: "mine", QoS: 2})
	if got := arrives(t, self); got.Payload != "mine" || got.QoS != 2 {
		t.Errorf("a sensor of its own topics got %s", got)
	}
}

func retainedMessages(t *testing.T, c *cast) {
	sensor, all := c.open(t, c.sensor()), filter{Filter: "sensors/" + c.serial + "/telemetry/+", QoS: 1}
	defer sensor.close()
	live := c.open(t, c.viewer(all))
	defer live.close()
	newcomer := func() message {
		l := c.open(t, c.viewer(all))
		defer l.close()
		return arrives(t, l)
	}
	for _, payload := range []string{"first", "second"} {
		send(t, sensor, message{Topic: c.topic("kept"), Payload: payload, QoS: 1, Retain: true})
		if got := arrives(t, live); got.Payload != payload || got.Retain {
			t.Errorf("live: got %s, want %q without the flag", got, payload)
		}
		if got := newcomer(); got.Payload != payload || !got.Retain || got.QoS != 1 {
			t.Errorf("newcomer: got %s, want %q with the flag", got, payload)
		}
	}
	send(t, sensor, message{Topic: c.topic("kept"), QoS: 1, Retain: true}) // an empty one clears
	send(t, sensor, message{Topic: c.topic("marker"), Payload: "still here", QoS: 1, Retain: true})
	if got := newcomer(); got.Payload != "still here" {
		t.Errorf("after clearing: got %s, want the other topic's", got)
	}
	send(t, sensor, message{Topic: c.topic("marker"), QoS: 1, Retain: true})
}

func wildcardsShowOnesOwn(t *testing.T, c *cast) {
	for _, wide := range []string{"#", "sensors/#", "sensors/+/telemetry/+", "+/+/+/#"} {
		viewer := c.open(t, c.viewer(filter{Filter: wide, QoS: 1}))
		sensor := c.open(t, c.sensor())
		send(t, sensor, message{Topic: c.topic("mine"), Payload: wide, QoS: 1})
		if got := arrives(t, viewer); got.Topic != c.topic("mine") || got.Payload != wide {
			t.Errorf("%s: got %s, want its own sensor's only", wide, got)
		}
		sensor.close()
		viewer.close()
	}
	if l, err := c.driver.connect(t, c.viewer(filter{Filter: "sensors/XX-" + strings.TrimPrefix(c.serial, "SN-") + "/telemetry/kept", QoS: 1})); err == nil {
		defer l.close()
		t.Error("a subscription to another's sensor was granted")
	}
}

func willOfACutConnection(t *testing.T, c *cast) {
	viewer := c.open(t, c.viewer(filter{Filter: "sensors/+/lwt", QoS: 2}))
	defer viewer.close()
	for i, end := range []func(link){link.close, link.kill} {
		o := c.sensor()
		o.will = &message{Topic: c.lwt(), Payload: fmt.Sprint("gone ", i), QoS: 1}
		end(c.open(t, o))
		if w, ok := c.driver.(willful); ok && i == 0 && w.partsWithWill(c.version) {
			if got := arrives(t, viewer); got.Payload != "gone 0" {
				t.Errorf("got %s, want the will that was asked for", got)
			}
		}
	}
	if got := arrives(t, viewer); got.Payload != "gone 1" || got.QoS != 1 || got.Topic != c.lwt() {
		t.Errorf("got %s, want the will of the connection that was cut", got)
	}
}

func sharedSubscription(t *testing.T, c *cast) {
	const all = 12
	share := filter{Filter: "$share/group/" + c.topic("work"), QoS: 1}
	one, two := c.open(t, c.viewer(share)), c.open(t, c.viewer(share))
	defer one.close()
	defer two.close()
	sensor := c.open(t, c.sensor())
	defer sensor.close()
	var want, got []string
	for i := range all {
		want = append(want, strconv.Itoa(i))
		send(t, sensor, message{Topic: c.topic("work"), Payload: want[i], QoS: 1})
	}
	for range all {
		select {
		case m := <-one.messages():
			got = append(got, m.Payload)
		case m := <-two.messages():
			got = append(got, m.Payload)
		case <-time.After(patience):
			t.Fatalf("got %q of %d messages", got, all)
		}
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("the group got %q, want each once", got)
	}
}

// sessionOutlivesItsConnection: what comes while a client is away comes in order when it is back, and the subscription still stands.
// The order is one for each QoS [MQTT-4.6.0-6].
func sessionOutlivesItsConnection(t *testing.T, c *cast) {
	for qos := byte(1); qos <= 2; qos++ {
		o := c.viewer(filter{Filter: c.topic("log"), QoS: 2})
		o.keep, o.fresh = time.Hour, true
		c.open(t, o).close()
		sensor := c.open(t, c.sensor())
		want := sendLog(t, c, sensor, qos)
		o.fresh, o.filters = false, nil
		back := c.open(t, o)
		if is, known := back.present(); known && !is {
			t.Error("the session was not there")
		}
		if got := payloads(t, back, len(want)); !slices.Equal(got, want) {
			t.Errorf("QoS %d: got %q, want %q", qos, got, want)
		}
		send(t, sensor, message{Topic: c.topic("log"), Payload: "live", QoS: qos})
		if got := arrives(t, back); got.Payload != "live" {
			t.Errorf("QoS %d: got %s after the queue", qos, got)
		}
		sensor.close()
		back.close()
		o.keep = 0
		gone := c.open(t, o)
		if is, known := gone.present(); known && is {
			t.Error("a clean start found a session")
		}
		gone.close()
	}
}

// sendLog publishes some messages and returns their payloads.
func sendLog(t *testing.T, c *cast, sensor link, qos byte) (sent []string) {
	t.Helper()
	for i := range 6 {
		sent = append(sent, fmt.Sprint("entry ", i))
		send(t, sensor, message{Topic: c.topic("log"), Payload: sent[i], QoS: qos})
	}
	return sent
}

func delayedWill(t *testing.T, c *cast) {
	viewer := c.open(t, c.viewer(filter{Filter: c.lwt(), QoS: 1}))
	defer viewer.close()
	o := c.sensor()
	o.keep, o.fresh = time.Minute, true
	o.will = &message{Topic: c.lwt(), Payload: "returned", QoS: 1, Delay: 1}
	c.open(t, o).kill()
	o.fresh, o.will = false, &message{Topic: c.lwt(), Payload: "late", QoS: 1, Delay: 1} // back in time: the first one is void
	back := c.open(t, o)
	cut := time.Now()
	back.kill()
	if got := arrives(t, viewer); got.Payload != "late" {
		t.Errorf("got %s, want the second will only", got)
	}
	if took := time.Since(cut); took < 900*time.Millisecond {
		t.Errorf("the will came after %v, want its delay of 1 s", took)
	}
	o.keep, o.will = 0, nil
	c.open(t, o).close()
}

func propertiesAndIdentifiers(t *testing.T, c *cast) {
	viewer := c.open(t, c.viewer(filter{Filter: c.topic("rich"), QoS: 1, Identifier: 456_789}))
	defer viewer.close()
	sensor := c.open(t, c.sensor())
	defer sensor.close()
	sent := message{
		Topic: c.topic("rich"), Payload: "21.5", QoS: 1, ContentType: "text/plain", Response: "sensors/" + c.serial + "/commands/reply",
		User: [][2]string{{"site", "north"}, {"site", "south"}}, Expiry: 100,
	}
	send(t, sensor, sent)
	got := arrives(t, viewer)
	if !slices.Equal(got.User, sent.User) || got.ContentType != sent.ContentType || got.Response != sent.Response {
		t.Errorf("got %+v, want the properties of %+v", got, sent)
	}
	if got.Expiry == 0 || got.Expiry > sent.Expiry {
		t.Errorf("got message expiry %d s, want at most %d and some", got.Expiry, sent.Expiry)
	}
	if !slices.Equal(got.Identifiers, []int{456_789}) {
		t.Errorf("got subscription identifiers %v, want 456789", got.Identifiers)
	}
}

func messageExpiry(t *testing.T, c *cast) {
	o := c.viewer(filter{Filter: c.topic("fleeting"), QoS: 1})
	o.keep, o.fresh = time.Hour, true
	c.open(t, o).close()
	sensor := c.open(t, c.sensor())
	defer sensor.close()
	send(t, sensor, message{Topic: c.topic("fleeting"), Payload: "expires", QoS: 1, Expiry: 1})
	send(t, sensor, message{Topic: c.topic("fleeting"), Payload: "stays", QoS: 1, Expiry: 600})
	time.Sleep(1200 * time.Millisecond) // the expiry itself, of a process of its own
	o.fresh, o.filters = false, nil
	back := c.open(t, o)
	if got := arrives(t, back); got.Payload != "stays" || got.Expiry >= 600 {
		t.Errorf("got %s with %d s left, want only what has not expired", got, got.Expiry)
	}
	back.close()
}
