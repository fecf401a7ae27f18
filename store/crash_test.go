package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sensorcast/auth"
	"sensorcast/ingest"
	"sensorcast/session"
	"sensorcast/telemetry"
)

// The test binary starts itself again to be killed; these tell the child what to do and where.
const (
	childRole = "SENSORCAST_STORE_TEST_CHILD"
	childDir  = "SENSORCAST_STORE_TEST_DIR"
)

// child plays one role and never returns.
func child(role, dir string) {
	d, err := Open(Config{Dir: dir}, quiet())
	if err != nil {
		fmt.Println("error", err)
		os.Exit(3)
	}
	fmt.Println("open", d.LastSeq(), d.Epoch())
	sensor := childSensor(d)
	switch role {
	case "record":
		go func() { // in small turns, so that the end comes in the middle of a run
			for {
				if _, err := d.indexTail(context.Background(), 100); err != nil {
					panic(err)
				}
			}
		}()
		for seq := d.LastSeq(); ; {
			seq = childRecord(d, sensor, seq, 1+rand.IntN(300))
		}
	case "limit":
		childUntilFileLimit(d, sensor)
	case "journal":
		for seed := rand.Uint64N(1 << 60); ; seed++ {
			fmt.Println("handed", seed)
			if err := d.Record(ingest.Batch{Changes: changesOf(seed)}); err != nil {
				panic(err)
			}
			fmt.Println("kept", seed)
		}
	}
	os.Exit(0)
}

func childSensor(d *DB) int64 {
	if s, err := d.SensorBySerial(context.Background(), "SN"); err == nil {
		return s.ID
	}
	u := auth.User{Username: "owner", Email: "o@example.org"}
	s := telemetry.Sensor{Serial: "SN"}
	if err := d.CreateUser(context.Background(), &u); err != nil {
		panic(err)
	}
	s.OwnerID = u.ID
	if err := d.CreateSensor(context.Background(), &s, [32]byte{}); err != nil {
		panic(err)
	}
	return s.ID
}

// childRecord prints "shown" with the last seq before and "stored" after the batch is committed, as viewers and sensors would learn of it.
func childRecord(d *DB, sensor, seq int64, n int) int64 {
	var batch []telemetry.Reading
	for range n {
		seq++
		batch = append(batch, reads(sensor, seq))
	}
	fmt.Println("shown", seq)
	if err := d.Record(ingest.Batch{Readings: batch}); err != nil {
		fmt.Println("refused", err)
		return seq
	}
	fmt.Println("stored", batch[0].Seq, seq)
	return seq
}

// childUntilFileLimit forbids files to grow, so that a write fails with EFBIG: an I/O error like any other, from the kernel.
func childUntilFileLimit(d *DB, sensor int64) {
	seq := childRecord(d, sensor, d.LastSeq(), 10)
	signal.Ignore(syscall.SIGXFSZ)
	size := uint64(fileSize(d.path + "-wal"))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: size}); err != nil {
		panic(err)
	}
	seq = childRecord(d, sensor, seq, 10)
	select {
	case err := <-d.Failed():
		fmt.Println("failed", err)
	case <-time.After(5 * time.Second):
		fmt.Println("alive")
	}
	childRecord(d, sensor, seq, 10)
	fmt.Println("ready", d.Ready(context.Background()))
}

