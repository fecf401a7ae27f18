package api

import (
	"net/http"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// cookieName is where a browser keeps the refresh token: scripts cannot read it, other sites' requests do not carry it, and it goes
// nowhere but to the paths that need it. A __Host- name would ask for Path=/ and TLS.
const cookieName = "sensorcast_refresh"

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
	return http.Cookie{
		Name:     cookieName,
		Value:    value,
		Path:     base + "/auth",
		HttpOnly: true,
		Secure:   secure,
		SameSite: http.SameSiteStrictMode,
	}
}
