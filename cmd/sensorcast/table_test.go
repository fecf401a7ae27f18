package main

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

const oneOfTwo = `{"id":"x","serial_no":"DESK-1","name":"Desk","description":"by the window\nleft","mac_address":"84:fc:e6:12:34:56","sensor_type":"indoor",
	"manufacturer":"","tags":["office","floor-2"],"owner":"ann","access":"owner","state":"online","connected":true,"last_seen_at":"2026-01-31T08:15:00.250Z",
	"silence_after":600,"latest":{"seq":12,"time":"2026-01-31T08:15:00.000Z","data":{"t":21.5,"n":1234567890123456789}},
	"problems":{"malformed":0,"refused":2,"last_reason":"not its topic","last_at":"2026-01-30T08:15:00.000Z"},
	"created_at":"2026-01-01T00:00:00.000Z","updated_at":"2026-01-02T00:00:00.000Z"}`

const otherOfTwo = `{"serial_no":"ATTIC","name":"Dachboden Süd","tags":[],"owner":"bob","access":"viewer","state":"never_seen","connected":false,"last_seen_at":null}`

func TestTable_IsForPeople(t *testing.T) {
	for name, print := range map[string]func(w io.Writer) error{
		"sensors.golden": func(w io.Writer) error {
			return table(w, sensorColumns, []json.RawMessage{json.RawMessage(oneOfTwo), json.RawMessage(otherOfTwo)})
		},
		"sensor.golden": func(w io.Writer) error { return card(w, sensorCard, json.RawMessage(oneOfTwo)) },
		"none.golden":   func(w io.Writer) error { return table(w, sensorColumns, nil) },
		"users.golden": func(w io.Writer) error {
			return table(w, accountColumns, []json.RawMessage{json.RawMessage(
				`{"username":"ann","email":"ann@example.com","first_name":"Ann","last_name":"Lee","role":"admin","disabled":false,"sensors":3,"created_at":"2026-01-01T00:00:00.000Z","last_login_at":null}`)})
		},
		"json.golden": func(w io.Writer) error { return plain(w, json.RawMessage(otherOfTwo)) },
	} {
		var out strings.Builder
		if err := print(&out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, name, out.String())
	}
}

// A name that reaches the terminal as it is could move its cursor, or write lines that look like ours.
func TestTable_ControlsNoTerminal(t *testing.T) {
	var out strings.Builder
	item, err := json.Marshal(map[string]any{"name": "a\x1b[2Jb\nc\u202ed\te"})
	if err != nil {
		t.Fatal(err)
	}
	if err := table(&out, []column{{"NAME", "name"}}, []json.RawMessage{item}); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "NAME\na [2Jb c d e\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
