package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// asProgram makes the test binary behave as the sensorcast command.
const asProgram = "RUN_AS_SENSORCAST"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Unsetenv(asProgram)
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// execute runs the command to its end and returns what it printed and whether it failed.
func execute(t *testing.T, env []string, args ...string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("sensorcast %v did not end\n%s", args, out)
	}
	return string(out), err != nil
}

func TestCommand_MistakesAreOneClearLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("no directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := func(text string) string {
		path := filepath.Join(t.TempDir(), "sensorcast.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	free := []string{"--http-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"taken port":        {append(free[2:], "--http-listen", taken.Addr().String()), []string{"taken", "--http-listen", taken.Addr().String()}},
		"taken MQTT port":   {append(free[:2:2], "--admin-listen", "", "--mqtt-listen", taken.Addr().String()), []string{"taken", "--mqtt-listen"}},
		"data dir is file":  {append(free, "--data-dir", file), []string{file}},
		"unknown flag":      {append(free, "--tiket-ttl", "1s"), []string{"--tiket-ttl"}},
		"unknown key":       {append(free, "--config", yaml("http_listen: :0\ntiket_ttl: 1s\n")), []string{"tiket_ttl"}},
		"broken YAML":       {append(free, "--config", yaml("a: [")), []string{"sensorcast.yaml"}},
		"missing file":      {append(free, "--config", "/nowhere/x.yaml"), []string{"/nowhere/x.yaml"}},
		"long ticket":       {append(free, "--ticket-ttl", "31s"), []string{"--ticket-ttl", "30s"}},
		"bad duration":      {append(free, "--silence-after", "soon"), []string{"--silence-after"}},
		"bad registration":  {append(free, "--registration", "maybe"), []string{"--registration"}},
		"TLS without files": {append(free, "--mqtts-listen", "127.0.0.1:0"), []string{"--tls-cert"}},
		"no such cert":      {append(free, "--mqtts-listen", "127.0.0.1:0", "--tls-cert", "/nowhere/c.pem", "--tls-key", file), []string{"/nowhere/c.pem"}},
		"not an address":    {append(free[2:], "--http-listen", "nonsense"), []string{"--http-listen"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve", "--data-dir", t.TempDir()}, tc.args...)
			out, failed := execute(t, nil, args...)
			if !failed {
				t.Fatalf("exit status 0, want a failure\n%s", out)
			}
			last := lastLine(out)
			for _, want := range tc.want {
				if !strings.Contains(last, want) {
					t.Errorf("last line %q does not mention %q", last, want)
				}
			}
		})
	}
}

