package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shell runs a command on a data directory and returns what it printed, what it complained of, and its exit status.
func shell(t *testing.T, dir, stdin string, args ...string) (out, complaint string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], append(args, "--data-dir", dir)...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "SENSORCAST_SILENCE_AFTER=7m", "SENSORCAST_NAME=of the environment")
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		status = failed.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), status
}

// must runs a command that succeeds.
func must(t *testing.T, dir, stdin string, args ...string) string {
	t.Helper()
	out, complaint, status := shell(t, dir, stdin, args...)
	if status != 0 {
		t.Fatalf("sensorcast %v: exit status %d, %s", args, status, complaint)
	}
	return out
}

func jsonOf(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func TestShell_WholeLifeWithoutAServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	const secret = "correct horse battery\n"
	u := jsonOf(t, must(t, dir, secret, "user", "create", "ann", "--email", "ann@example.com", "--password-stdin", "--json")).(map[string]any)
	if u["username"] != "ann" || u["role"] != "admin" {
		t.Errorf("first account: got %v, want ann and admin", u)
	}
	must(t, dir, secret, "user", "create", "bob", "--email", "bob@example.com", "--password-stdin")
	made := jsonOf(t, must(t, dir, "", "sensor", "create", "SN1", "--name", "Desk", "--tag", "a", "--tag", "b", "--as", "ann", "--json")).(map[string]any)
	if s := made["sensor"].(map[string]any); s["name"] != "Desk" || s["owner"] != "ann" || s["silence_after"] != nil {
		t.Errorf("got sensor %v, want ann's Desk, with nothing of the environment", s)
	}
	must(t, dir, "a-secret-of-ones-own\n", "sensor", "create", "--as", "bob", "--secret-stdin")
	must(t, dir, "", "sensor", "update", "SN1", "--silence-after", "5m", "--tag", "", "--as", "ann")
	s := jsonOf(t, must(t, dir, "", "sensor", "show", "SN1", "--as", "ann", "--json")).(map[string]any)
	if s["silence_after"] != 300.0 || len(s["tags"].([]any)) != 0 || s["name"] != "Desk" {
		t.Errorf("updated: got %v, want 300 s, no tags, the name as it was", s)
	}
	must(t, dir, "", "sensor", "update", "SN1", "--silence-after", "0s", "--as", "ann")
	if s := jsonOf(t, must(t, dir, "", "sensor", "show", "SN1", "--as", "ann", "--json")).(map[string]any); s["silence_after"] != nil {
		t.Errorf("reset: got %v, want the default", s["silence_after"])
	}
	if list := jsonOf(t, must(t, dir, "", "sensor", "list", "--as", "bob", "--json")).([]any); len(list) != 1 {
		t.Errorf("got %v, want bob's one sensor", list)
	}
	next := jsonOf(t, must(t, dir, "", "sensor", "rotate-secret", "SN1", "--grace", "1h", "--as", "ann", "--json")).(map[string]any)
	if next["secret_key"] == made["secret_key"] || next["old_valid_until"] == nil {
		t.Errorf("rotated: got %v, want another secret and an hour for the old one", next)
	}
	must(t, dir, "another good one\n", "user", "password", "bob", "--password-stdin")
	if out := must(t, dir, "", "sensor", "delete", "SN1", "--as", "ann", "--yes"); out != "deleted SN1\n" {
		t.Errorf("got %q", out)
	}
	if out := must(t, dir, "", "sensor", "list", "--as", "ann"); out != "none\n" {
		t.Errorf("got %q", out)
	}
	must(t, dir, "", "user", "delete", "bob", "--yes")
	trail := jsonOf(t, must(t, dir, "", "audit", "--limit", "0", "--json")).([]any)
	if len(trail) != 10 {
		t.Errorf("got %d entries, want one for each of the ten things done", len(trail))
	}
	for _, e := range trail {
		if e := e.(map[string]any); e["via"] != "shell" || e["address"] != nil {
			t.Errorf("got entry %v, want it via shell from nowhere", e)
		}
	}
	if own := jsonOf(t, must(t, dir, "", "audit", "--as", "ann", "--json", "--limit", "2")).([]any); len(own) != 2 {
		t.Errorf("got %d of ann's entries, want two", len(own))
	}
	if _, err := os.Stat(filepath.Join(dir, socketName)); err == nil {
		t.Errorf("the socket is still there")
	}
}

