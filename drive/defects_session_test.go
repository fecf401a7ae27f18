package drive

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// lasting is a login whose session lasts an hour. Subscribers are the sensors themselves, where they may: a person's password costs more
// than all the rest.
func lasting(who role, id string) login { return login{role: who, id: id, keep: true} }

// numbers are the payloads 0 to n-1.
func numbers(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// says has a sensor publish each payload with QoS 1.
func (p *peer) says(topic string, payloads []string) {
	p.t.Helper()
	for i, payload := range payloads {
		p.publish(topic, payload, 1, 1+i, 0)
	}
}

// wantPayloads insists on these messages, in order, and nothing more.
func (p *peer) wantPayloads(want []string) {
	p.t.Helper()
	var got []string
	for _, m := range p.receiveMany(len(want)) {
		got = append(got, m.payload)
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("got %q, want %q", got, want)
	}
	p.wantQuiet()
}

// #4: ids of the client's packets and of ours are different things.
func TestDefect04_ClientsIDsDoNotMeetOurs(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		who, topic := s.newSensor()
		l := login{role: who, id: "both", keep: true}
		p := s.enter(t, transport, v5, l) // a sensor hears itself
		p.subscribe(nil, subscription{topic, 2})
		for qos := 1; qos <= 2; qos++ {
			p.write(p.publication(topic, "1", qos, 900, 0))
			var delivered packet
			for delivered.kind() != pPublish { // PUBACK or PUBREC comes before or after
				got, err := p.next(patience)
				if err != nil {
					t.Fatal(err)
				}
				if got.kind() == pPublish {
					delivered = got
				}
			}
			p.Close()
			p = s.enter(t, transport, v5, l)
			same := p.want(pPublish)
			if same.id != delivered.id || !same.dup() {
				t.Errorf("got %s, want %s again", same, delivered)
			}
			p.write(subscribePacket(p.version, delivered.id, 2, topic)) // the id of our unacknowledged delivery
			if ack := p.want(pSuback); ack.id != delivered.id || ack.codes[0] != 2 {
				t.Errorf("got %s, want a grant of QoS 2", ack)
			}
			p.write(p.publication(topic+"/other", "2", qos, delivered.id, 0)) // and the client's own of the same id
			if ack := p.want(pPuback + qos - 1); ack.code != 0 {
				t.Errorf("got %s, want success", ack)
			}
			p.Close()
			p = s.enter(t, transport, v5, l)
			if got := p.want(pPublish); got.id != delivered.id || got.payload != "1" {
				t.Errorf("got %s, want %s again", got, delivered)
			}
			p.Close()
			l.keep = false
			s.enter(t, transport, v5, l).Close()
			l.keep = true
			p = s.enter(t, transport, v5, l)
			p.subscribe(nil, subscription{topic, 2})
		}
	})
}

// #5: what comes while a client is away comes in order.
func TestDefect05_OfflineQueueKeepsItsOrder(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		who, topic := s.newSensor()
		p := s.enter(t, transport, v5, lasting(who, t.Name()))
		p.subscribe(nil, subscription{topic, 1})
		p.Close()
		s.enter(t, transport, v5, login{role: who, id: "sensor"}).says(topic, numbers(30))
		s.enter(t, transport, v5, lasting(who, t.Name())).wantPayloads(numbers(30))
	})
}

// #6: a client with a small Receive Maximum gets no more at a time, and everything.
func TestDefect06_ReceiveMaximumIsHonouredAndDoesNotStarve(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	atEveryDoor(t, func(t *testing.T, transport string) {
		who, topic := s.newSensor()
		p := s.enter(t, transport, true, login{role: who, id: t.Name(), props: prop(propReceiveMaximum, u16(2))})
		p.subscribe(nil, subscription{topic, 1})
		sensor := s.enter(t, transport, true, login{role: who, id: "sensor"})
		for range 2 {
			sensor.says(topic, numbers(20))
			open := []packet{p.want(pPublish), p.want(pPublish)}
			p.wantQuiet()
			for _, m := range open {
				p.write(acknowledgement(pPuback, m.id))
			}
			p.wantPayloads(numbers(20)[2:])
		}
	})
}

// #9: what is restored has its identifiers and its order, and does not lock its client out.
func TestDefect09_RestoredMessagesLockNobodyOut(t *testing.T) {
	t.Parallel()
	args := secured(t)
	data := t.TempDir()
	s := newStage(t, data, args...)
	who, topic := s.newSensor()
	for _, transport := range transports {
		for _, v5 := range []bool{false, true} {
			p := s.enter(t, transport, v5, lasting(who, fmt.Sprint(transport, v5)))
			p.subscribe(nil, subscription{topic, 2})
			p.Close()
		}
	}
	sensor := s.login(t, true, login{role: who, id: "sensor"})
	for i, payload := range numbers(10) {
		sensor.publish(topic, payload, 1+i%2, 1, 0)
	}
	s = s.killed(t, data, args...)
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		p := s.through(t, transport, v5)
		if !p.connect(lasting(who, fmt.Sprint(transport, v5))).present {
			t.Error("the session is gone")
		}
		p.wantPayloads(numbers(10))
	})
}

// killed kills the server and starts it again.
func (s *stage) killed(t *testing.T, data string, args ...string) *stage {
	t.Helper()
	s.kill()
	next := &stage{instance: serve(t, data, args...), ann: s.ann}
	next.ann.s = next.instance
	return next
}

