package telemetry

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestValidFilter_FollowsTheGrammar(t *testing.T) {
	for filter, want := range map[string]bool{
		"a": true, "/": true, "//": true, "+": true, "#": true, "+/#": true, "a/+/b": true, "a/#": true, "a b": true, "größe/№": true, "$SYS/#": true,
		"$share/g/a": true, "$share/g/#": true, "$share/g//": true, "$share/$x/+/b": true, "$SHARE/g/a": true, "a/$share/b": true,
		"": false, "a+": false, "+a/b": false, "a#": false, "#/a": false, "a/#/b": false, "##": false, "a/++": false,
		"$share": false, "$share/": false, "$share/g": false, "$share/g/": false, "$share//a": false, "$share/+/a": false, "$share/g#/a": false, "$share/g/a#": false,
		"a\x00": false, "a\xff": false, "\xed\xa0\x80": false,
		strings.Repeat("x", 65535): true, strings.Repeat("x", 65536): false,
	} {
		if got := ValidFilter(filter); got != want {
			t.Errorf("ValidFilter(%.40q) = %v, want %v", filter, got, want)
		}
	}
}

func TestSplitShare_TakesTheShareOff(t *testing.T) {
	for filter, want := range map[string]struct {
		name, rest string
		shared     bool
	}{
		"$share/g/a/b": {"g", "a/b", true},
		"$share/g//":   {"g", "/", true},
		"$share//a":    {"", "a", true},
		"$share/g":     {"g", "", true},
		"$share":       {"", "$share", false},
		"$SHARE/g/a":   {"", "$SHARE/g/a", false},
		"a/b":          {"", "a/b", false},
	} {
		if name, rest, shared := SplitShare(filter); name != want.name || rest != want.rest || shared != want.shared {
			t.Errorf("SplitShare(%q) = %q, %q, %v, want %+v", filter, name, rest, shared, want)
		}
	}
}

// What is valid splits into what is valid by itself and joins to what it was; a wildcard in it is a level.
func FuzzValidFilter(f *testing.F) {
	for _, s := range []string{"a/+/#", "$share/g/a/#", "$share//x", "#", "/", "a\x00", "\xff", "$share/g/$share/h/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		name, rest, shared := SplitShare(filter)
		if shared && !strings.HasPrefix("$share/"+name+"/"+rest, filter) || !shared && (rest != filter || name != "") {
			t.Fatalf("SplitShare(%q) = %q, %q, %v: the parts are not the whole", filter, name, rest, shared)
		}
		if !ValidFilter(filter) {
			return
		}
		if !utf8.ValidString(filter) || rest == "" || shared && name == "" {
			t.Fatalf("%q is valid with name %q and filter %q", filter, name, rest)
		}
		levels := strings.Split(rest, "/")
		for i, level := range levels {
			if strings.ContainsAny(level, "+#") && level != "+" && (level != "#" || i < len(levels)-1) {
				t.Fatalf("%q is valid with level %q", filter, level)
			}
		}
		if shared && !strings.HasPrefix(rest, "$share") && !ValidFilter(rest) {
			t.Fatalf("%q is valid and %q is not", filter, rest)
		}
	})
}
