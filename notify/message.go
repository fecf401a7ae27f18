package notify

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Message is what people read.
type Message struct {
	Severity Severity
	Title    string
	Body     string
}

// maxListed is how many notices a message that sums up names.
const maxListed = 20

// compose makes one message of the notices, oldest first; there is at least one.
func compose(notices []Notice) Message {
	if len(notices) == 1 {
		n := notices[0]
		return Message{n.Severity, n.Title, n.Body}
	}
	m := Message{Severity: Info, Title: fmt.Sprintf("%d alerts since %s", len(notices), notices[0].CreatedAt.Time().UTC().Format("15:04 UTC"))}
	var lines strings.Builder
	for i, n := range notices {
		if n.Severity.AtLeast(m.Severity) {
			m.Severity = n.Severity
		}
		if i < maxListed {
			fmt.Fprintf(&lines, "%s  %s\n", n.CreatedAt.Time().UTC().Format("15:04"), n.Title)
		}
	}
	if more := len(notices) - maxListed; more > 0 {
		fmt.Fprintf(&lines, "and %d more\n", more)
	}
	m.Body = strings.TrimSuffix(lines.String(), "\n")
	return m
}

// text is title and body in one, cut to so many bytes.
func (m Message) text(maxBytes int) string {
	text := m.Title
	if m.Body != "" {
		text += "\n" + m.Body
	}
	return cut(text, maxBytes)
}

// cut shortens s to at most maxBytes, between two characters.
func cut(s string, maxBytes int) string {
	if len(s) <= maxBytes {
		return s
	}
	const mark = "…"
	end := maxBytes - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
