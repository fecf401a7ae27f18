package auth

import "testing"

func TestOnce_IsOfOneAccountKeyAndBody(t *testing.T) {
	keys, err := LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := NewDirectory(keys)
	o := d.NewOnce(1, "key", []byte("body"))
	again := d.NewOnce(1, "key", []byte("body"))
	if again.Key != o.Key || again.Body != o.Body || again.Salt == o.Salt {
		t.Errorf("the same again: got %v and %v, want key and body equal and another salt", o, again)
	}
	for what, other := range map[string]Once{"account": d.NewOnce(2, "key", nil), "key": d.NewOnce(1, "kez", nil), "server": otherDirectory(t).NewOnce(1, "key", nil)} {
		if other.Key == o.Key {
			t.Errorf("another %s has the same Key", what)
		}
	}
	if d.NewOnce(1, "key", []byte("bodx")).Body == o.Body {
		t.Error("another body has the same Body")
	}
	secret := d.SecretOf(o)
	if secret != d.SecretOf(o) || CheckDeviceSecret(secret) != nil || len(secret) != len(NewDeviceSecret()) {
		t.Error("the secret is not the same each time, or not one")
	}
	if secret == d.SecretOf(again) || secret == otherDirectory(t).SecretOf(o) {
		t.Error("another salt, or another server's keys, make the same secret")
	}
}

func otherDirectory(t *testing.T) *Directory {
	t.Helper()
	keys, err := LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return NewDirectory(keys)
}
