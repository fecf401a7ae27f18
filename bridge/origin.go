package bridge

import (
	"net/http"
	"net/url"
	"strings"
)

// origins decides which web pages may open a WebSocket. A browser names the page in the Origin header and lets no page change it; it
// does not otherwise keep pages of foreign sites from connecting (RFC 6455 §10.2).
type origins map[string]bool

func newOrigins(allowed []string) origins {
	o := origins{}
	for _, s := range allowed {
		if name, ok := originName(s); ok {
			o[name] = true
		}
	}
	return o
}

// allow reports whether the request may go on: it comes from no page (other clients send no Origin: for them the ticket is the proof),
// from one this server itself gave out, or from an allowed one. "null", which sandboxed pages and local files send, is nobody's.
func (o origins) allow(r *http.Request) bool {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	name, ok := originName(values[0])
	if !ok {
		return false
	}
	own, ok := originName(scheme(r) + "://" + r.Host)
	return ok && name == own || o[name]
}

// allowClient is allow for a door where the secret is in the messages and a cookie is worth nothing: the https name of this host is its
// own there however the request came. No page of another host bears it, and Python's paho, which is no browser, sends it always.
func (o origins) allowClient(r *http.Request) bool {
	if o.allow(r) {
		return true
	}
	values := r.Header.Values("Origin")
	name, ok := originName(values[0]) // allow takes requests with none
	own, fine := originName("https://" + r.Host)
	return len(values) == 1 && ok && fine && name == own
}

// scheme is how the page reached this server. A proxy that ends TLS says so in X-Forwarded-Proto; a page cannot forge it, for a
// browser's WebSocket sends no headers of the page's choosing, and who is no browser is not asked for an Origin.
func scheme(r *http.Request) string {
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		return "https"
	}
	return "http"
}

// originName brings an origin into one spelling: lower case, no default port. It must be scheme, host and port and nothing more.
func originName(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", false
	}
	host := strings.ToLower(u.Host)
	switch u.Scheme { // url.Parse lowers it
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	default:
		return "", false
	}
	return u.Scheme + "://" + host, true
}
