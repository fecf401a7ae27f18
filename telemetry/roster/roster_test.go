package roster

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sensorcast/telemetry"
)

func TestRead_TakesWhatSpreadsheetsWrite(t *testing.T) {
	want := []Row{
		{2, telemetry.Sensor{Serial: "SN1", Name: "Attic, north", Tags: []string{"roof", "north"}, SilenceAfter: time.Minute}, ""},
		{3, telemetry.Sensor{Serial: "SN2", Tags: []string{}}, "a-secret-of-its-own"},
	}
	for what, text := range map[string]string{
		"plain":            "serial_no,name,tags,silence_after,secret_key\nSN1,\"Attic, north\",roof;north,60,\nSN2,,,,a-secret-of-its-own\n",
		"byte order mark":  "\ufeffserial_no,name,tags,silence_after,secret_key\nSN1,\"Attic, north\",roof;north,60,\nSN2,,,,a-secret-of-its-own",
		"CRLF":             "serial_no,name,tags,silence_after,secret_key\r\nSN1,\"Attic, north\",roof;north,60,\r\nSN2,,,,a-secret-of-its-own\r\n",
		"semicolons":       "serial_no;name;tags;silence_after;secret_key\nSN1;Attic, north;\"roof;north\";60;\nSN2;;;;a-secret-of-its-own\n",
		"tabs":             "serial_no\tname\ttags\tsilence_after\tsecret_key\nSN1\tAttic, north\troof north\t60\t\nSN2\t\t\t\ta-secret-of-its-own\n",
		"another order":    "Tags, SILENCE_AFTER ,secret_key,name,serial_no\nroof;north,60,,\"Attic, north\",SN1\n,,a-secret-of-its-own,,SN2\n",
		"empty last cells": "serial_no,name,tags,silence_after,secret_key,\nSN1,\"Attic, north\",roof;north,60,,\nSN2,,,,a-secret-of-its-own,,,\n",
		"ignored fields":   "serial_no,name,tags,silence_after,secret_key,id,state\nSN1,\"Attic, north\",roof;north,60,,x,online\nSN2,,,,a-secret-of-its-own\n",
	} {
		s := Read([]byte(text))
		if err := s.Mistakes.Err(); err != nil {
			t.Errorf("%s: got %+v, want no mistake", what, s.Mistakes)
		}
		if diff := cmp.Diff(want, s.Rows); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestRead_CountsRowsAsASpreadsheetDoes(t *testing.T) {
	s := Read([]byte("serial_no,description\n\nSN1,\"two\nlines\"\n,\n\n\nSN2,\nSN2,\nSN3,\n"))
	var got []int
	for _, r := range s.Rows {
		got = append(got, r.Number)
	}
	if fmt.Sprint(got) != "[3 7 9]" {
		t.Errorf("got rows %v, want [3 7 9]", got)
	}
	if want := []Mistake{{8, "serial_no", "is in row 7 already"}}; cmp.Diff(want, s.Mistakes.Shown) != "" {
		t.Errorf("got %+v, want %+v", s.Mistakes.Shown, want)
	}
}

func TestRead_SaysWhatIsWrongByRowAndField(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "[{1  must hold the names of the fields, serial_no among them}]"},
		{"name\nx\n", "[{1 serial_no is missing}]"},
		{"serial_no,colour\n", "[{1  column 2 is no field of a sensor}]"},
		{"serial_no,name,name\n", "[{1 name is there twice}]"},
		{"serial_no,name\n,x\n", "[{2 serial_no is missing}]"},
		{"serial_no\nSN1,x\n", "[{2  has more cells than there are fields}]"},
		{"serial_no,silence_after\nSN1,soon\nSN2,0\n", "[{2 silence_after must be a whole number of seconds, or empty for the server's default} {3 silence_after must be a whole number of seconds, or empty for the server's default}]"},
		{"serial_no,name\nSN1,\"x\nSN2,y", "[{2  is not well-formed CSV: quotation marks that do not match}]"},
		{"serial_no,name\nSN1,bell \a\n", "[{2 name must not contain control characters}]"},
		{"serial_no,name\nSN1,\xff\n", "[{2 name must be valid UTF-8}]"},
		{"serial_no,mac_address,silence_after\nSN1,zz,x\n", "[{2 silence_after must be a whole number of seconds, or empty for the server's default} {2 mac_address must be a MAC address such as 84:fc:e6:12:34:56}]"},
	} {
		if got := fmt.Sprint(Read([]byte(c.text)).Mistakes.Shown); got != c.want {
			t.Errorf("%q: got %s, want %s", c.text, got, c.want)
		}
	}
}

func TestRead_IsBounded(t *testing.T) {
	s := Read([]byte("serial_no\n" + strings.Repeat("#\n", MaxRows)))
	if len(s.Mistakes.Shown) != MaxMistakes || s.Mistakes.More != MaxRows-MaxMistakes {
		t.Errorf("got %d mistakes and %d more, want %d and %d", len(s.Mistakes.Shown), s.Mistakes.More, MaxMistakes, MaxRows-MaxMistakes)
	}
	var text bytes.Buffer
	text.WriteString("serial_no\n")
	for i := range MaxRows + 1 {
		fmt.Fprintf(&text, "SN%d\n", i)
	}
	s = Read(text.Bytes())
	if want := []Mistake{{0, "", "has more than 10000 rows"}}; cmp.Diff(want, s.Mistakes.Shown) != "" || len(s.Rows) != MaxRows {
		t.Errorf("got %d rows, %+v", len(s.Rows), s.Mistakes)
	}
}

