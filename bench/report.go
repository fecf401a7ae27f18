package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// report is all that was found.
type report struct {
	setting setting
	duels   []duel
}

//go:embed page.md.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// write makes the page at path and its plot beside it.
func (r report) write(path string) error {
	plot := strings.TrimSuffix(path, filepath.Ext(path)) + ".svg"
	page, err := r.page(filepath.Base(plot))
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(plot, r.plot(), 0o644), os.WriteFile(path, page, 0o644))
}

// failures is an error that names the duels that were given up; nil without any.
func (r report) failures() error {
	var failed error
	for _, d := range r.duels {
		if d.failed != nil {
			failed = errors.Join(failed, fmt.Errorf("row %s: %w", d.row.letter, d.failed))
		}
	}
	return failed
}

// line is one of the page's table of all figures.
type line struct {
	Row, Name, Figure, Peer, Ours, Theirs, Ratio, CPU, Foreign, Note string
}

func (r report) page(plot string) ([]byte, error) {
	data := struct {
		setting
		Plot     string
		Verdicts []verdict
		Lines    []line
		Failures []string
	}{setting: r.setting, Plot: plot}
	for _, m := range marks {
		if v, ok := m.judge(r.duels); ok {
			data.Verdicts = append(data.Verdicts, v)
		}
	}
	for _, d := range r.duels {
		if d.failed != nil {
			data.Failures = append(data.Failures, fmt.Sprintf("row %s against %s: %v", d.row.letter, d.peer.name, d.failed))
			continue
		}
		for _, f := range d.row.figures {
			c := d.figure(f)
			data.Lines = append(data.Lines, line{
				d.row.letter, d.row.name, string(f), d.peer.name, d.row.show(f, c.ours.median), d.row.show(f, c.theirs.median),
				c.ratio.String(), d.cpu(), d.noise(), d.note(),
			})
		}
	}
	var out bytes.Buffer
	err := pageTemplate.Execute(&out, data)
	return out.Bytes(), err
}
