package drive

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// client is one of ann's clients, whose session lasts.
func (p *person) client(id string, version byte) login {
	return login{id: id, user: p.name, password: p.password, version: version, durable: true}
}

// TestJournalCrash_UnsubscribedStaysUnsubscribed kills the server while a client subscribes and unsubscribes. What was granted last for
// each filter holds after the start, and nothing else does.
func TestJournalCrash_UnsubscribedStaysUnsubscribed(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	const sensors = 5 // the last one's topic is always subscribed
	dir, ann := founded(t, sensors)
	s := serve(t, dir)
	l := ann.client("fickle", 4)
	d, err := s.device("mqtt", l)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.subscribe(1, topicOf(sensors-1)); err != nil {
		t.Fatal(err)
	}
	var granted [sensors - 1]bool
	for round := range rounds {
		// A client with a clean session whose subscriptions must die with it.
		passing, err := s.device("mqtt", login{id: "passing", user: "ann", password: ann.password, version: 5})
		if err != nil {
			t.Fatal(err)
		}
		if err := passing.subscribe(1, "sensors/+/telemetry"); err != nil {
			t.Fatal(err)
		}
		var busy sync.WaitGroup
		undecided, changed := -1, 0
		busy.Go(func() { // ends with the server
			for {
				i := rand.IntN(len(granted))
				undecided = i
				p, want := subscribePacket(4, 2, 1, topicOf(i)), byte(suback)
				if granted[i] {
					p, want = unsubscribePacket(4, 2, topicOf(i)), unsuback
				}
				if _, err := d.Write(p); err != nil {
					return
				}
				if _, err := d.await(want); err != nil {
					return
				}
				granted[i], undecided = !granted[i], -1
				changed++
			}
		})
		time.Sleep(50*time.Millisecond + rand.N(100*time.Millisecond)) // the random moment
		s.kill()
		busy.Wait()
		if changed == 0 {
			t.Errorf("round %d: nothing changed, so nothing was tested", round)
		}
		s = serve(t, dir)
		for i := range sensors {
			w := &writer{number: i, login: sensorLogin(i, 4), qos: 1, next: round}
			if err := w.run(s, round+1); err != nil || w.acknowledged != round+1 {
				t.Fatalf("round %d: sensor %d: %v\n%s", round, i, err, s.log)
			}
		}
		if d, err = s.device("mqtt", l); err != nil {
			t.Fatal(err)
		}
		var heard [sensors]bool
		d.SetDeadline(time.Now().Add(handPatience))
		for !heard[sensors-1] {
			body, err := d.await(publishing)
			if err != nil {
				t.Fatalf("round %d: the standing subscription is gone: %v", round, err)
			}
			m := readMessage(4, publishing|1<<1, body)
			n, err := readNote(m.payload)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Write(answer(puback, m.id)); err != nil {
				t.Fatal(err)
			}
			if n.Number == round { // and none of an earlier one that comes again
				heard[n.Writer] = true
			}
		}
		d.SetDeadline(time.Time{})
		subscriptions := 1
		for i := range granted {
			if heard[i] != granted[i] && i != undecided {
				t.Errorf("round %d: filter %d: telegram delivered %v, subscribed %v", round, i, heard[i], granted[i])
			}
			if granted[i] = heard[i]; granted[i] {
				subscriptions++
			}
		}
		s.settled("mqtt_subscriptions", float64(subscriptions))
		s.settled("mqtt_sessions", 1)
	}
}

