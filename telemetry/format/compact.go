package format

import "bytes"

// compact checks that payload is one valid JSON value in UTF-8, not nested too deeply, and returns it without white space between
// tokens: payload itself when there is nothing to remove. named is scanner.envelope. The error completes a sentence.
func compact(payload []byte) (body []byte, named bool, err error) {
	if flat(payload) {
		return payload, false, nil
	}
	s, err := scan(payload)
	switch {
	case err == nil && s.spaces == 0:
		return payload, s.envelope, nil
	case err == nil:
		return squeeze(payload, len(payload)-s.spaces), s.envelope, nil
	case len(bytes.TrimSpace(payload)) == 0:
		return nil, false, errEmpty
	}
	return nil, false, err
}

// squeeze copies valid JSON text without the white space between its tokens, which leaves size bytes. It allocates no more than
// that: readings are kept in queues bounded by their bytes, and a payload that is all blanks must not hide there.
func squeeze(text []byte, size int) []byte {
	out := make([]byte, 0, size)
	from, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && isSpace(c):
			out = append(out, text[from:i]...)
			from = i + 1
		}
	}
	return append(out, text[from:]...)
}
