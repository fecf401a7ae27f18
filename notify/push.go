package notify

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

func parseNtfy(u *url.URL, q url.Values) (*service, error) {
	topic := strings.Trim(u.Path, "/")
	if !token.MatchString(topic) || u.Host == "" {
		return nil, errAddress
	}
	fixed, err := optionalInt(q, "priority", 1, 5)
	if err != nil {
		return nil, err
	}
	s := &service{
		shown:    "ntfy://" + u.Host + "/…", // who knows a topic can read it
		endpoint: webScheme(q) + "://" + u.Host + "/",
		header:   jsonHeader(),
	}
	if u.User != nil {
		password, _ := u.User.Password()
		r := http.Request{Header: s.header}
		r.SetBasicAuth(u.User.Username(), password)
	}
	tags := strings.FieldsFunc(q.Get("tags"), func(r rune) bool { return r == ',' })
	s.payload = func(m Message) ([]byte, error) {
		priority := map[Severity]int{Info: 3, Warning: 4, Critical: 5}[m.Severity]
		if fixed != nil {
			priority = *fixed
		}
		return json.Marshal(map[string]any{
			"topic": topic, "title": cut(m.Title, 250), "message": cut(m.Body, 3500), "priority": max(priority, 1), "tags": tags,
		})
	}
	return s, nil
}

func parseGotify(u *url.URL, q url.Values) (*service, error) {
	path := strings.Trim(u.Path, "/")
	base, secret := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		base, secret = "/"+path[:i], path[i+1:]
	}
	if u.Host == "" || !token.MatchString(secret) {
		return nil, errAddress
	}
	fixed, err := optionalInt(q, "priority", 0, 10)
	if err != nil {
		return nil, err
	}
	s := &service{
		shown:    "gotify://" + u.Host + "/…",
		endpoint: (&url.URL{Scheme: webScheme(q), Host: u.Host, Path: base + "/message"}).String(),
		header:   jsonHeader(),
	}
	s.header.Set("X-Gotify-Key", secret)
	s.payload = func(m Message) ([]byte, error) {
		priority := map[Severity]int{Info: 2, Warning: 5, Critical: 8}[m.Severity]
		if fixed != nil {
			priority = *fixed
		}
		return json.Marshal(map[string]any{"title": cut(m.Title, 250), "message": m.text(3500), "priority": priority})
	}
	return s, nil
}

func parsePushover(u *url.URL, q url.Values) (*service, error) {
	secret, _ := u.User.Password()
	user := u.Host
	fixed, err := optionalInt(q, "priority", -2, 1)
	if err != nil || !token.MatchString(secret) || !token.MatchString(user) {
		return nil, errAddress
	}
	return &service{
		endpoint: "https://api.pushover.net/1/messages.json",
		header:   http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		payload: func(m Message) ([]byte, error) {
			priority := map[Severity]int{Critical: 1}[m.Severity]
			if fixed != nil {
				priority = *fixed
			}
			return []byte(url.Values{
				"token": {secret}, "user": {user}, "device": {q.Get("devices")}, "title": {cut(m.Title, 250)}, "message": {m.text(1000)},
				"priority": {strconv.Itoa(priority)},
			}.Encode()), nil
		},
	}, nil
}
