package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// column is one of a table: its title, and the field of an item that stands in it, with dots for fields of fields.
type column struct{ title, field string }

// table prints a line for each item.
func table(w io.Writer, columns []column, items []json.RawMessage) error {
	if len(items) == 0 {
		_, err := fmt.Fprintln(w, "none")
		return err
	}
	lines := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	fmt.Fprintln(lines, strings.Join(titles, "\t"))
	for _, item := range items {
		cells, err := cellsOf(columns, item)
		if err != nil {
			return err
		}
		fmt.Fprintln(lines, strings.Join(cells, "\t"))
	}
	return lines.Flush() // with the error of any write before
}

// card prints a line for each column of one item.
func card(w io.Writer, columns []column, item json.RawMessage) error {
	cells, err := cellsOf(columns, item)
	if err != nil {
		return err
	}
	lines := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, c := range columns {
		fmt.Fprintf(lines, "%s\t%s\n", strings.ToLower(c.title), cells[i])
	}
	return lines.Flush()
}

func cellsOf(columns []column, item json.RawMessage) ([]string, error) {
	dec := json.NewDecoder(bytes.NewReader(item))
	dec.UseNumber()
	var fields any
	if err := dec.Decode(&fields); err != nil {
		return nil, fmt.Errorf("read reply: %w", err)
	}
	cells := make([]string, len(columns))
	for i, c := range columns {
		value := fields
		for name := range strings.SplitSeq(c.field, ".") {
			object, _ := value.(map[string]any)
			value = object[name]
		}
		cells[i] = cmp.Or(cell(value), "-")
	}
	return cells, nil
}

// cell writes a value for people. What would move the cursor or end the line is not let through.
func cell(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case []any:
		words := make([]string, len(v))
		for i, w := range v {
			words[i] = cell(w)
		}
		return strings.Join(words, ",")
	case map[string]any:
		text, _ := json.Marshal(v) // it was JSON a moment ago
		return cell(string(text))
	case string:
		if at, err := time.Parse(time.RFC3339, v); err == nil {
			return at.UTC().Format("2006-01-02 15:04:05Z")
		}
		return strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return ' '
		}, v)
	}
	return fmt.Sprint(value)
}

// plain prints the reply as JSON.
func plain(w io.Writer, reply json.RawMessage) error {
	var text bytes.Buffer
	if err := json.Indent(&text, reply, "", "  "); err != nil {
		return fmt.Errorf("read reply: %w", err)
	}
	text.WriteByte('\n')
	_, err := text.WriteTo(w)
	return err
}
