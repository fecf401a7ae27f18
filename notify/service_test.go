package notify

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sensorcast/telemetry"
)

// What is asked of each service, as its own documentation has it. The addresses are shoutrrr's.
func TestServices_AskWhatTheyShould(t *testing.T) {
	const slackHookToken = "T00000000/B00000000/abcdefghijklmnopqrstuvwx"
	message := Message{Critical, "Cellar is silent", "No reading for 10 minutes."}
	const text = "Cellar is silent\nNo reading for 10 minutes."
	for address, want := range map[string]struct {
		endpoint string
		header   map[string]string // beside the content type
		shown    string
		body     map[string]any
	}{
		"ntfy://ntfy.sh/cellar": {"https://ntfy.sh/", nil, "ntfy://ntfy.sh/…",
			map[string]any{"topic": "cellar", "title": message.Title, "message": message.Body, "priority": 5.0, "tags": []any{}}},
		"ntfy://ann:pw@box.example:8443/cellar?disabletls=yes&priority=2&tags=warning,door": {"http://box.example:8443/",
			map[string]string{"Authorization": "Basic YW5uOnB3"}, "ntfy://box.example:8443/…",
			map[string]any{"topic": "cellar", "title": message.Title, "message": message.Body, "priority": 2.0, "tags": []any{"warning", "door"}}},
		"telegram://123456:AAE-canary_x@telegram?chats=-1001&notification=no": {"https://api.telegram.org/bot123456:AAE-canary_x/sendMessage", nil,
			"telegram://…", map[string]any{"chat_id": "-1001", "text": text, "disable_web_page_preview": false, "disable_notification": true}},
		"telegram://123456:AAEcanary@telegram?channels=@alerts&preview=No": {"https://api.telegram.org/bot123456:AAEcanary/sendMessage", nil,
			"telegram://…", map[string]any{"chat_id": "@alerts", "text": text, "disable_web_page_preview": true, "disable_notification": false}},
		"slack://hook:T00000000-B00000000-abcdefghijklmnopqrstuvwx@webhook": {"https://hooks.slack.com/services/" + slackHookToken, nil, "slack://…",
			map[string]any{"text": text}},
		"slack://" + slackHookToken: {"https://hooks.slack.com/services/" + slackHookToken, nil, "slack://…", map[string]any{"text": text}},
		"slack://xoxb:123456789012-1234567890123-4mt0t4l1yL3g1T5L4cK@C001CHANNEL": {"https://slack.com/api/chat.postMessage",
			map[string]string{"Authorization": "Bearer xoxb-123456789012-1234567890123-4mt0t4l1yL3g1T5L4cK"}, "slack://…",
			map[string]any{"channel": "C001CHANNEL", "text": text}},
		"discord://canary-token@123456789?thread_id=77&username=Cellar": {"https://discord.com/api/webhooks/123456789/canary-token?thread_id=77", nil, "discord://…",
			map[string]any{"content": text, "username": "Cellar", "allowed_mentions": map[string]any{"parse": []any{}}}},
		"gotify://box.example/base/Acanary.token?priority=1": {"https://box.example/base/message", map[string]string{"X-Gotify-Key": "Acanary.token"},
			"gotify://box.example/…", map[string]any{"title": message.Title, "message": text, "priority": 1.0}},
		"mattermost://cellar@chat.example:8065/canary/town-square": {"https://chat.example:8065/hooks/canary", nil, "mattermost://chat.example:8065/…",
			map[string]any{"text": text, "username": "cellar", "channel": "town-square"}},
		"googlechat://chat.googleapis.com/v1/spaces/FOO/messages?key=canary&token=canary2": {
			"https://chat.googleapis.com/v1/spaces/FOO/messages?key=canary&token=canary2", nil, "googlechat://chat.googleapis.com/…",
			map[string]any{"text": text}},
	} {
		s, err := parseService(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		r, err := s.request(t.Context(), message)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if r.URL.String() != want.endpoint || r.Method != http.MethodPost || s.shown != want.shown || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %s %s, shown as %s, want %s, shown as %s", address, r.Method, r.URL, s.shown, want.endpoint, want.shown)
		}
		if diff := cmp.Diff(want.body, body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
		for name, value := range want.header {
			if got := r.Header.Get(name); got != value {
				t.Errorf("%s: header %s is %q, want %q", address, name, got, value)
			}
		}
		if strings.Contains(s.shown, "canary") {
			t.Errorf("%s: shown with its secret as %s", address, s.shown)
		}
	}
}

func TestServices_PushoverIsAForm(t *testing.T) {
	s, err := parseService("pushover://shoutrrr:canarytoken@userkey/?devices=phone")
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.request(t.Context(), Message{Warning, "Title", "Body"})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(r.Body)
	got, err := url.ParseQuery(string(b))
	want := url.Values{"token": {"canarytoken"}, "user": {"userkey"}, "device": {"phone"}, "title": {"Title"}, "message": {"Title\nBody"}, "priority": {"0"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || r.URL.String() != "https://api.pushover.net/1/messages.json" || s.shown != "pushover://…" {
		t.Errorf("%s, shown as %s, %v (-want +got):\n%s", r.URL, s.shown, err, diff)
	}
}

func TestParseService_MistakesNeverRepeatTheAddress(t *testing.T) {
	for _, address := range []string{
		"canary", "canary://x", "ntfy://", "ntfy://canary", "ntfy:///canary", "ntfy://:/canary", "gotify://:80/canary", "mattermost://:/canary", "ntfy://h/canary/more", "ntfy://h/can ary", "ntfy://h/t?canary=1", "ntfy://h/t?priority=canary",
		"ntfy://h/t?priority=6", "telegram://canary", "telegram://1:canary@telegram", "telegram://x:canary@telegram?chats=1", "telegram://1:can/ary@telegram?chats=1",
		"telegram://1:canary@telegram?chats=1,2", "slack://canary", "slack://hook:canary@webhook", "slack://xoxb:@C", "discord://canary", "discord://canary@host",
		"discord://canary@1/x", "gotify://h", "gotify:///canary", "pushover://canary", "pushover://x:@canary", "pushover://x:canary@", "mattermost://h", "mattermost:///canary",
		"googlechat://h/p?key=canary", "googlechat://h?key=canary&token=x", "ntfy://h:canary/t", "ntfy://%zz/canary", "smtp://canary@h", "generic://canary", "logger://", "script://canary",
		"ntfy://h/t?disabletlsverification=yes",
	} {
		_, err := parseService(address)
		if field, ok := errors.AsType[*telemetry.FieldError](err); !ok || field.Field != "url" || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, want an error of the field url that does not repeat it", address, err)
		}
	}
}

func TestParsers_AreNamedWhereTheyAreRefused(t *testing.T) {
	_, err := parseService("pigeon://roost")
	for _, scheme := range slices.Sorted(maps.Keys(parsers)) {
		if !strings.Contains(err.Error(), scheme) {
			t.Errorf("%q does not name %s", err, scheme)
		}
	}
}

// What is taken can be sent to, goes over HTTP, has a lane, and shows no password.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"https://u:hunter2@h/x", "ntfy://u:hunter2@h/t", "telegram://1:hunter2@telegram?chats=1", "slack://hook:T00000000-B00000000-abcdefghijklmnopqrstuvwx@w",
		"discord://t@1", "gotify://h/t", "pushover://s:t@u", "mattermost://h/t/c", "googlechat://h/p?key=k&token=t", "http://[::1]:80/", "ntfy://:/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		for _, kind := range []Kind{Webhook, URL} {
			got, err := parseTarget(kind, address)
			if err != nil {
				if field, ok := errors.AsType[*telemetry.FieldError](err); !ok || field.Field != "url" {
					t.Errorf("%q: got %v, want an error of the field url", address, err)
				}
				continue
			}
			var r *http.Request
			if kind == Webhook {
				r, err = webhookRequest(t.Context(), got.webhook, newWebhookSecret(), []Notice{{UID: "n"}}, telemetry.Now().Time())
			} else {
				r, err = got.service.request(t.Context(), Message{Title: "a", Body: "b"})
			}
			if err != nil || r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.Hostname() == "" || got.host == "" || got.shown == "" {
				t.Errorf("%q is taken and becomes %+v, %v", address, got, err)
			}
			if strings.Contains(got.shown, "hunter2") && !strings.Contains(r.URL.Host, "hunter2") {
				t.Errorf("%q is shown as %q", address, got.shown)
			}
		}
	})
}