func TestShell_MistakesAreOneClearLineAndAStatus(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "correct horse battery\n", "user", "create", "ann", "--email", "ann@example.com", "--password-stdin")
	const failed, misused = 1, 2
	for _, tc := range []struct {
		args   string
		status int
		want   string
	}{
		{"user create ann --email x@example.com --password-stdin", failed, "username: is taken"},
		{"user create eve --email x --password-stdin", failed, "email: must be an e-mail address"},
		{"user create eve --password-stdin", misused, "--email"},
		{"user create eve --email eve@example.com", misused, "--password-stdin"},
		{"user password nobody --password-stdin", failed, "404"},
		{"user delete ann", misused, "--yes"},
		{"user role ann king", misused, "king"},
		{"user frobnicate", misused, "frobnicate"},
		{"sensor list", failed, "--as"},
		{"sensor list --as nobody", failed, "--as"},
		{"sensor list --as ann --state asleep", failed, "state"},
		{"sensor list --as ann --url http://127.0.0.1:1", misused, "--as"},
		{"sensor show SN404 --as ann", failed, "404"},
		{"sensor delete SN404 --as ann", misused, "--yes"},
		{"sensor show", misused, "serial"},
		{"sensor import /nowhere/x.csv --as ann", misused, "/nowhere/x.csv"},
		{"sensor list --url nonsense", misused, "nonsense"},
		{"sensor list --url http://127.0.0.1:1", failed, "SENSORCAST_TOKEN"},
	} {
		out, complaint, status := shell(t, dir, "correct horse battery\n", strings.Fields(tc.args)...)
		if status != tc.status || !strings.Contains(complaint, tc.want) || strings.Count(complaint, "\n") != 1 || out != "" {
			t.Errorf("%s: got exit status %d, %q on standard error, %q on output; want %d, one line with %q", tc.args, status, complaint, out, tc.status, tc.want)
		}
	}
	if _, complaint, status := shell(t, filepath.Join(dir, "typo"), "", "user", "list"); status != failed || !strings.Contains(complaint, "typo") {
		t.Errorf("wrong directory: got %d, %q; want it named", status, complaint)
	}
	if _, err := os.Stat(filepath.Join(dir, "typo")); err == nil {
		t.Errorf("a slip of the pen made a directory")
	}
}

// Every command explains itself, and docs/cli.md knows it.
func TestShell_EveryCommandHasHelpAndAPlaceInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for group, names := range map[string]string{
		"user":   "create list show disable enable role password remove-second-factor delete invite invitations uninvite",
		"sensor": "create list show update delete rotate-secret share unshare shares transfer claim inbox adopt dismiss import export",
		"audit":  "",
	} {
		for _, name := range append(strings.Fields(names), "") {
			words := strings.Fields(group + " " + name)
			out, failed := execute(t, nil, append(words, "--help")...)
			if failed || !strings.Contains(out, "Usage: sensorcast "+strings.Join(words, " ")) {
				t.Errorf("%v --help printed %.100q", words, out)
			}
			if !strings.Contains(out, "sensorcast "+strings.Join(words, " ")+" ") && !strings.Contains(out, "    sensorcast "+strings.Join(words, " ")) {
				t.Errorf("%v --help has no example", words)
			}
			if !strings.Contains(string(page), "`"+strings.Join(words, " ")) && name != "" {
				t.Errorf("docs/cli.md does not mention %v", words)
			}
		}
	}
}
