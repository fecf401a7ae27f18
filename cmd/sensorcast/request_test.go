package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// silence has this process print nothing until the test ends.
func silence(t *testing.T) {
	t.Helper()
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	out, complaints := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = nowhere, nowhere
	t.Cleanup(func() { os.Stdout, os.Stderr = out, complaints; nowhere.Close() })
}

// Each command asks the server for what the contract says, whether this version of the server has it or not.
func TestCommands_AskForWhatTheContractSays(t *testing.T) {
	requests := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Authorization") != "Bearer a-token" {
			w.WriteHeader(http.StatusTeapot)
		}
		requests <- strings.TrimSpace(r.Method + " " + strings.TrimPrefix(r.URL.RequestURI(), "/api/v1/") + " " + string(body))
		io.WriteString(w, `{"items":[{"username":"Ann"}],"next_cursor":null}`)
	}))
	defer server.Close()
	t.Setenv("SENSORCAST_TOKEN", "a-token")
	silence(t)
	sheet := filepath.Join(t.TempDir(), "fleet.csv")
	if err := os.WriteFile(sheet, []byte("serial_no\nSN1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"user list --q ann":             "GET users?limit=500&q=ann",
		"user show ann":                 "GET users?limit=500&q=ann",
		"user disable ann":              `PATCH users/ann {"disabled":true}`,
		"user enable ann":               `PATCH users/ann {"disabled":false}`,
		"user role ann admin":           `PATCH users/ann {"role":"admin"}`,
		"user remove-second-factor ann": "DELETE users/ann/second-factor",
		"user delete ann/../bob --yes":  "DELETE users/ann%2F..%2Fbob",
		"user invite":                   `POST invitations {"role":"user"}`,
		"user invite --email a@b --role admin --expires-in 72h": `POST invitations {"email":"a@b","expires_in":259200,"role":"admin"}`,
		"user invitations":                     "GET invitations?limit=500",
		"user uninvite x1":                     "DELETE invitations/x1",
		"sensor create":                        "POST sensors {}",
		"sensor create SN1 --name N --tag a,b": `POST sensors {"name":"N","serial_no":"SN1","tags":["a","b"]}`,
		"sensor list --tag a --tag b --state silent --access owner --sort=-name": "GET sensors?access=owner&limit=500&sort=-name&state=silent&tag=a&tag=b",
		"sensor show SN1":                               "GET sensors/SN1",
		"sensor update SN1 --type outdoor":              `PATCH sensors/SN1 {"sensor_type":"outdoor"}`,
		"sensor update SN1 --silence-after 0s":          `PATCH sensors/SN1 {"silence_after":null}`,
		"sensor delete SN1 -y":                          "DELETE sensors/SN1",
		"sensor rotate-secret SN1 --grace 1h":           `POST sensors/SN1/secret {"grace_seconds":3600}`,
		"sensor share SN1 bob":                          `PUT sensors/SN1/shares/bob {"access":"viewer"}`,
		"sensor share SN1 bob --access manager":         `PUT sensors/SN1/shares/bob {"access":"manager"}`,
		"sensor unshare SN1 bob":                        "DELETE sensors/SN1/shares/bob",
		"sensor shares SN1":                             "GET sensors/SN1/shares",
		"sensor transfer SN1":                           "POST sensors/SN1/transfer {}",
		"sensor transfer SN1 --to bob --expires-in 24h": `POST sensors/SN1/transfer {"expires_in":86400,"username":"bob"}`,
		"sensor transfer SN1 --withdraw":                "DELETE sensors/SN1/transfer",
		"sensor claim K7QP-4M2D-9XWA":                   `POST sensors/claim {"claim_code":"K7QP-4M2D-9XWA","keep_secret":false}`,
		"sensor inbox":                                  "GET inbox?limit=500",
		"sensor adopt SN1":                              "POST inbox/SN1/adopt {}",
		"sensor adopt SN1 --owner bob --no-keep-secret": `POST inbox/SN1/adopt {"keep_secret":false,"owner":"bob"}`,
		"sensor dismiss SN1":                            "DELETE inbox/SN1",
		"sensor import " + sheet:                        "POST sensors/import serial_no\nSN1",
		"sensor import --dry-run --update " + sheet:     "POST sensors/import?dry_run=true&update=true serial_no\nSN1",
		"sensor export --tag a":                         "GET sensors/export?tag=a",
		"audit --actor ann --serial-no SN1 --action rotate-secret --from A --to B": "GET audit?action=rotate-secret&actor=ann&from=A&limit=500&serial_no=SN1&to=B",
	} {
		status, asked := run(append(strings.Fields(args), "--url", server.URL)), ""
		select {
		case asked = <-requests:
		default:
		}
		if status != 0 || asked != want {
			t.Errorf("%s: exit status %d, asked for %q, want %q", args, status, asked, want)
		}
	}
	if status := run([]string{"user", "show", "an", "--url", server.URL}); status != 1 {
		t.Errorf("somebody whose name is part of another's: exit status %d, want 1, for there is no such account", status)
	}
}
