package auth

import "strings"

// namedSerial returns the literal serial of a wildcard filter such as sensors/SN1/#, if it has one.
func namedSerial(filter string) (serial string, named bool) {
	root, rest, _ := strings.Cut(filter, "/")
	if root != "sensors" && root != "alerts" {
		return "", false
	}
	serial, _, _ = strings.Cut(rest, "/")
	return serial, serial != "+" && serial != "#"
}
