package drive

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The probes are named after known defects of brokers, numbered as in docs/mqtt.md, and go through every door of the packaged binary.
// This file has those of a connection; sessions and topics have files of their own.

// #1: a v5 SUBSCRIBE that stops after the filter.
func TestDefect01_TruncatedSubscribeCostsOneConnection(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	who, topic := s.newSensor()
	other := s.bystander(t)
	atEveryDoor(t, func(t *testing.T, transport string) {
		l := login{role: who, id: "x", keep: true}
		p := s.enter(t, transport, true, l)
		p.subscribe(nil, subscription{topic, 0})
		p.write([]byte{0x82, 6, 0, 1, 0, 0, 1, 'a'})
		p.wantEnd(0x81)
		p.Close()
		other.alone(t)
		again := s.enter(t, transport, true, l)
		again.wantQuiet()
		again.Close()
	})
	other.done(t)
}

// #2: a QoS 1 subscriber that stops reading must hold nobody up, and may come back.
func TestDefect02_StuckSubscriberHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t, "--mqtt-queue", "20")
	who, topic := s.newSensor()
	sensor := s.login(t, true, login{role: who, id: "sensor"})
	payload := `"` + strings.Repeat("x", 20_000) + `"`
	dropped := 0.0
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		l := login{role: who, id: "stuck" + t.Name()}
		if v5 {
			l.props = prop(propReceiveMaximum, u16(64)) // what 3.1.1 clients are taken to mean
		}
		stuck := s.enter(t, transport, v5, l)
		stuck.subscribe(nil, subscription{topic, 1})
		for id := range 100 { // more than the window and the queue
			sensor.publish(topic, payload, 1, 1+id, 0)
		}
		before := dropped
		if dropped = s.metrics()[`mqtt_deliveries_dropped_total{queue="subscriber"}`]; dropped == before {
			t.Error("the queue of the stuck subscriber has no end")
		}
		next := s.enter(t, transport, v5, l)
		next.wantQuiet()
		next.Close()
	})
}

// #3: reconnects with the same client id must never leave a session deaf.
func TestDefect03_NoReconnectLeavesASessionDeaf(t *testing.T) {
	t.Parallel()
	const burst = 6
	dir, _ := founded(t, 1)
	s := serve(t, dir, secured(t)...)
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		l := sensorLogin(0, 4).as("same")
		if v5 {
			l.version = 5
		}
		for round := range 3 {
			if _, err := s.struggle(transport, 0, burst, l, round); err != nil {
				t.Error(err)
			}
		}
	})
}

// #7: the stop is bounded, although subscribers at every door read nothing and owe acknowledgements.
func TestDefect07_StopIsBounded(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	who, topic := s.newSensor()
	for _, transport := range transports {
		for _, v5 := range []bool{false, true} {
			s.enter(t, transport, v5, login{role: who, id: fmt.Sprint(transport, v5), keep: true}).subscribe(nil, subscription{topic, 2})
		}
	}
	sensor := s.login(t, true, login{role: who, id: "sensor"})
	for id := range 100 {
		sensor.publish(topic, `"`+strings.Repeat("x", 20_000)+`"`, 1, 1+id, 0)
	}
	if err := s.terminate(); err != nil {
		t.Error(err)
	}
}

// #8: wills go to the sensor's own lwt or nowhere.
func TestDefect08_ForeignWillIsRefusedAtConnect(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	who, _ := s.newSensor()
	foreign, _ := s.newSensor()
	own := "sensors/" + who.name
	watcher := s.login(t, true, login{role: s.viewer(), id: "watcher"})
	watcher.subscribe(nil, subscription{"#", 0})
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		refuse := func(by role, topic string) {
			t.Helper()
			p := s.through(t, transport, v5)
			p.write(login{role: by, id: "mortal", version: p.version, will: &willOf{topic: topic, payload: "x", retain: true}}.packet())
			want := byte(5)
			if v5 {
				want = 0x87
			}
			if ack := p.want(pConnack); ack.code != want {
				t.Errorf("will of %s on %q: got CONNACK %#x, want %#x", by.name, topic, ack.code, want)
			}
			p.wantEnd(0)
		}
		for _, topic := range []string{"$SYS/broker/version", "a/+/b", "#", "sensors/" + foreign.name + "/lwt", own + "/telemetry", own + "/status", own + "/commands/reply"} {
			refuse(who, topic)
		}
		refuse(s.viewer(), own+"/lwt")
	})
	watcher.wantQuiet()
	s.settled("mqtt_retained_messages", 0)
}

// #11: running out of file descriptors for a while must not end a listener.
func TestDefect11_AcceptIsTriedAgain(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t, "--connect-timeout", "1m")
	who, _ := s.newSensor()
	open := uint64(s.metrics()["process_open_fds"]) // by a connection that stays, so that it can ask again
	var before unix.Rlimit
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: open + 4, Max: open + 4}, &before); err != nil {
		t.Fatal(err)
	}
	var crowd []*peer
	for _, listener := range []string{"mqtt", "mqtts", "http"} {
		for range 10 {
			c, err := (door{transport: "tcp", host: "127.0.0.1", port: s.port(listener)}).dial()
			if err != nil {
				t.Fatal(err)
			}
			crowd = append(crowd, &peer{newClient(c, 4), t})
		}
	}
	for deadline := time.Now().Add(patience); s.metrics()["mqtt_accept_errors_total"] < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no accept failed, so nothing is tested")
		}
	}
	for _, p := range crowd {
		p.vanish()
	}
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		p := s.enter(t, transport, v5, login{role: who, id: "after"})
		p.wantQuiet()
		p.Close()
	})
}

