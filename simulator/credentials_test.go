package simulator

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"sensorcast/telemetry"
)

func TestReadCredentials_ReadsWhatWriteCredentialsWrites(t *testing.T) {
	want := []Credential{{"SIM-0001", "k3y"}, {"SIM-0002", `with "quotes", and comma`}}
	var file bytes.Buffer
	if err := WriteCredentials(&file, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadCredentials(&file)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v want %v", got, err, want)
	}
}

func TestReadCredentials_FindsColumnsByName(t *testing.T) {
	got, err := ReadCredentials(strings.NewReader("\ufeffname,secret_key,serial_no\nKitchen,s3cret,K1\n"))
	if err != nil || len(got) != 1 || got[0] != (Credential{"K1", "s3cret"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestReadCredentials_MistakesNameTheLineNotTheSecret(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty file":     {"", "empty"},
		"no header":      {"SIM-0001,geheim\n", "line 1"},
		"nothing below":  {"serial_no,secret_key\n", "no sensor"},
		"bad serial":     {"serial_no,secret_key\nA,geheim\nB/C,geheim\n", "line 3: serial_no"},
		"no secret":      {"serial_no,secret_key\nA,\n", "line 2: secret_key"},
		"twice":          {"serial_no,secret_key\nA,geheim\nB,geheim\nA,geheim\n", "line 4: serial_no: A is already on line 2"},
		"missing column": {"serial_no,secret_key\nA\n", "line 2"},
		"stray quote":    {"serial_no,secret_key\nA,ge\"heim\n", "line 2"},
	} {
		_, err := ReadCredentials(strings.NewReader(c.text))
		if !errors.Is(err, telemetry.ErrInvalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "heim") {
			t.Errorf("%s: got %v want %q", name, err, c.want)
		}
	}
}

func TestLoadCredentials_NamesTheFile(t *testing.T) {
	if _, err := LoadCredentials("/nowhere/at-all.csv"); err == nil || !strings.Contains(err.Error(), "at-all.csv") {
		t.Errorf("got %v", err)
	}
}
