package drive

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// lasting is a client of the person's whose session lasts.
func (p *person) lasting(id string, version byte) login {
	return login{role: role{p.name, p.password}, id: id, version: version, keep: true}
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
	l := ann.lasting("fickle", 4)
	d, err := s.client("tcp", l)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.subscribe(1, topicOf(sensors-1)); err != nil {
		t.Fatal(err)
	}
	var granted [sensors - 1]bool
	for round := range rounds {
		// A client with a clean session whose subscriptions must die with it.
		passing, err := s.client("tcp", login{role: role{"ann", ann.password}, id: "passing", version: 5})
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
				p, want := subscribePacket(4, 2, 1, topicOf(i)), pSuback
				if granted[i] {
					p, want = unsubscribePacket(4, 2, topicOf(i)), pUnsuback
				}
				if err := d.send(p); err != nil {
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
		if d, err = s.client("tcp", l); err != nil {
			t.Fatal(err)
		}
		var heard [sensors]bool
		d.SetDeadline(time.Now().Add(patience))
		for !heard[sensors-1] {
			m, err := d.await(pPublish)
			if err != nil {
				t.Fatalf("round %d: the standing subscription is gone: %v", round, err)
			}
			n, err := readNote(m.payload)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.send(acknowledgement(pPuback, m.id)); err != nil {
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
				t.Errorf("round %d: filter %d: message delivered %v, subscribed %v", round, i, heard[i], granted[i])
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
	r := ann.lasting("r", 4)
	d, err := s.client("tcp", r)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.subscribe(1, "sensors/+/lwt"); err != nil {
		t.Fatal(err)
	}
	var logins []login
	for i := range 2 {
		l := sensorLogin(i, 5)
		l.keep, l.will = true, willOfSensor(i, fmt.Sprint("will ", i), prop(propWillDelay, u32(2)))
		logins = append(logins, l)
		c, err := s.client("tcp", l)
		if err != nil {
			t.Fatal(err)
		}
		c.vanish()
	}
	s.settled("mqtt_connections", 1)
	d.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := d.read(); err == nil {
		t.Error("a will came before its delay had passed")
	}
	s.kill()
	s = serve(t, dir)
	back, err := s.client("tcp", logins[1])
	if err != nil {
		t.Fatal(err)
	}
	defer back.vanish()
	if d, err = s.client("tcp", r); err != nil {
		t.Fatal(err)
	}
	d.SetDeadline(time.Now().Add(patience))
	m, err := d.await(pPublish)
	if err != nil {
		t.Fatalf("no will came: %v", err)
	}
	if got := m.payload; got != "will 0" {
		t.Errorf("got %q, want the will of the sensor that did not return", got)
	}
	d.SetReadDeadline(time.Now().Add(time.Second))
	if m, err := d.read(); err == nil {
		t.Errorf("got %s besides", m)
	}
}

// TestJournal_NothingIsAcknowledgedBeforeItIsStored locks the database from outside and asks for everything whose answer is a promise. No
// answer comes while the lock is held.
func TestJournal_NothingIsAcknowledgedBeforeItIsStored(t *testing.T) {
	dir, ann := founded(t, 1)
	s := serve(t, dir)
	for _, version := range []byte{4, 5} {
		l := sensorLogin(0, version)
		l.keep = true
		sensor, err := s.client("tcp", l.as(fmt.Sprint("sensor ", version)))
		if err != nil {
			t.Fatal(err)
		}
		sub, err := s.client("tcp", ann.lasting(fmt.Sprint("sub ", version), version))
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
		fresh := newClient(socket, version)
		publish := func(qos byte, id int) []byte {
			return publication{topic: topicOf(0), payload: note{int(version), id}.String(), qos: qos, id: id}.packet(version)
		}
		ask := func(d *client, request []byte, want int) {
			t.Helper()
			unlock := lockDatabase(t, dir)
			if err := d.send(request); err != nil {
				t.Fatal(err)
			}
			d.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if got, err := d.read(); err == nil {
				t.Errorf("version %d: got %s for %#x while the database was locked", version, got, request[0])
				unlock()
				return
			}
			unlock()
			d.SetReadDeadline(time.Now().Add(patience))
			if _, err := d.await(want); err != nil {
				t.Fatalf("version %d: no packet %d for %#x: %v", version, want, request[0], err)
			}
		}
		ask(fresh, l.as(fmt.Sprint("fresh ", version)).packet(), pConnack)
		ask(fresh, subscribePacket(version, 1, 1, "sensors/F0/commands"), pSuback)
		ask(fresh, unsubscribePacket(version, 2, "sensors/F0/commands"), pUnsuback)
		ask(sensor, publish(1, 1), pPuback)
		ask(sensor, publish(2, 2), pPubrec)
		ask(sensor, acknowledgement(pPubrel, 2), pPubcomp)
		for {
			sub.SetReadDeadline(time.Now().Add(patience))
			m, err := sub.read()
			if err != nil {
				t.Fatal(err)
			}
			if m.qos() == 2 {
				ask(sub, acknowledgement(pPubrec, m.id), pPubrel)
				break
			}
		}
		fresh.vanish()
		sensor.vanish()
		sub.vanish()
	}
}
