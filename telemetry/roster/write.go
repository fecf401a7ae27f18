package roster

import (
	"encoding/csv"
	"io"

	"sensorcast/telemetry"
)

// Writer writes a sheet, row by row.
type Writer struct {
	out   *csv.Writer
	cells []string
}

// NewWriter begins a sheet with the names of all fields. What it writes is buffered until Flush.
func NewWriter(w io.Writer) *Writer {
	sheet := &Writer{out: csv.NewWriter(w)}
	for _, c := range columns {
		sheet.cells = append(sheet.cells, c.name)
	}
	_ = sheet.out.Write(sheet.cells) // Flush says what went wrong
	return sheet
}

// Write adds a sensor.
func (w *Writer) Write(s telemetry.Sensor) {
	for i, c := range columns {
		w.cells[i] = harmless(c.write(s))
	}
	_ = w.out.Write(w.cells) // Flush says what went wrong
}

// Flush passes on what was written, and returns the first error there was.
func (w *Writer) Flush() error {
	w.out.Flush()
	return w.out.Error()
}
