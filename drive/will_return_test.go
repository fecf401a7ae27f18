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
			l.will = willOfSensor(0, "I am gone", nil)
			if _, err := s.client("tcp", l); err != nil {
				t.Fatal(err)
			}
			if err := stop(s); err != nil {
				t.Fatal(err)
			}
			s = serve(t, dir)
			d, err := s.client("tcp", ann.lasting("r", 4))
			if err != nil {
				t.Fatal(err)
			}
			if err := d.subscribe(1, "sensors/+/lwt"); err != nil {
				t.Fatal(err)
			}
			c, err := s.client("tcp", l)
			if err != nil {
				t.Fatal(err)
			}
			d.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			if m, err := d.read(); err == nil {
				t.Errorf("%s, version %d: the will %q was published when its sensor came back", name, version, m.payload)
			}
			c.vanish()
			d.vanish()
			s.kill()
		}
	}
}
