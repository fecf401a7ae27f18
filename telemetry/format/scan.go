package format

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// What can be wrong with a text.
var (
	errEmpty  = errors.New("is empty")
	errSyntax = errors.New("is not valid JSON")
	errUTF8   = errors.New("is not valid UTF-8")
	errDeep   = fmt.Errorf("is nested deeper than %d levels", maxDepth)
)

// scanner reads JSON text (RFC 8259) once: grammar, UTF-8 and depth. It stands on the one path every message takes, where json.Valid
// and what must be asked besides took four times as long. It accepts exactly what json.Valid does, in UTF-8 and within maxDepth;
// FuzzScan holds it to that. Its methods move at beyond what they read, and report whether it was there.
type scanner struct {
	text     []byte
	at       int
	fault    error // why a method said no; nil: errSyntax
	spaces   int   // bytes of white space between tokens
	envelope bool  // the outermost object has a member named as an envelope's payload is
}

// scan checks that text is one JSON value.
func scan(text []byte) (s scanner, err error) {
	s.text = text
	s.skip()
	ok := s.value(0)
	s.skip()
	if ok && s.at == len(text) {
		return s, nil
	}
	if s.fault == nil {
		s.fault = errSyntax
	}
	return s, s.fault
}

// peek returns the next byte, or at the end 0, which begins nothing.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) skip() {
	for isSpace(s.peek()) {
		s.at++
		s.spaces++
	}
}

// accept reads c.
func (s *scanner) accept(c byte) bool {
	ok := s.peek() == c
	if ok {
		s.at++
	}
	return ok
}

// next reads c and the white space before it.
func (s *scanner) next(c byte) bool {
	s.skip()
	return s.accept(c)
}

// value reads a value that stands in depth arrays and objects.
func (s *scanner) value(depth int) bool {
	switch s.peek() {
	case '"':
		return s.quoted()
	case '{', '[':
		if depth == maxDepth {
			s.fault = errDeep
			return false
		}
		return s.items(depth)
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

func (s *scanner) items(depth int) bool {
	object, end := s.text[s.at] == '{', s.text[s.at]+2 // 0x5b [ 0x5d ], 0x7b { 0x7d }
	s.at++
	for first := true; ; first = false {
		if s.next(end) {
			return first // otherwise a comma stands before it
		}
		if object && !s.name(depth) || !s.value(depth+1) {
			return false
		}
		if s.next(end) {
			return true
		}
		if !s.next(',') {
			return false
		}
	}
}

// name reads a member's name and colon.
func (s *scanner) name(depth int) bool {
	from := s.at
	if s.peek() != '"' || !s.quoted() {
		return false
	}
	if depth == 0 {
		switch string(s.text[from:s.at]) {
		case `"data"`, `"values"`:
			s.envelope = true
		}
	}
	ok := s.next(':')
	s.skip()
	return ok
}

func (s *scanner) quoted() bool {
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return true
		case c == '\\':
			if s.at++; !s.escaped() {
				return false
			}
		case c < ' ':
			return false
		case c >= utf8.RuneSelf:
			_, size := utf8.DecodeRune(s.text[s.at:])
			if size == 1 {
				s.fault = errUTF8
				return false
			}
			s.at += size - 1
		}
	}
	return false
}

// escaped reports whether an escape may go on so after its backslash, and moves to its last byte.
func (s *scanner) escaped() bool {
	c := s.peek()
	for i := 0; c == 'u' && i < 4; i++ {
		s.at++
		if x := s.peek() | 0x20; !isDigit(s.peek()) && (x < 'a' || x > 'f') {
			return false
		}
	}
	return strings.IndexByte(`"\/bfnrtu`, c) >= 0
}

func (s *scanner) word(w string) bool {
	ok := bytes.HasPrefix(s.text[s.at:], []byte(w))
	s.at += len(w)
	return ok
}

func (s *scanner) number() bool {
	s.accept('-')
	ok := s.accept('0') || s.digits() // no digit follows a leading zero
	if ok && s.accept('.') {
		ok = s.digits()
	}
	if ok && (s.accept('e') || s.accept('E')) {
		_ = s.accept('+') || s.accept('-')
		ok = s.digits()
	}
	return ok
}

// digits reads one or more.
func (s *scanner) digits() bool {
	from := s.at
	for isDigit(s.peek()) {
		s.at++
	}
	return s.at > from
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
