package notify_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/notify"
	"sensorcast/store"
)

// childDir tells the test binary, which starts itself again to be killed, where the data is.
const childDir = "SENSORCAST_NOTIFY_TEST_DIR"

// child is a desk on the data directory; it never returns.
func child(dir string) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
	keys, err := auth.LoadKeys(dir)
	fail(err)
	db, err := store.Open(store.Config{Dir: dir}, log)
	fail(err)
	devices, err := db.Devices(context.Background())
	fail(err)
	sensors := auth.NewDirectory(keys)
	sensors.Load(devices)
	newDesk(db, db, sensors, keys, nil, log).Run(context.Background())
}

// Whenever the process is killed: every notice arrives, in order, and what arrives twice, which at least once allows, does so by the same id
// and no more often than there were kills.
func TestDesk_LosesNothingToAKill(t *testing.T) {
	kills := 10
	if testing.Short() {
		kills = 3
	}
	h := newHouse(t)
	r := newReceiver(t, nil)
	h.webhook(h.ada, r.URL)
	h.webhook(h.ada, r.URL+"/second")
	h.stop()
	must(t, h.db.Close()) // the house's own part is over: the directory is the children's

	written := 0
	for range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childDir+"="+h.dir)
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		for range 30 {
			must(t, writeNotice(h.raw, h.ada.UserID, 1, fmt.Sprintf("n%04d", written), notify.Warning))
			written++
			time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(2500)) * time.Millisecond)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+h.dir)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	h.eventually("all are settled", func() bool {
		var waiting int
		must(t, h.raw.QueryRow(`
			SELECT (SELECT count(*) FROM notices WHERE fanned_at = 0) + (SELECT count(*) FROM deliveries WHERE state <> 'sent')`).Scan(&waiting))
		return waiting == 0
	})
	for _, path := range []string{"/", "/second"} {
		var ids []string
		for _, e := range r.all() {
			if e.path == path {
				ids = append(ids, e.header.Get("Webhook-Id"))
			}
		}
		repeated := len(ids)
		distinct := slices.Compact(slices.Clone(ids)) // a repetition follows at once what it repeats
		repeated -= len(distinct)
		if len(distinct) != written || !slices.IsSorted(distinct) || repeated > kills {
			t.Errorf("%s: got %d of %d, in order is %v, %d twice over %d kills", path, len(distinct), written, slices.IsSorted(distinct), repeated, kills)
		}
		t.Logf("%s: %d notices, %d arrived twice over %d kills", path, written, repeated, kills)
	}
}
