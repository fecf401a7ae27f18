package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"sensorcast/telemetry"
)

// refusals are the statuses huma itself answers with, as kinds of the one table. 500 is a body that could not be read: what handlers
// return has passed the table before huma sees it.
var refusals = map[int]error{
	http.StatusBadRequest:            errMalformed,
	http.StatusRequestTimeout:        errSlowBody,
	http.StatusRequestEntityTooLarge: errTooLarge,
	http.StatusUnsupportedMediaType:  errMediaType,
	http.StatusUnprocessableEntity:   telemetry.ErrInvalid,
	http.StatusInternalServerError:   errBrokenBody,
}

// problemFromHuma words what huma refuses: what cannot be parsed, does not fit the schema or is too large. huma's details carry the
// rejected value, which may be a password; only place and message are taken over. The messages are made from the schema, or by readJSON.
func problemFromHuma(status int, _ string, errs ...error) huma.StatusError {
	kind, known := refusals[status]
	if !known { // only when huma asks for an example to describe errors by
		return &Problem{Type: "about:blank", Status: status, Title: http.StatusText(status)}
	}
	p := problemOf(kind)
	if kind != errMalformed && kind != telemetry.ErrInvalid {
		return p // it says all there is to say
	}
	for _, err := range errs[:min(len(errs), maxFaults)] {
		if detail, ok := err.(huma.ErrorDetailer); ok {
			p.Errors = append(p.Errors, faultFromHuma(detail.ErrorDetail()))
		}
	}
	return p
}

// A body of 64 KiB can hold thousands of unknown fields with names of any length; the answer stays small.
const (
	maxFaults        = 20
	maxLocationRunes = 100
)

func faultFromHuma(d *huma.ErrorDetail) Fault {
	f := Fault{Location: d.Location, Message: d.Message}
	// huma places a missing property at the object that lacks it.
	if rest, ok := strings.CutPrefix(d.Message, "expected required property "); ok {
		if name, ok := strings.CutSuffix(rest, " to be present"); ok {
			f = Fault{Location: d.Location + "." + name, Message: "is missing"}
		}
	}
	if location := []rune(f.Location); len(location) > maxLocationRunes {
		f.Location = string(location[:maxLocationRunes]) + "…"
	}
	return f
}

// plainJSONError words a decoder's error without any byte of the input.
func plainJSONError(err error) error {
	if err == nil {
		return nil
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("is not well-formed JSON at byte %d", syntax.Offset)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field == "" {
			return errors.New("has a value of the wrong type")
		}
		return fmt.Errorf("%s has the wrong type or is out of range", wrong.Field)
	}
	return errors.New("does not fit")
}

// readJSON decodes and, unlike encoding/json, refuses broken UTF-8 in place of storing replacement characters, and words its errors
// without a byte of the input, which may be a secret.
func readJSON(data []byte, v any) error {
	if !utf8.Valid(data) || halfPair(data) {
		return errNotUTF8
	}
	return plainJSONError(json.Unmarshal(data, v))
}

// halfPair reports whether a \u escape is half of a surrogate pair without the other (RFC 8259 §8.2): no character, and so no text either. Two
// passwords that differ in them must not become the same.
func halfPair(data []byte) bool {
	for {
		at := bytes.IndexByte(data, '\\')
		if at < 0 || len(data) < at+2 {
			return false
		}
		data = data[at:]
		r := escaped(data)
		switch {
		case r < 0: // another escape
			data = data[2:]
		case !utf16.IsSurrogate(r):
			data = data[escapeBytes:]
		case utf16.DecodeRune(r, escaped(data[escapeBytes:])) == unicode.ReplacementChar:
			return true
		default:
			data = data[2*escapeBytes:]
		}
	}
}

const escapeBytes = len(`\u0000`)

// escaped returns what the \u escape at the beginning of data stands for; -1: there is none.
func escaped(data []byte) rune {
	if len(data) < escapeBytes || data[0] != '\\' || data[1] != 'u' {
		return -1
	}
	r, err := strconv.ParseUint(string(data[2:escapeBytes]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(r)
}
