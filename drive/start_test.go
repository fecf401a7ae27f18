package drive

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refused starts a server that must not start, and returns the last line it says.
func refused(t *testing.T, dir string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := program(ctx, "serve", "--data-dir", dir, "--http-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0", "--admin-listen", "").CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Fatalf("got %v, want a server that does not start\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

func TestStart_SecondServerOnADirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	if said := refused(t, dir); !strings.Contains(said, dir) {
		t.Errorf("second server: said %q; want a refusal that names %s", said, dir)
	}
}

func TestStart_LostKeysAreRefusedAgainAndAgain(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	s.register("ann").sensor("SN1")
	if err := s.terminate(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "keys.json")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a supervisor tries again
		if said := refused(t, dir); !strings.Contains(said, "keys.json is missing") {
			t.Fatalf("without keys: said %q; want a refusal that names keys.json", said)
		}
	}
}

func TestStart_UnknownEnvironmentIsAWarning(t *testing.T) {
	t.Setenv("SENSORCAST_PORT", "tcp://10.0.0.1:80")
	s := serve(t, t.TempDir())
	if !strings.Contains(s.log.String(), "SENSORCAST_PORT") {
		t.Errorf("no warning names SENSORCAST_PORT:\n%s", s.log)
	}
}