// #10: neither an expiry nor a kill leaves a subscription behind.
func TestDefect10_NoGhostSubscriptions(t *testing.T) {
	t.Parallel()
	args := secured(t)
	data := t.TempDir()
	s := newStage(t, data, args...)
	who, topic := s.newSensor()
	brief := func(transport string) login {
		return login{role: who, id: "brief " + transport, keep: true, props: prop(propSessionExpiry, u32(1))}
	}
	for _, transport := range transports {
		for _, v5 := range []bool{false, true} {
			s.enter(t, transport, v5, login{role: who, id: fmt.Sprint(transport, v5)}).subscribe(nil, subscription{topic, 1})
		}
		p := s.enter(t, transport, true, brief(transport))
		p.subscribe(nil, subscription{topic, 1})
		p.Close()
	}
	s.settled("mqtt_connections", float64(2*len(transports))) // a session that is in use at the kill would wait for its client
	s = s.killed(t, data, args...)
	time.Sleep(1200 * time.Millisecond) // the expiry itself, of a process of its own
	sensor := s.login(t, true, login{role: who, id: "sensor"})
	atEveryDoor(t, func(t *testing.T, transport string) {
		p := s.through(t, transport, true)
		if p.connect(brief(transport)).present {
			t.Error("a session of a second is present")
		}
		sensor.publish(topic, "1", 1, 1, 0)
		p.wantQuiet()
	})
	s.settled("mqtt_subscriptions", 0)
}

// #17: a full queue is bounded, keeps the oldest, and says how much it dropped.
func TestDefect17_FullQueueIsBoundedAndCounted(t *testing.T) {
	t.Parallel()
	const room, all = 20, 30
	s := newSecureStage(t, "--mqtt-queue", fmt.Sprint(room))
	dropped := 0.0
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		who, topic := s.newSensor()
		p := s.enter(t, transport, v5, lasting(who, t.Name()))
		p.subscribe(nil, subscription{topic, 1})
		p.Close()
		s.enter(t, transport, v5, login{role: who, id: "sensor"}).says(topic, numbers(all))
		dropped += all - room
		s.settled(`mqtt_deliveries_dropped_total{queue="subscriber"}`, dropped)
		s.enter(t, transport, v5, lasting(who, t.Name())).wantPayloads(numbers(room))
	})
}

// #17: more retained messages than a queue holds come all, at the subscriber's pace.
func TestDefect17_RetainedMessagesComeAll(t *testing.T) {
	t.Parallel()
	const all = 60
	s := newSecureStage(t, "--mqtt-queue", "20")
	who, topic := s.newSensor()
	sensor := s.login(t, true, login{role: who, id: "sensor"})
	for i := range all {
		sensor.publish(topic+fmt.Sprint("/m", i), "1", 1, 1, retained)
	}
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		p := s.enter(t, transport, v5, login{role: who, id: t.Name()})
		p.subscribe(nil, subscription{topic + "/+", 1})
		got := map[string]bool{}
		for _, m := range p.receiveMany(all) {
			got[m.topic] = m.retain()
		}
		if len(got) != all {
			t.Errorf("got %d topics, want %d", len(got), all)
		}
		p.wantQuiet()
	})
}

// #19: a will that is due after the process died is published by the next one.
func TestDefect19_WillsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	args := secured(t)
	data := t.TempDir()
	s := newStage(t, data, args...)
	watcher := s.login(t, true, lasting(s.viewer(), "watcher"))
	watcher.subscribe(nil, subscription{"sensors/+/lwt", 1})
	var want []string
	for _, transport := range transports {
		who, _ := s.newSensor()
		w := &willOf{topic: "sensors/" + who.name + "/lwt", payload: who.name, qos: 1, props: prop(propWillDelay, u32(3))}
		s.enter(t, transport, true, login{role: who, id: "mortal", keep: true, will: w}).vanish()
		want = append(want, who.name)
	}
	s.settled("mqtt_connections", 1)
	watcher.Close()
	s = s.killed(t, data, args...)
	var got []string
	for _, m := range s.login(t, true, lasting(s.viewer(), "watcher")).receiveMany(len(want)) {
		got = append(got, m.payload)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got wills %q, want %q", got, want)
	}
}

// #21: retained messages are replaced while subscribers with wildcards come and go; with -race the server tells what it finds.
func TestDefect21_RetainedMessagesUnderFire(t *testing.T) {
	t.Parallel()
	s := newSecureStage(t)
	who, topic := s.newSensor()
	sensor := s.login(t, true, login{role: who, id: "sensor"})
	end, ended := make(chan struct{}), make(chan error, 1)
	go func() { // ends when end closes
		for i := 0; ; i++ {
			select {
			case <-end:
				ended <- nil
				return
			default:
			}
			m := publication{topic: topic + fmt.Sprint("/m", i%30), payload: fmt.Sprint(i), qos: 1, id: 1, retain: true}
			if i%7 == 6 {
				m.payload = "" // clears
			}
			if err := sensor.send(m.packet(5)); err != nil {
				ended <- err
				return
			}
			if _, err := sensor.await(pPuback); err != nil {
				ended <- err
				return
			}
		}
	}()
	everyWay(t, func(t *testing.T, transport string, v5 bool) {
		for round := range 10 {
			p := s.enter(t, transport, v5, login{role: who, id: "passing"})
			filter := []string{"sensors/" + who.name + "/#", topic + "/+", topic + "/#"}[round%3]
			if err := p.client.subscribe(1, filter); err != nil { // messages may come before the grant
				t.Fatal(err)
			}
			p.receive()
			p.Close()
		}
	})
	close(end)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