// #12: who says nothing before the deadline is closed, and a huge announcement costs nothing.
func TestDefect12_SilenceAndAnnouncementsAreCutOff(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t, "--connect-timeout", "1s")
	other := s.bystander(t)
	resident := s.resident()
	var dumb []*peer
	for _, transport := range transports {
		silent, half := s.through(t, transport, false), s.through(t, transport, false)
		half.write([]byte{pConnect << 4, 40, 0, 4, 'M'})
		dumb = append(dumb, silent, half)
	}
	mute, err := (door{transport: "tcp", host: "127.0.0.1", port: s.port("mqtts")}).dial() // not even TLS is begun
	if err != nil {
		t.Fatal(err)
	}
	dumb = append(dumb, &peer{newClient(mute, 4), t})
	atEveryDoor(t, func(t *testing.T, transport string) {
		for _, in := range [][]byte{
			{pConnect << 4, 0xff, 0xff, 0xff, 0x7f},
			append([]byte{pConnect << 4}, bytes.Repeat([]byte{0x80}, 5)...),
			[]byte("GET / HTTP/1.1\r\n\r\n"),
			{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03}, // TLS
		} {
			p := s.through(t, transport, false)
			p.write(in)
			p.wantEnd(0)
			p.Close()
		}
	})
	for _, p := range dumb {
		p.wantEnd(0)
		p.Close()
	}
	other.alone(t)
	if grown := s.resident() - resident; grown > 200<<20 { // of the 4 GiB that were announced
		t.Errorf("the server has grown by %d MiB", grown>>20)
	}
	other.done(t)
}

// #14: 1.5 × keep alive does not fit into 16 bits.
func TestDefect14_LongKeepAliveIsKept(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	who, _ := s.newSensor()
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		for _, seconds := range []int{43_691, 65_535, 0} {
			p := s.through(t, transport, v5)
			told, some := p.connect(login{role: who, id: "patient", keepAlive: seconds}).number(propKeepAlive)
			if v5 && seconds == 0 && told != 600 || !v5 && some {
				t.Errorf("keep alive %d: told %d s", seconds, told)
			}
			time.Sleep(20 * time.Millisecond) // at once, if at all
			p.wantQuiet()
		}
	})
}

// #18: what clients are told is of their own version, and what is legal is taken.
func TestDefect18_EachVersionHasItsWords(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	who, topic := s.newSensor()
	foreign, _ := s.newSensor()
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		l := login{role: who, id: "same"}
		first := s.enter(t, transport, v5, l)
		second := s.enter(t, transport, v5, l)
		first.wantEnd(0x8e) // of 3.1.1 without a word
		for qos := 1; qos <= 2; qos++ {
			for _, other := range []string{"$SYS/broker/version", "sensors/" + foreign.name + "/telemetry"} {
				second.write(second.publication(other, "1", qos, 1, 0))
				if !v5 {
					second.wantEnd(0) // there is no negative acknowledgement
					second = s.enter(t, transport, v5, l)
				} else if got, err := second.next(patience); err != nil || got.kind() != pPuback+qos-1 || got.code != 0x87 {
					t.Errorf("QoS %d on %s: got %s, %v, want 0x87", qos, other, got, err)
				}
			}
		}
		second.publish(topic, "1", 1, 1, 0)
		l.will = &willOf{topic: "sensors/" + who.name + "/lwt"} // of no payload
		s.enter(t, transport, v5, l).wantQuiet()
		for version, want := range map[byte]byte{4: 2, 6: 1} { // no id for a session to be kept; a version to come
			p := s.through(t, transport, false)
			p.write(login{role: who, keep: true, version: version, props: []byte{}}.packet())
			if ack := p.want(pConnack); ack.code != want {
				t.Errorf("version %d without client id: got CONNACK %#x, want %d", version, ack.code, want)
			}
			p.wantEnd(0)
		}
	})
}

// #20: a client id is no key: two principals with one never meet.
func TestDefect20_ClientIDsAreScopedToThePrincipal(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	root := role{"root", passwordOf("root")}
	atEveryDoor(t, func(t *testing.T, transport string) {
		who, topic := s.newSensor()
		ann := s.enter(t, transport, true, login{role: s.viewer(), id: "same", keep: true})
		ann.subscribe(nil, subscription{topic, 1})
		for _, other := range []role{root, who} {
			p := s.through(t, transport, true)
			if p.connect(login{role: other, id: "same", keep: true}).present {
				t.Errorf("%s found a session of somebody else", other.name)
			}
			if other == who {
				p.publish(topic, "1", 1, 1, 0)
			}
			p.wantQuiet()
			p.write(frame(pDisconnect << 4))
			p.wantEnd(0)
			p = s.enter(t, transport, true, login{role: other, id: "same"}) // nothing of it is to be found by the next
			p.Close()
		}
		ann.receive()
		ann.wantQuiet()
		ann.Close()
		s.enter(t, transport, true, login{role: s.viewer(), id: "same"}).Close()
	})
}
