package drive

import (
	"testing"
	"time"
)

// TestJournalCrash_WhoComesBackLeavesNoWill restarts the server under a sensor with a will and a clean session, which comes back at once:
// the sensor did not die, the server did.
func TestJournalCrash_WhoComesBackLeavesNoWill(t *testing.T) {
	for name, stop := range map[string]func(*instance) error{
		"kill -9": func(s *instance) error { s.kill(); return nil },
		"SIGTERM": (*instance).terminate,
	} {
		for _, version := range []byte{4, 5} {
			dir, ann := founded(t, 1)
			s := serve(t, dir)
			l := sensorLogin(0, version)
			l.will = "I am gone"
			if _, err := s.device("mqtt", l); err != nil {
				t.Fatal(err)
			}
			if err := stop(s); err != nil {
				t.Fatal(err)
			}
			s = serve(t, dir)
			d, err := s.device("mqtt", ann.client("r", 4))
			if err != nil {
				t.Fatal(err)
			}
			if err := d.subscribe(1, "sensors/+/lwt"); err != nil {
				t.Fatal(err)
			}
			c, err := s.device("mqtt", l)
			if err != nil {
				t.Fatal(err)
			}
			d.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			if head, body, err := d.next(); err == nil {
				t.Errorf("%s, version %d: the will %q was published when its sensor came back", name, version, readMessage(4, head, body).payload)
			}
			c.vanish()
			d.vanish()
			s.kill()
		}
	}
}