// TestJournalCrash_DelayedWillIsPublishedAfterTheRestart lets sensors with delayed wills vanish and kills the server before the wills
// are due. They are published after the start, but for that of the sensor that has come back.
func TestJournalCrash_DelayedWillIsPublishedAfterTheRestart(t *testing.T) {
	dir, ann := founded(t, 2)
	s := serve(t, dir)
	r := ann.client("r", 4)
	d, err := s.device("mqtt", r)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.subscribe(1, "sensors/+/lwt"); err != nil {
		t.Fatal(err)
	}
	var logins []login
	for i := range 2 {
		l := sensorLogin(i, 5)
		l.durable, l.will, l.willDelay = true, fmt.Sprint("will ", i), 2
		logins = append(logins, l)
		c, err := s.device("mqtt", l)
		if err != nil {
			t.Fatal(err)
		}
		c.vanish()
	}
	s.settled("mqtt_connections", 1)
	d.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, _, err := d.next(); err == nil {
		t.Error("a will came before its delay had passed")
	}
	s.kill()
	s = serve(t, dir)
	back, err := s.device("mqtt", logins[1])
	if err != nil {
		t.Fatal(err)
	}
	defer back.vanish()
	if d, err = s.device("mqtt", r); err != nil {
		t.Fatal(err)
	}
	d.SetDeadline(time.Now().Add(handPatience))
	body, err := d.await(publishing)
	if err != nil {
		t.Fatalf("no will came: %v", err)
	}
	if got := readMessage(4, publishing|1<<1, body).payload; got != "will 0" {
		t.Errorf("got %q, want the will of the sensor that did not return", got)
	}
	d.SetReadDeadline(time.Now().Add(time.Second))
	if _, body, err := d.next(); err == nil {
		t.Errorf("got %q besides", body)
	}
}

// TestJournal_NothingIsAcknowledgedBeforeItIsStored locks the database from outside and asks for everything whose answer is a promise. No
// answer comes while the lock is held.
func TestJournal_NothingIsAcknowledgedBeforeItIsStored(t *testing.T) {
	dir, ann := founded(t, 1)
	s := serve(t, dir)
	for _, version := range []byte{4, 5} {
		l := sensorLogin(0, version)
		l.durable = true
		sensor, err := s.device("mqtt", l.as(fmt.Sprint("sensor ", version)))
		if err != nil {
			t.Fatal(err)
		}
		sub, err := s.device("mqtt", ann.client(fmt.Sprint("sub ", version), version))
		if err != nil {
			t.Fatal(err)
		}
		if err := sub.subscribe(2, "sensors/+/telemetry"); err != nil {
			t.Fatal(err)
		}
		socket, err := net.Dial("tcp", s.addr["mqtt"])
		if err != nil {
			t.Fatal(err)
		}
		fresh := newDevice(socket, version)
		publish := func(qos byte, id uint16) []byte {
			return (&telegram{topic: topicOf(0), payload: note{int(version), int(id)}.String(), qos: qos, id: id}).packet(version)
		}
		ask := func(d *device, request []byte, want byte) []byte {
			t.Helper()
			unlock := lockDatabase(t, dir)
			if _, err := d.Write(request); err != nil {
				t.Fatal(err)
			}
			d.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if head, _, err := d.next(); err == nil {
				t.Errorf("version %d: got %#x for %#x while the database was locked", version, head, request[0])
				unlock()
				return nil
			}
			unlock()
			d.SetReadDeadline(time.Now().Add(handPatience))
			body, err := d.await(want)
			if err != nil {
				t.Fatalf("version %d: no %#x for %#x: %v", version, want, request[0], err)
			}
			return body
		}
		ask(fresh, l.as(fmt.Sprint("fresh ", version)).packet(), connack)
		ask(fresh, subscribePacket(version, 1, 1, "sensors/F0/commands"), suback)
		ask(fresh, unsubscribePacket(version, 2, "sensors/F0/commands"), unsuback)
		ask(sensor, publish(1, 1), puback)
		ask(sensor, publish(2, 2), pubrec)
		ask(sensor, answer(pubrel, 2), pubcomp)
		for {
			sub.SetReadDeadline(time.Now().Add(handPatience))
			head, body, err := sub.next()
			if err != nil {
				t.Fatal(err)
			}
			if m := readMessage(version, head, body); m.qos == 2 {
				ask(sub, answer(pubrec, m.id), pubrel)
				break
			}
		}
		fresh.vanish()
		sensor.vanish()
		sub.vanish()
	}
}
