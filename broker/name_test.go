package broker

import (
	"log/slog"
	"strings"
	"testing"

	"sensorcast/auth"
)

// A client may have anything as its id, and people give it the secret.
func TestLog_HoldsNoSecretThatCameAsAClientID(t *testing.T) {
	h := start(t, autoIntake())
	secret := auth.NewDeviceSecret()
	for _, id := range []string{secret, "plug-" + secret, "plug-1"} {
		h.login(t, "A", clientID(id)).c.Close()
		eventually(t, "A is gone", func() bool { return h.Stats().Connections == 0 })
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if logs := h.log.String(); strings.Contains(logs, secret) || !strings.Contains(logs, "/plug-1") {
		t.Errorf("got %s, want the last client id and no secret", logs)
	}
	if got := sessionName("s7/a/" + secret).LogValue(); !got.Equal(slog.StringValue("s7/(a secret)")) {
		t.Errorf("got %v, want the scope", got)
	}
}
