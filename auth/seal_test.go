package auth

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestSealer_OpensOnlyItsOwn(t *testing.T) {
	keys, err := LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	others, err := LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const text = "canary-token"
	s := keys.Sealer("channels")
	sealed := s.Seal("ch1", []byte(text))
	if got, err := keys.Sealer("channels").Open("ch1", sealed); err != nil || string(got) != text {
		t.Fatalf("Open: got %q, %v, want %q", got, err, text)
	}
	if bytes.Contains(sealed, []byte(text)) || bytes.Equal(sealed, s.Seal("ch1", []byte(text))) {
		t.Error("the text shows, or two seals of it are the same")
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for what, open := range map[string]func() ([]byte, error){
		"another owner":   func() ([]byte, error) { return s.Open("ch2", sealed) },
		"another purpose": func() ([]byte, error) { return keys.Sealer("other").Open("ch1", sealed) },
		"other keys":      func() ([]byte, error) { return others.Sealer("channels").Open("ch1", sealed) },
		"a changed bit":   func() ([]byte, error) { return s.Open("ch1", changed) },
		"cut off":         func() ([]byte, error) { return s.Open("ch1", sealed[:5]) },
		"nothing":         func() ([]byte, error) { return s.Open("ch1", nil) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: got %q, want an error", what, got)
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v", s, s, s); strings.ReplaceAll(shown, "[sealer]", "") != "  " {
		t.Errorf("printed as %q", shown)
	}
}