// sensors draws what the registry may hold.
func sensors(t *rapid.T) telemetry.Sensor {
	text := rapid.OneOf(rapid.StringMatching(`'{0,2}[-=+@' a;,"]{0,3}.{0,10}`), rapid.String())
	s := telemetry.Sensor{
		Serial: rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._:-]{0,63}`).Draw(t, "serial"), Name: text.Draw(t, "name"), Description: text.Draw(t, "description"),
		SensorType: text.Draw(t, "type"), Manufacturer: text.Draw(t, "manufacturer"),
		Tags:         rapid.SliceOfN(rapid.OneOf(rapid.StringMatching(`[-=a ;'\x{a0}\x{2003}]{0,4}`), rapid.String()), 0, 3).Draw(t, "tags"),
		SilenceAfter: time.Duration(rapid.IntRange(0, 1000).Draw(t, "silence")) * time.Second,
	}
	if s.Check() != nil {
		t.Skip()
	}
	return s
}

// What is exported comes back as it was, and no cell of it is a formula.
func TestWriter_RoundTripsAndHarmsNoSpreadsheet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := sensors(t)
		var sheet bytes.Buffer
		w := NewWriter(&sheet)
		w.Write(want)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		checkHarmless(t, sheet.Bytes())
		s := Read(sheet.Bytes())
		if err := s.Mistakes.Err(); err != nil || len(s.Rows) != 1 {
			t.Fatalf("%q: got %+v", sheet.String(), s)
		}
		if diff := cmp.Diff(want, s.Rows[0].Sensor); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", sheet.String(), diff)
		}
		if fields := s.Differences(s.Rows[0], want); fields != nil {
			t.Fatalf("got differences %v, want none", fields)
		}
	})
}

func checkHarmless(t interface{ Fatalf(string, ...any) }, sheet []byte) {
	records, err := csv.NewReader(bytes.NewReader(sheet)).ReadAll()
	if err != nil {
		t.Fatalf("%q: %v", sheet, err)
	}
	for _, record := range records {
		for _, cell := range record {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Fatalf("a spreadsheet would run the cell %q", cell)
			}
		}
	}
}

func TestApply_ChangesOnlyWhatTheSheetHas(t *testing.T) {
	s := Read([]byte("serial_no,name,tags\nSN1,new,\n"))
	there := telemetry.Sensor{Serial: "SN1", Name: "old", Description: "kept", Tags: []string{"a"}, SilenceAfter: time.Minute}
	if got := fmt.Sprint(s.Differences(s.Rows[0], there)); got != "[name tags]" {
		t.Errorf("got differences %s, want [name tags]", got)
	}
	s.Apply(s.Rows[0], &there)
	if there.Name != "new" || there.Description != "kept" || len(there.Tags) != 0 || there.SilenceAfter != time.Minute {
		t.Errorf("got %+v", there)
	}
}

// Whatever is sent: no panic, mistakes within their bounds, and what was taken can be written and is read again the same.
func FuzzRead(f *testing.F) {
	f.Add([]byte("serial_no,name,tags,silence_after,secret_key\nSN1,'=1+1,a;b,60,0123456789abcdef\n"))
	f.Add([]byte("\ufeffserial_no;description\r\nSN1;\"two\nlines\"\r\n\r\nSN2;@x"))
	f.Add([]byte("serial_no\tmac_address\nSN1\t84-FC-E6-12-34-56"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := Read(text)
		if len(s.Mistakes.Shown) > MaxMistakes || len(s.Rows) > MaxRows {
			t.Fatalf("got %d mistakes, %d rows", len(s.Mistakes.Shown), len(s.Rows))
		}
		if len(s.Rows) == 0 {
			return
		}
		var sheet bytes.Buffer
		w := NewWriter(&sheet)
		for _, r := range s.Rows {
			w.Write(r.Sensor)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		checkHarmless(t, sheet.Bytes())
		again := Read(sheet.Bytes())
		if err := again.Mistakes.Err(); err != nil || len(again.Rows) != len(s.Rows) {
			t.Fatalf("got %+v, %d rows of %d", again.Mistakes, len(again.Rows), len(s.Rows))
		}
		for i, r := range s.Rows {
			if fields := again.Differences(again.Rows[i], r.Sensor); fields != nil {
				t.Fatalf("row %d differs in %v", r.Number, fields)
			}
		}
	})
}

// A cell that has only one tag looks like several where the tag has spaces of whatever kind.
func TestTags_OneWithSpacesStaysOne(t *testing.T) {
	for _, tag := range []string{"a b", "a\u00a0b", "a\u2003b", "a;b", "a b;c"} {
		var sheet bytes.Buffer
		w := NewWriter(&sheet)
		w.Write(telemetry.Sensor{Serial: "SN1", Tags: []string{tag}})
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if rows := Read(sheet.Bytes()).Rows; len(rows) != 1 || !slices.Equal(rows[0].Sensor.Tags, []string{tag}) {
			t.Errorf("%q: got %+v", tag, rows)
		}
	}
}
