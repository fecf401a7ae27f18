package telemetry

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStatus_IsSilentUntilTheNextReading(t *testing.T) {
	for _, tc := range []struct {
		status Status
		want   State
	}{
		{Status{}, StateNeverSeen},
		{Status{LastSeenAt: 5}, StateOnline},
		{Status{LastSeenAt: 5, SilentFrom: 5}, StateSilent},
		{Status{LastSeenAt: 6, SilentFrom: 5}, StateOnline},
		{Status{LastSeenAt: 4, SilentFrom: 5}, StateOnline}, // our own clock was set back
	} {
		if got := tc.status.State(); got != tc.want {
			t.Errorf("%+v: got %s, want %s", tc.status, got, tc.want)
		}
	}
}

func TestSensorCheck_NamesTheFieldAtFault(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Sensor)
		want   string // field; empty: fine
	}{
		"least":                 {func(*Sensor) {}, ""},
		"no serial":             {func(s *Sensor) { s.Serial = "" }, "serial_no"},
		"serial with slash":     {func(s *Sensor) { s.Serial = "a/b" }, "serial_no"},
		"other scripts":         {func(s *Sensor) { s.Name = "Kühlraum 冷蔵庫 ❄" }, ""},
		"longest name":          {func(s *Sensor) { s.Name = strings.Repeat("é", 200) }, ""},
		"name too long":         {func(s *Sensor) { s.Name = strings.Repeat("é", 201) }, "name"},
		"name on two lines":     {func(s *Sensor) { s.Name = "a\nb" }, "name"},
		"name with escape":      {func(s *Sensor) { s.Name = "\x1b[2J" }, "name"},
		"name with NUL":         {func(s *Sensor) { s.Name = "a\x00" }, "name"},
		"name with DEL":         {func(s *Sensor) { s.Name = "a\x7f" }, "name"},
		"name with C1":          {func(s *Sensor) { s.Name = "a\u009b2J" }, "name"},
		"name broken":           {func(s *Sensor) { s.Name = "a\xff" }, "name"},
		"name turned around":    {func(s *Sensor) { s.Name = "a\u202egpj" }, "name"},
		"name with isolate":     {func(s *Sensor) { s.Name = "a\u2066b" }, "name"},
		"name, line separator":  {func(s *Sensor) { s.Name = "a\u2028b" }, "name"},
		"description, lines":    {func(s *Sensor) { s.Description = "a\n\nb" }, ""},
		"description with CR":   {func(s *Sensor) { s.Description = "a\r\nb" }, "description"},
		"description too long":  {func(s *Sensor) { s.Description = strings.Repeat("x", 2001) }, "description"},
		"own type":              {func(s *Sensor) { s.SensorType = "in the freezer" }, ""},
		"type too long":         {func(s *Sensor) { s.SensorType = strings.Repeat("x", 101) }, "sensor_type"},
		"manufacturer with tab": {func(s *Sensor) { s.Manufacturer = "a\tb" }, "manufacturer"},
		"silence default":       {func(s *Sensor) { s.SilenceAfter = 0 }, ""},
		"silence least":         {func(s *Sensor) { s.SilenceAfter = time.Second }, ""},
		"silence too short":     {func(s *Sensor) { s.SilenceAfter = time.Millisecond }, "silence_after"},
		"silence negative":      {func(s *Sensor) { s.SilenceAfter = -time.Hour }, "silence_after"},
		"silence too long":      {func(s *Sensor) { s.SilenceAfter = 367 * 24 * time.Hour }, "silence_after"},
		"twenty tags":           {func(s *Sensor) { s.Tags = strings.Split("abcdefghijklmnopqrst", "") }, ""},
		"too many tags":         {func(s *Sensor) { s.Tags = strings.Split("abcdefghijklmnopqrstu", "") }, "tags"},
		"tag too long":          {func(s *Sensor) { s.Tags = []string{strings.Repeat("x", 51)} }, "tags"},
		"tag with comma":        {func(s *Sensor) { s.Tags = []string{"a,b"} }, "tags"},
		"tag on two lines":      {func(s *Sensor) { s.Tags = []string{"a\nb"} }, "tags"},
		"MAC words":             {func(s *Sensor) { s.MACAddress = "none" }, "mac_address"},
		"MAC too short":         {func(s *Sensor) { s.MACAddress = "84:fc:e6:12:34" }, "mac_address"},
		"MAC of InfiniBand":     {func(s *Sensor) { s.MACAddress = strings.Repeat("00:", 19) + "00" }, "mac_address"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Sensor{Serial: "SN1"}
			tc.change(&s)
			err := s.Check()
			if tc.want == "" {
				if err != nil {
					t.Errorf("Check() = %v, want none", err)
				}
				return
			}
			var field *FieldError
			if !errors.As(err, &field) || field.Field != tc.want || !errors.Is(err, ErrInvalid) {
				t.Errorf("Check() = %v, want an ErrInvalid of field %s", err, tc.want)
			}
		})
	}
}

func TestSensorCheck_NormalisesMACAddresses(t *testing.T) {
	for given, want := range map[string]string{
		"":                        "",
		"84:FC:E6:12:34:56":       "84:fc:e6:12:34:56",
		"84-fc-e6-12-34-56":       "84:fc:e6:12:34:56",
		"84fc.e612.3456":          "84:fc:e6:12:34:56",
		"00:12:4B:00:14:B5:D9:8A": "00:12:4b:00:14:b5:d9:8a",
	} {
		s := Sensor{Serial: "SN1", MACAddress: given}
		if err := s.Check(); err != nil || s.MACAddress != want {
			t.Errorf("Check of MAC %q = %q, %v; want %q", given, s.MACAddress, err, want)
		}
	}
}

func TestSensorCheck_TagsAreTrimmedAndDistinct(t *testing.T) {
	s := Sensor{Serial: "SN1", Tags: []string{" roof ", "roof", "", "  ", "Roof", "a b"}}
	if err := s.Check(); err != nil {
		t.Fatalf("Check() = %v", err)
	}
	if want := []string{"roof", "Roof", "a b"}; !slices.Equal(s.Tags, want) {
		t.Errorf("tags = %q, want %q", s.Tags, want)
	}
	s.Tags = nil
	if err := s.Check(); err != nil || s.Tags == nil {
		t.Errorf("tags of none = %#v, %v; want an empty list, which is [] in JSON", s.Tags, err)
	}
}

func TestFieldError_NeverRepeatsTheValue(t *testing.T) {
	s := Sensor{Serial: "hunter2 hunter2"}
	if err := s.Check(); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Check() = %v, want an error without the value", err)
	}
	if err := Conflict("serial_no", "is taken"); !errors.Is(err, ErrConflict) || errors.Is(err, ErrInvalid) {
		t.Errorf("Conflict is of kind %v, want ErrConflict only", errors.Unwrap(err))
	}
}
