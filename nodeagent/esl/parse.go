package esl

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// parsePlain reads the body of a text/event-plain frame: headers with values in URL encoding, an empty
// line, then the event's own body. Its inner Content-Length is not used: the frame already says where
// the body ends, and an application that makes events may have set another.
func parsePlain(text string) (*Event, error) {
	head, body := text, ""
	if i := strings.Index(text, "\n\n"); i >= 0 {
		head, body = text[:i+1], text[i+2:]
	}
	raw, err := parseHeaders(make([]Header, 0, strings.Count(head, "\n")+1), head)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, errors.New("event without headers")
	}
	headers, err := decodeHeaders(raw)
	if err != nil {
		return nil, err
	}
	return &Event{headers: headers, body: body}, nil
}

// Arrays in plain events: ARRAY::one|:two.
const (
	arrayPrefix    = "ARRAY::"
	arraySeparator = "|:"
)

// decodeHeaders decodes values in place and makes of an array so many headers of one name.
func decodeHeaders(headers []Header) ([]Header, error) {
	arrays := false
	for i := range headers {
		headers[i].Value = unescape(headers[i].Value)
		arrays = arrays || strings.HasPrefix(headers[i].Value, arrayPrefix)
	}
	if !arrays {
		return headers, nil
	}
	out := make([]Header, 0, len(headers)+8)
	for _, h := range headers {
		items, isArray := strings.CutPrefix(h.Value, arrayPrefix)
		if !isArray {
			out = append(out, h)
			continue
		}
		for item := range strings.SplitSeq(items, arraySeparator) {
			if len(out) >= MaxHeaders {
				return nil, fmt.Errorf("over %d headers", MaxHeaders)
			}
			out = append(out, Header{h.Name, item})
		}
	}
	return out, nil
}

// unescape undoes FreeSWITCH's URL encoding (switch_url_decode): %XX and nothing else. What is no
// escape stays as it is.
func unescape(s string) string {
	at := strings.IndexByte(s, '%')
	if at < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for at >= 0 {
		out = append(out, s[:at]...)
		s = s[at:]
		if v, ok := hexByte(s); ok {
			out, s = append(out, v), s[3:]
		} else {
			out, s = append(out, '%'), s[1:]
		}
		at = strings.IndexByte(s, '%')
	}
	return string(append(out, s...))
}

// hexByte reads the %XX that s begins with.
func hexByte(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	high, ok1 := hexDigit(s[1])
	low, ok2 := hexDigit(s[2])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// parseJSON reads the body of a text/event-json frame: one flat object whose values are strings or
// arrays of them. A map would lose duplicate keys and order, so it is walked; encoding/json has said
// before that it is valid, which is all the walk relies on.
func parseJSON(text []byte) (*Event, error) {
	if !json.Valid(text) {
		return nil, errors.New("event is no JSON")
	}
	w := &walk{rest: string(text)}
	if !w.take('{') {
		return nil, errors.New("event is no JSON object")
	}
	e := &Event{headers: make([]Header, 0, strings.Count(w.rest, `":`)+1)}
	for !w.take('}') {
		name, err := w.str()
		if err != nil {
			return nil, err
		}
		w.take(':')
		if err := w.values(e, name); err != nil {
			return nil, err
		}
		w.take(',')
	}
	if len(e.headers) == 0 {
		return nil, errors.New("event without headers")
	}
	return e, nil
}

// walk goes through valid JSON text.
type walk struct{ rest string }

// take skips white space, and then c if it is next.
func (w *walk) take(c byte) bool {
	w.skipSpace()
	if w.rest == "" || w.rest[0] != c {
		return false
	}
	w.rest = w.rest[1:]
	return true
}

func (w *walk) skipSpace() {
	for w.rest != "" && (w.rest[0] == ' ' || w.rest[0] == '\t' || w.rest[0] == '\r' || w.rest[0] == '\n') {
		w.rest = w.rest[1:]
	}
}

// values reads the value of one key into the event: a scalar, or an array of scalars.
func (w *walk) values(e *Event, name string) error {
	if !w.take('[') {
		v, err := w.scalar()
		if err != nil {
			return err
		}
		return e.add(name, v)
	}
	for !w.take(']') {
		v, err := w.scalar()
		if err != nil {
			return err
		}
		if err := e.add(name, v); err != nil {
			return err
		}
		w.take(',')
	}
	return nil
}

func (e *Event) add(name, value string) error {
	switch {
	case name == "_body":
		e.body = value
	case len(e.headers) == MaxHeaders:
		return fmt.Errorf("over %d headers", MaxHeaders)
	default:
		e.headers = append(e.headers, Header{name, value})
	}
	return nil
}

// scalar reads a string, or a number, true, false or null as its text.
func (w *walk) scalar() (string, error) {
	w.skipSpace()
	switch {
	case w.rest == "":
		return "", errors.New("event ends inside a value")
	case w.rest[0] == '"':
		return w.str()
	case w.rest[0] == '{' || w.rest[0] == '[':
		return "", errors.New("event has a value inside a value")
	}
	end := strings.IndexAny(w.rest, ",]} \t\r\n")
	if end <= 0 {
		return "", errors.New("event ends inside a value")
	}
	v := w.rest[:end]
	w.rest = w.rest[end:]
	return v, nil
}

// str reads a string. One without escapes, which most are, is a part of the event's text.
func (w *walk) str() (string, error) {
	if !w.take('"') {
		return "", errors.New("event has a key that is no string")
	}
	escaped := false
	for end := 0; end < len(w.rest); end++ {
		switch w.rest[end] {
		case '\\':
			escaped = true
			end++ // the character behind it is no end
		case '"':
			v := w.rest[:end]
			w.rest = w.rest[end+1:]
			if escaped {
				return unquote(v)
			}
			return v, nil
		}
	}
	return "", errors.New("event ends inside a string")
}

func unquote(s string) (string, error) {
	var v string
	if err := json.Unmarshal([]byte(`"`+s+`"`), &v); err != nil {
		return "", fmt.Errorf("event string: %w", err)
	}
	return v, nil
}
