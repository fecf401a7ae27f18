package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sensorcast/telemetry"
)

// secretPrefix is what secrets of Standard Webhooks begin with (standardwebhooks.com, "Signature scheme").
const secretPrefix = "whsec_"

// newWebhookSecret returns 256 random bits as receivers are given them.
func newWebhookSecret() string {
	var key [32]byte
	rand.Read(key[:]) // never fails: crypto/rand ends the program instead
	return secretPrefix + base64.StdEncoding.EncodeToString(key[:])
}

// sign returns the webhook-signature of a message: version 1, HMAC-SHA256 over id, time and body.
func sign(secret, id string, at time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		return "", fmt.Errorf("webhook secret: %w", errSecret) // the decoder's words are about the secret
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// event is the body of a webhook.
type event struct {
	Type      string           `json:"type"` // alert. and what happened
	Timestamp telemetry.Millis `json:"timestamp"`
	Data      eventData        `json:"data"`
}

type eventData struct {
	ID       string            `json:"id"` // of the notice: the same when it is sent again
	Serial   string            `json:"serial_no,omitempty"`
	Severity Severity          `json:"severity"`
	Title    string            `json:"title"`
	Body     string            `json:"body"`
	Alert    json.RawMessage   `json:"alert,omitempty"`
	Notices  []json.RawMessage `json:"notices,omitempty"` // the events that quiet hours held back
}

func eventOf(n Notice) event {
	return event{"alert." + n.What, n.CreatedAt, eventData{
		ID: n.UID, Serial: n.Serial, Severity: n.Severity, Title: n.Title, Body: n.Body, Alert: n.Data,
	}}
}

// webhookRequest makes the signed request that tells of the notices in one.
func webhookRequest(ctx context.Context, url, secret string, notices []Notice, at time.Time) (*http.Request, error) {
	e := eventOf(notices[0])
	if len(notices) > 1 {
		m := compose(notices)
		e = event{"alert.digest", telemetry.MillisOf(at), eventData{ID: bundleID(notices), Severity: m.Severity, Title: m.Title, Body: m.Body}}
		for _, n := range notices {
			one, err := json.Marshal(eventOf(n))
			if err != nil {
				return nil, fmt.Errorf("encode event: %w", err)
			}
			e.Data.Notices = append(e.Data.Notices, one)
		}
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	signature, err := sign(secret, e.Data.ID, at, body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, errAddress // the error repeats the URL
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Webhook-Id", e.Data.ID)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("Webhook-Signature", signature)
	return r, nil
}

// bundleID is the same for the same notices, so that a repetition can be told.
func bundleID(notices []Notice) string {
	h := sha256.New()
	for _, n := range notices {
		fmt.Fprintln(h, n.UID)
	}
	return "digest_" + fmt.Sprintf("%x", h.Sum(nil)[:16])
}
