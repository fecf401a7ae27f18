package roster

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"

	"sensorcast/telemetry"
)

// Sheet is what Read found. While it has Mistakes its Rows are only those that could be read.
type Sheet struct {
	Rows     []Row
	Mistakes Mistakes

	present []*column // by place; nil: a field that is only written, or the secret
	secret  int       // the place of the secret; -1: there is none
}

// Read reads a sheet. It takes UTF-8 with or without a byte order mark, any line ends, and commas, semicolons or tabs between cells, as
// spreadsheets of different countries write them. Empty rows mean nothing; a row may end early.
func Read(text []byte) *Sheet {
	s := &Sheet{secret: -1}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	in := csv.NewReader(bytes.NewReader(text))
	in.Comma = separatorOf(text)
	in.FieldsPerRecord = -1
	in.ReuseRecord = true
	names, err := in.Read()
	if err != nil {
		s.Mistakes.Add(1, telemetry.Invalid("", "must hold the names of the fields, serial_no among them"))
		return s
	}
	if s.readNames(names); s.Mistakes.Err() != nil {
		return s
	}
	rows := counter{last: 1, line: linesOf(names)}
	first := map[string]int{} // the row a serial was first in
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return s
		}
		if err != nil { // what follows cannot be told apart any more
			s.Mistakes.Add(rows.last+1, telemetry.Invalid("", "is not well-formed CSV: quotation marks that do not match"))
			return s
		}
		line, _ := in.FieldPos(0)
		number := rows.next(line, cells)
		if !slices.ContainsFunc(cells, func(c string) bool { return c != "" }) {
			continue
		}
		if len(s.Rows) == MaxRows {
			s.Mistakes.Add(0, telemetry.Invalid("", "has more than %d rows", MaxRows))
			return s
		}
		s.readRow(number, cells, first)
	}
}

// separatorOf finds what is between the cells: the names hold no such character.
func separatorOf(text []byte) rune {
	names, _, _ := bytes.Cut(text, []byte("\n"))
	if i := bytes.IndexAny(names, ",;\t"); i >= 0 {
		return rune(names[i])
	}
	return ','
}

// counter numbers rows as a spreadsheet does, which counts empty lines, skipped by encoding/csv, and not the lines within a cell.
type counter struct {
	last int // the number of the last row
	line int // the line it ended on
}

func (c *counter) next(line int, cells []string) (number int) {
	c.last += line - c.line
	c.line = line + linesOf(cells) - 1
	return c.last
}

func linesOf(cells []string) int {
	lines := 1
	for _, cell := range cells {
		lines += strings.Count(cell, "\n")
	}
	return lines
}

func (s *Sheet) readNames(names []string) {
	seen := map[string]bool{}
	for place, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		at := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
		switch {
		case name == "" && place > 0: // a spreadsheet's empty last column
		case at < 0 && name != secretColumn:
			s.Mistakes.Add(1, telemetry.Invalid("", "column %d is no field of a sensor", place+1))
		case seen[name]:
			s.Mistakes.Add(1, telemetry.Invalid(name, "is there twice"))
		}
		seen[name] = true
		var c *column
		if at >= 0 && columns[at].read != nil {
			c = &columns[at]
		}
		if name == secretColumn {
			s.secret = place
		}
		s.present = append(s.present, c)
	}
	if !seen[serialColumn] {
		s.Mistakes.Add(1, telemetry.Invalid(serialColumn, "is missing"))
	}
}

func (s *Sheet) readRow(number int, cells []string, first map[string]int) {
	row := Row{Number: number}
	var mistakes []error
	for place, cell := range cells {
		switch {
		case place >= len(s.present):
			if cell != "" {
				mistakes = append(mistakes, telemetry.Invalid("", "has more cells than there are fields"))
			}
		case place == s.secret:
			row.Secret = cell // as it is: any character may be part of it
		case s.present[place] != nil:
			mistakes = append(mistakes, s.present[place].read(&row.Sensor, plain(cell)))
		}
	}
	serial := row.Sensor.Serial
	earlier, twice := first[serial]
	switch {
	case serial == "":
		mistakes = append(mistakes, telemetry.Invalid(serialColumn, "is missing"))
	case twice:
		mistakes = append(mistakes, telemetry.Invalid(serialColumn, "is in row %d already", earlier))
	default:
		first[serial] = number
		mistakes = append(mistakes, row.Sensor.Check())
	}
	if err := errors.Join(mistakes...); err != nil {
		s.Mistakes.Add(number, err)
		return
	}
	s.Rows = append(s.Rows, row)
}

// Differences names the fields that the sheet has and that row and there do not agree in.
func (s *Sheet) Differences(row Row, there telemetry.Sensor) (fields []string) {
	for _, c := range s.present {
		if c != nil && c.write(row.Sensor) != c.write(there) {
			fields = append(fields, c.name)
		}
	}
	return fields
}

// Apply gives there what the sheet has of row, and leaves the rest.
func (s *Sheet) Apply(row Row, there *telemetry.Sensor) {
	for _, c := range s.present {
		if c != nil {
			_ = c.read(there, c.write(row.Sensor)) // it has been read before
		}
	}
}