func TestCommand_ConfigCheckFindsContradictions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(file, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args string
		want string // in the last line; empty: valid
	}{
		"receivers anywhere":        {"--webhook-allow anywhere", "--webhook-allow"},
		"receivers at home":         {"--webhook-allow 192.168.0.0/16,fd00::/8", ""},
		"heartbeat by mail":         {"--heartbeat-url mailto:x@example.org", "--heartbeat-url"},
		"heartbeat in a hurry":      {"--heartbeat-every 1ms", "--heartbeat-every"},
		"HTTPS without certificate": {"--https-listen :0", "--https-listen needs a certificate"},
		"MQTTS without certificate": {"--mqtts-listen :0", "--mqtts-listen needs a certificate"},
		"half a pair":               {"--https-listen :0 --tls-cert c.pem", "--tls-key"},
		"files and ACME":            {"--https-listen :0 --tls-cert c.pem --tls-key k.pem --acme-domain a.example.com", "choose one"},
		"ACME for nobody":           {"--acme-domain a.example.com", "--https-listen"},
		"ACME for an address":       {"--https-listen :0 --acme-domain 192.0.2.1", "192.0.2.1"},
		"ACME for a wildcard":       {"--https-listen :0 --acme-domain *.example.com", "wildcard"},
		"ACME for localhost":        {"--https-listen :0 --acme-domain localhost", "localhost"},
		"ACME in the clear":         {"--https-listen :0 --acme-domain a.example.com --acme-directory http://ca.example/dir", "--acme-directory"},
		"e-mail for no ACME":        {"--acme-email a@example.com", "--acme-domain"},
		"client CA without TLS":     {"--mqtt-client-ca ca.pem", "--mqtts-listen"},
		"required without CA":       {"--mqtts-listen :0 --acme-domain a.example.com --mqtt-client-cert require", "--mqtt-client-ca"},
		"proxy that is no network":  {"--proxy-protocol-from 10.0.0.1", "10.0.0.1"},
		"PROXY on no listener":      {"--proxy-protocol-from 10.0.0.0/8 --proxy-protocol-on admin", "--proxy-protocol-on"},
		"certificate that is none":  {"--https-listen :0 --tls-cert " + file + " --tls-key " + file, file},
		"mail server that is none":  {"--smtp-url http://u:hunter2@h --mail-from a@example.com", "smtp://"},
		"mail server's bad port":    {"--smtp-url smtp://u:hunter2@h:x --mail-from a@example.com", "smtp://"},
		"mail from nobody":          {"--smtp-url smtp://u:hunter2@h", "sender"},
		"mail from without server":  {"--mail-from a@example.com", "--smtp-url"},
		"public URL with a query":   {"--public-url https://a.example.com?x=1", "--public-url"},
		"public URL that is none":   {"--public-url a.example.com", "--public-url"},
		"mail":                      {"--smtp-url smtps://u:p%40ss@h --mail-from a@example.com --public-url https://a.example.com/x/", ""},
		"ACME":                      {"--https-listen :0 --acme-domain a.example.com,b.example.com --acme-email a@example.com", ""},
		"PROXY":                     {"--proxy-protocol-from 10.0.0.0/8,fd00::/8 --proxy-protocol-on https,mqtt", ""},
	} {
		out, failed := execute(t, nil, append([]string{"config", "check"}, strings.Fields(tc.args)...)...)
		if failed != (tc.want != "") || !strings.Contains(lastLine(out), tc.want) || strings.Contains(out, "hunter2") {
			t.Errorf("%s: failed %v, said %q; want %q", name, failed, lastLine(out), tc.want)
		}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func TestCommand_FlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sensorcast.yaml")
	if err := os.WriteFile(file, []byte("ticket_ttl: 1s\nsilence_after: 1m\nretain: 1h\nallowed_origins: [https://a.example, https://b.example]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, failed := execute(t, []string{"SENSORCAST_TICKET_TTL=2s", "SENSORCAST_SILENCE_AFTER=2m"}, "config", "print", "--config", file, "--ticket-ttl", "300ms")
	if failed {
		t.Fatal(out)
	}
	for _, want := range []string{"ticket_ttl: 300ms", "silence_after: 2m0s", "retain: 1h0m0s", "max_payload: 65536", "https://b.example"} {
		if !strings.Contains(out, want) {
			t.Errorf("settings lack %q:\n%s", want, out)
		}
	}
}

func TestCommand_ExampleConfigurationHoldsEveryDefault(t *testing.T) {
	out, failed := execute(t, nil, "config", "print")
	if failed {
		t.Fatal(out)
	}
	example, err := os.ReadFile("../../configs/sensorcast.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(example), out) {
		t.Errorf("configs/sensorcast.yaml does not end in what `sensorcast config print` says; want\n%s", out)
	}
}

func TestCommand_ConfigPrintHidesThePassword(t *testing.T) {
	out, failed := execute(t, []string{"SENSORCAST_SMTP_URL=smtp://relay:hunter2@mail.example.com"}, "config", "print", "--mail-from", "a@example.com")
	if failed || strings.Contains(out, "hunter2") || !strings.Contains(out, "smtp_url: smtp://relay:xxxxx@mail.example.com") {
		t.Errorf("failed %v, printed:\n%s", failed, out)
	}
}

func TestCommand_VersionAndOpenAPIPrint(t *testing.T) {
	if out, failed := execute(t, nil, "version"); failed || !strings.HasPrefix(out, "sensorcast ") {
		t.Errorf("version printed %q", out)
	}
	if out, failed := execute(t, nil, "openapi"); failed || !strings.Contains(out, `"openapi":"3.1`) && !strings.Contains(out, `"openapi": "3.1`) {
		t.Errorf("openapi printed %.200q", out)
	}
}
