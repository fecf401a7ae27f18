package auth_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sensorcast/auth"
	"sensorcast/auth/authtest"
)

func TestLoadKeys_MakesThemOnceAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "deeper")
	first, err := auth.LoadKeys(dir)
	if err != nil {
		t.Fatalf("first start: got %v, want nil", err)
	}
	path := filepath.Join(dir, "keys.json")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("keys.json: got %v, %v, want mode 0600", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".keys-*")); len(left) != 0 {
		t.Errorf("left behind: got %v, want nothing", left)
	}
	second, err := auth.LoadKeys(dir)
	if err != nil {
		t.Fatalf("second start: got %v, want nil", err)
	}
	if auth.NewDirectory(first).HashSecret("x") != auth.NewDirectory(second).HashSecret("x") {
		t.Error("pepper: got another one at the second start, want the same")
	}
	other, err := auth.LoadKeys(t.TempDir())
	if err != nil || auth.NewDirectory(first).HashSecret("x") == auth.NewDirectory(other).HashSecret("x") {
		t.Errorf("another installation: got the same pepper, %v, want its own", err)
	}
}

func TestLoadKeys_RefusesLooseModes(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660, 0o666, 0o610, 0o601, 0o700, 0o400, 0o600} {
		dir := t.TempDir()
		if _, err := auth.LoadKeys(dir); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "keys.json")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := auth.LoadKeys(dir)
		loose := mode&0o077 != 0
		if (err != nil) != loose || loose && !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %04o: got %v, want refused %v, saying what to do", mode, err, loose)
		}
	}
}

func TestLoadKeys_RefusesBadKeysAndSaysNothingOfThem(t *testing.T) {
	key := bytes.Repeat([]byte("0123456789abcdef"), 2)
	short, constant := key[:31], bytes.Repeat([]byte{7}, 32)
	signing := func(k ...map[string]any) map[string]any { return map[string]any{"signing": k, "pepper": key} }
	for what, doc := range map[string]any{
		"no signing key":        signing(),
		"a short signing key":   signing(map[string]any{"kid": "a", "secret": short}),
		"a constant one":        signing(map[string]any{"kid": "a", "secret": constant}),
		"a second short one":    signing(map[string]any{"kid": "a", "secret": key}, map[string]any{"kid": "b", "secret": short}),
		"no kid":                signing(map[string]any{"secret": key}),
		"one kid twice":         signing(map[string]any{"kid": "a", "secret": key}, map[string]any{"kid": "a", "secret": key}),
		"a short pepper":        map[string]any{"signing": []any{map[string]any{"kid": "a", "secret": key}}, "pepper": short},
		"no pepper":             map[string]any{"signing": []any{map[string]any{"kid": "a", "secret": key}}},
		"an unknown field":      map[string]any{"signing": []any{map[string]any{"kid": "a", "secret": key}}, "pepper": key, "peper": key},
		"text that is no key":   "MDEyMzQ1Njc4OWFiY2RlZg",
		"secrets not in base64": map[string]any{"signing": []any{map[string]any{"kid": "a", "secret": "MDEyMzQ1Njc4OWFiY2RlZg***"}}},
		"nothing":               json.RawMessage(""),
		"a huge file":           strings.Repeat("x", 1<<17),
	} {
		dir := t.TempDir()
		text, err := json.Marshal(doc)
		if err != nil {
			text = nil // an empty file, as a full disk may leave
		}
		if err := os.WriteFile(filepath.Join(dir, "keys.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = auth.LoadKeys(dir)
		if err == nil || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "MDEyMzQ1") || strings.Contains(err.Error(), "0123456789") {
			t.Errorf("%s: got %v, want an error that names the file and no key", what, err)
		}
		if after, _ := os.ReadFile(filepath.Join(dir, "keys.json")); !bytes.Equal(after, text) {
			t.Errorf("%s: the file was changed", what)
		}
	}
}

// TestSecrets_ArePrintedNowhere: whatever holds a secret keeps it from fmt and slog.
func TestSecrets_ArePrintedNowhere(t *testing.T) {
	f, ada, _ := withSensors(t, auth.Config{})
	g, err := f.Service.Login(t.Context(), logsIn("ada", password, afar))
	if err != nil {
		t.Fatal(err)
	}
	dev, _ := f.Directory.Lookup("SN1")
	ticket := mustMintAll(t, f, ada)
	r := registration("bob")
	r.SetupToken = "setup-token"
	made, token := mustToken(t, f, ada, auth.TokenDraft{Scopes: read})
	made.Hash = [32]byte([]byte("the hash of an API token, of 32."))
	hash := strings.Trim(fmt.Sprint(dev.Secrets[0].Hash), "[]")
	secrets := []string{g.AccessToken, g.RefreshToken, ticket.Token, password, "setup-token", "argon2id", token, "the hash of", strings.Trim(fmt.Sprint(made.Hash[:8]), "[]"), hash, strings.ReplaceAll(hash, " ", ",")}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	text := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range []any{g, &g, g.User, ticket, r, &r, auth.Config{SetupToken: "setup-token"}, f.Keys, dev, dev.Secrets, ada, made, &made, f.Service.Tokens(ada), []auth.Grant{g}, []auth.Ticket{ticket}, []auth.Registration{r}, []auth.Config{{SetupToken: "setup-token"}}} {
		fmt.Fprintf(&out, "%v %+v %#v %s\n", v, v, v, v)
		log.Info("x", "v", v)
		text.Info("x", "v", v)
	}
	for _, s := range secrets {
		if strings.Contains(out.String(), s) {
			t.Errorf("printed: got %.20q in what fmt and slog wrote, want no secret", s)
		}
	}
}

// TestService_LogsNoSecret runs through everything that logs with a handler that keeps all.
func TestService_LogsNoSecret(t *testing.T) {
	var out bytes.Buffer
	f := authtest.New(t, auth.Config{})
	var err error
	f.Service, err = auth.NewService(auth.Config{}, f.Keys, f.Store, f.Store, f.Store, f.Directory, f.Changes,
		slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	g := mustRegister(t, f, "ada")
	next := mustRefresh(t, f, mustRefresh(t, f, g.RefreshToken).RefreshToken)
	f.Service.Refresh(t.Context(), g.RefreshToken, auth.Origin{}) // reuse
	f.Service.Login(t.Context(), logsIn("ada", "wrong-password", afar))
	g2, err := f.Service.Login(t.Context(), logsIn("ada", password, afar))
	if err != nil {
		t.Fatal(err)
	}
	p := mustPrincipal(t, f, g2)
	made, token := mustToken(t, f, p, auth.TokenDraft{Scopes: read})
	f.Service.Password(t.Context(), "ada", token, afar)
	f.Service.Password(t.Context(), "bob", token, afar)
	if err := f.Service.DeleteToken(t.Context(), p, made.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.Service.ChangePassword(t.Context(), p, password, newPassword); err != nil {
		t.Fatal(err)
	}
	if err := f.Service.DeleteAccount(t.Context(), p, newPassword); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{g.AccessToken, g.RefreshToken, next.RefreshToken, g2.RefreshToken, password, newPassword, "wrong-password", "argon2id", "@example.org", token} {
		if strings.Contains(out.String(), s) {
			t.Errorf("logged %.20q in\n%s", s, out.String())
		}
	}
	if !strings.Contains(out.String(), "refresh token reused") {
		t.Errorf("log: got\n%s, want the reuse in it", out.String())
	}
}
