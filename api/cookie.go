package api

import (
	"net/http"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// cookieName is where a browser keeps the refresh token: scripts cannot read it, other sites' requests do not carry it, and it goes
// nowhere but to the paths that need it. Over TLS it has the name that browsers take from TLS only (RFC 6265bis §4.1.3.1), and no other is
// read there, so nobody who answers for this host without TLS can slip in theirs. A __Host- name would ask for Path=/.
const (
	cookieName       = "sensorcast_refresh"
	secureCookieName = "__Secure-" + cookieName
)

func refreshCookie(g auth.Grant, secure bool) string {
	c := sessionCookieOf(g.RefreshToken, secure)
	c.MaxAge = max(1, int(g.RefreshExpiresAt.Sub(telemetry.Now())/time.Second))
	return c.String()
}

// expiredCookie makes the browser forget the token.
func expiredCookie(secure bool) string {
	c := sessionCookieOf("", secure)
	c.MaxAge = -1
	return c.String()
}

func sessionCookieOf(value string, secure bool) http.Cookie {
	name := cookieName
	if secure {
		name = secureCookieName
	}
	return http.Cookie{
		Name:     name,
		Value:    value,
		Path:     base + "/auth",
		HttpOnly: true,
		Secure:   secure,
		SameSite: http.SameSiteStrictMode,
	}
}
