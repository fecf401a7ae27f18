package auth

import (
	"net/netip"
	"strings"

	"sensorcast/telemetry"
)

// Origin is where a request came from, as far as the door knows.
type Origin struct {
	Remote netip.Addr // invalid: unknown
	Client string     // what the client calls itself, such as its User-Agent; anything
}

// maxClientRunes of a User-Agent tell people which of their devices it is; a header may be a megabyte long.
const maxClientRunes = 200

// use is the use of a session at that instant.
func (o Origin) use(at telemetry.Millis) Use {
	u := Use{At: at, Client: printable(o.Client, maxClientRunes)}
	if o.Remote.IsValid() {
		u.Address = o.Remote.Unmap().String()
	}
	return u
}

// printable is the text without what cannot be shown, cut to so many characters.
func printable(s string, most int) string {
	var shown strings.Builder
	for _, r := range s {
		if most == 0 {
			break
		}
		if r == '\uFFFD' || unprintable(r) {
			continue
		}
		shown.WriteRune(r)
		most--
	}
	return shown.String()
}
