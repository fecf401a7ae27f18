package main

import "testing"

func TestSensorcast_OnlyReadingsAreCounted(t *testing.T) {
	for body, want := range map[string]bool{
		`{"type":"reading","serial_no":"BENCH-0","seq":1,"data":{}}`: true,
		`{"type":"resume","token":"t"}`:                              false,
		`{"type":"hello","protocol":1}`:                              false,
		`{"type":"state","serial_no":"BENCH-0"}`:                     false,
		`{"type":"gap","serial_no":"BENCH-0"}`:                       false,
		`{"type":"reading"`:                                          false,
		``:                                                           false,
	} {
		if got := isReading(text, []byte(body)); got != want {
			t.Errorf("%s: got %t, want %t", body, got, want)
		}
	}
	const ping = 0x9
	if isReading(ping, []byte(`{"type":"reading","seq":1}`)) {
		t.Error("a ping counts as a reading")
	}
}