func startChild(t *testing.T, role, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childRole+"="+role, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCrash_NothingAcknowledgedIsLost(t *testing.T) {
	dir := t.TempDir()
	var shown int64            // highest seq anybody saw
	var epoch string           // of the process before
	stored := map[int64]bool{} // seqs acknowledged
	for round := range 5 {
		cmd, out := startChild(t, "record", dir)
		kill := time.AfterFunc(time.Hour, func() { _ = cmd.Process.Kill() })
		for out.Scan() {
			word := strings.Fields(out.Text())
			switch word[0] {
			case "open":
				kill.Reset(time.Duration(50+rand.IntN(250)) * time.Millisecond)
				if last := number(t, word[1]); last < shown {
					t.Errorf("round %d: begins after seq %d, but %d was shown", round, last, shown)
				}
				if word[2] == epoch {
					t.Errorf("round %d: the epoch is that of the killed process", round)
				}
				epoch = word[2]
			case "shown":
				shown = number(t, word[1])
			case "stored":
				for seq := number(t, word[1]); seq <= number(t, word[2]); seq++ {
					stored[seq] = true
				}
			default:
				t.Fatalf("round %d: child said %q", round, out.Text())
			}
		}
		kill.Stop()
		if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Fatalf("round %d: child ended by itself: %v", round, err)
		}
	}

	d := openAt(t, dir)
	if len(stored) == 0 {
		t.Fatal("nothing was stored")
	}
	for seq := range stored {
		if count(t, d, "SELECT count(*) FROM readings WHERE seq = ?", seq) != 1 {
			t.Fatalf("seq %d was acknowledged and is lost", seq)
		}
	}
	var verdict string
	if err := d.read.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check: %q, %v", verdict, err)
	}
	checkIndex(t, d)
	indexed := count(t, d, "SELECT count(*) FROM reading_index")
	t.Logf("%d readings acknowledged, %d of them indexed, all there", len(stored), indexed)
}

// changesOf are the changes of one batch; parent and child make the same of the same seed.
func changesOf(seed uint64) []session.Change {
	r := rand.New(rand.NewPCG(seed, 0))
	changes := make([]session.Change, 1+r.IntN(100))
	for i := range changes {
		changes[i] = anyChange(r.IntN)
	}
	return changes
}

// After each kill the file holds what was acknowledged, and of the one batch that was not, all or nothing.
func TestCrash_AcknowledgedChangesAreKeptAndNoneByHalves(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	childSensor(d)
	abandon(t, d)
	m := newMirror()
	m.users[1], m.sensors[1] = true, true
	batches := 0
	for round := range 5 {
		cmd, out := startChild(t, "journal", dir)
		kill := time.AfterFunc(time.Hour, func() { _ = cmd.Process.Kill() })
		doubtful := m.clone()
		for out.Scan() {
			word := strings.Fields(out.Text())
			switch word[0] {
			case "open":
				kill.Reset(time.Duration(50+rand.IntN(250)) * time.Millisecond)
			case "handed":
				for _, c := range changesOf(uint64(number(t, word[1]))) {
					doubtful.apply(c)
				}
			case "kept":
				m = doubtful.clone()
				batches++
			default:
				t.Fatalf("round %d: child said %q", round, out.Text())
			}
		}
		kill.Stop()
		if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Fatalf("round %d: child ended by itself: %v", round, err)
		}
		d := openAt(t, dir)
		found, at := sessions(t, d), telemetry.Now()
		abandon(t, d)
		lost := differ(found, m.start(at))
		if lost != "" && differ(found, doubtful.start(at)) != "" {
			t.Fatalf("round %d: what is kept differs from what was acknowledged (-want +got):\n%s", round, lost)
		}
		if lost != "" {
			m = doubtful
		}
	}
	if batches == 0 {
		t.Fatal("nothing was acknowledged")
	}
	t.Logf("%d batches of changes acknowledged, %d sessions kept", batches, len(m.sessions))
}

func TestCrash_FailedWriteFailsTheStoreForGood(t *testing.T) {
	dir := t.TempDir()
	cmd, out := startChild(t, "limit", dir)
	var words []string
	var stored int64
	for out.Scan() {
		word := strings.Fields(out.Text())
		words = append(words, word[0])
		switch word[0] {
		case "stored":
			stored = number(t, word[2])
		case "ready":
			if !strings.Contains(out.Text(), "can no longer be trusted") {
				t.Errorf("Ready: got %q, want the reason", out.Text())
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("child: %v", err)
	}
	if got, want := strings.Join(words, " "), "open shown stored shown refused failed shown refused ready"; got != want {
		t.Errorf("child said %q, want %q", got, want)
	}
	d := openAt(t, dir)
	if got := count(t, d, "SELECT count(*) FROM readings"); int64(got) != stored {
		t.Errorf("rows after restart: got %d, want the %d acknowledged", got, stored)
	}
}
