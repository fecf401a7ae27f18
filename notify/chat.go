package notify

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

func parseTelegram(u *url.URL, q url.Values) (*service, error) {
	secret, _ := u.User.Password()
	bot := u.User.Username()
	chat := q.Get("chats") + q.Get("channels")
	if _, err := strconv.ParseUint(bot, 10, 64); err != nil || !token.MatchString(secret) || chat == "" || strings.Contains(chat, ",") {
		return nil, errAddress
	}
	return &service{
		endpoint: "https://api.telegram.org/bot" + bot + ":" + secret + "/sendMessage",
		header:   jsonHeader(),
		payload: func(m Message) ([]byte, error) {
			return json.Marshal(map[string]any{
				"chat_id": chat, "text": m.text(4000),
				"disable_web_page_preview": q.Has("preview") && !yes(q, "preview"),
				"disable_notification":     q.Has("notification") && !yes(q, "notification"),
			})
		},
	}, nil
}

// slackHook is the three parts of an incoming webhook's path.
var slackHook = regexp.MustCompile(`^([A-Z0-9]{9,})[-/,]([A-Z0-9]{9,})[-/,]([A-Za-z0-9]{24,})$`)

func parseSlack(u *url.URL, _ url.Values) (*service, error) {
	kind := u.User.Username()
	secret, _ := u.User.Password()
	s := &service{header: jsonHeader()}
	if strings.HasPrefix(kind, "xox") && token.MatchString(kind+"-"+secret) && secret != "" && token.MatchString(u.Host) {
		channel := u.Host
		s.endpoint = "https://slack.com/api/chat.postMessage"
		s.header.Set("Authorization", "Bearer "+kind+"-"+secret)
		s.payload = func(m Message) ([]byte, error) {
			return json.Marshal(map[string]any{"channel": channel, "text": m.text(3500)})
		}
		s.accepted = func(answer []byte) bool {
			var a struct{ OK bool }
			return json.Unmarshal(answer, &a) == nil && a.OK
		}
		return s, nil
	}
	parts := slackHook.FindStringSubmatch(secret)
	if kind != "hook" || parts == nil {
		if parts = slackHook.FindStringSubmatch(u.Host + strings.TrimSuffix(u.Path, "/")); parts == nil { // shoutrrr's older form
			return nil, errAddress
		}
	}
	s.endpoint = "https://hooks.slack.com/services/" + strings.Join(parts[1:], "/")
	s.payload = func(m Message) ([]byte, error) { return json.Marshal(map[string]any{"text": m.text(3500)}) }
	return s, nil
}

func parseDiscord(u *url.URL, q url.Values) (*service, error) {
	hook, secret, thread := u.Host, u.User.Username(), q.Get("thread_id")
	if _, err := strconv.ParseUint(hook, 10, 64); err != nil || !token.MatchString(secret) || strings.Trim(u.Path, "/") != "" {
		return nil, errAddress
	}
	s := &service{endpoint: "https://discord.com/api/webhooks/" + hook + "/" + secret, header: jsonHeader()}
	if thread != "" {
		s.endpoint += "?thread_id=" + url.QueryEscape(thread)
	}
	s.payload = func(m Message) ([]byte, error) {
		body := map[string]any{"content": m.text(1900), "allowed_mentions": map[string]any{"parse": []string{}}} // a sensor named @everyone
		if name := q.Get("username"); name != "" {
			body["username"] = name
		}
		return json.Marshal(body)
	}
	return s, nil
}

func parseMattermost(u *url.URL, q url.Values) (*service, error) {
	secret, channel, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if u.Host == "" || !token.MatchString(secret) {
		return nil, errAddress
	}
	return &service{
		shown:    "mattermost://" + u.Host + "/…",
		endpoint: webScheme(q) + "://" + u.Host + "/hooks/" + secret,
		header:   jsonHeader(),
		payload: func(m Message) ([]byte, error) {
			body := map[string]any{"text": m.text(3500)}
			if name := u.User.Username(); name != "" {
				body["username"] = name
			}
			if channel != "" {
				body["channel"] = channel
			}
			return json.Marshal(body)
		},
	}, nil
}

func parseGoogleChat(u *url.URL, q url.Values) (*service, error) {
	if u.Host == "" || len(u.Path) < 2 || q.Get("key") == "" || q.Get("token") == "" {
		return nil, errAddress
	}
	return &service{
		shown:    "googlechat://" + u.Host + "/…",
		endpoint: (&url.URL{Scheme: "https", Host: u.Host, Path: u.Path, RawQuery: q.Encode()}).String(),
		header:   jsonHeader(),
		payload:  func(m Message) ([]byte, error) { return json.Marshal(map[string]any{"text": m.text(3500)}) },
	}, nil
}
