package drive

import (
	"fmt"
	"testing"
)

// A sensor that lost an acknowledgement to a restart sends its reading again. It is stored already, so that nobody may be shown it a second
// time, under a seq that no history has.
func TestRelay_ReadingSentAgainAfterARestartIsNotShownTwice(t *testing.T) {
	for _, how := range []string{"stop", "kill"} {
		t.Run(how, func(t *testing.T) {
			dir, ann := founded(t, 1)
			args := samePorts(t)
			s := serve(t, dir, args...)
			ann.s = s
			f := ann.follower(serialOf(0))
			stop := follow(t, []*follower{f})
			publish := func(n int) {
				t.Helper()
				d, err := s.client("tcp", sensorLogin(0, 5))
				if err != nil {
					t.Fatal(err)
				}
				defer d.vanish()
				if err := d.publish(topicOf(0), numbered(0, n, "")); err != nil {
					t.Fatal(err)
				}
			}
			publish(1)
			caughtUp(t, []*follower{f}, ann.log(1))
			if how == "kill" {
				s.kill()
			} else if err := s.terminate(); err != nil {
				t.Fatal(err)
			}
			s = serve(t, dir, args...)
			ann.s = s
			eventually(t, "the viewer to be back", func() int { return 1 - count([]*follower{f}, func(f *follower) bool { return f.hellos == 2 }) })
			publish(1)
			publish(2)
			log := ann.log(1)
			caughtUp(t, []*follower{f}, log)
			balanced(t, []*follower{f}, log, true)
			shownIsKept(t, []*follower{f}, log)
			stop()
			if got := fmt.Sprint(f.got[serialOf(0)]); len(log[serialOf(0)]) != 2 {
				t.Errorf("%d readings are stored, want 2; the viewer got %s", len(log[serialOf(0)]), got)
			}
		})
	}
}
