package roster

import (
	"strings"
	"unicode"
)

// Spreadsheets run what begins with = + - or @ as a formula, also one that a stranger wrote into the name of a sensor. So such a cell is
// written with an apostrophe in front, which they take for text; reading takes it off again. A text that itself has apostrophes in front
// of such a character gets one more, so that nothing is lost; other texts with an apostrophe ('t Hooft) stay as they are.

// harmless is text as it is written into a cell.
func harmless(text string) string {
	if formula(strings.TrimLeft(text, "'")) {
		return "'" + text
	}
	return text
}

// plain undoes harmless.
func plain(cell string) string {
	if rest, quoted := strings.CutPrefix(cell, "'"); quoted && formula(strings.TrimLeft(rest, "'")) {
		return rest
	}
	return cell
}

func formula(text string) bool { return text != "" && strings.ContainsRune("=+-@", rune(text[0])) }

// joinTags puts tags into one cell by semicolons. A tag that itself has one is told by commas, which no tag may contain; a single tag that
// has a space or semicolon is followed by the separator, so that it is not taken for several.
func joinTags(tags []string) string {
	text := strings.Join(tags, "\x00")
	separator := ";"
	if strings.Contains(text, ";") {
		separator = ","
	}
	joined := strings.Join(tags, separator)
	if len(tags) == 1 && strings.ContainsFunc(text, func(r rune) bool { return r == ';' || unicode.IsSpace(r) }) {
		joined += separator
	}
	return joined
}

// splitTags reads what joinTags wrote, and tags with nothing but spaces between them.
func splitTags(text string) []string {
	for _, separator := range []string{",", ";"} {
		if strings.Contains(text, separator) {
			return strings.Split(text, separator)
		}
	}
	return strings.Fields(text)
}
