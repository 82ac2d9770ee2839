package flow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a template.
const (
	maxTemplate = 4 << 10 // bytes of its source
	maxParts    = 64
	maxFilters  = 8
)

// template is text with {{ name | filter | filter:"argument" }} in it.
type template []part

// part is literal text, or a variable with its filters.
type part struct {
	text    string
	name    string // "" = literal
	filters []filter
}

type filter struct {
	name, arg string
}

// filters is the closed list; true = takes an argument.
//
//	default:"x"  x when the value is empty
//	upper, lower letters
//	digits       0-9 alone
//	e164         a number as DIDs are written: digits alone, a leading 00 or + gone
//	say_digits   the digits * and # apart, so that they are spoken one by one; everything else gone
//	date:"x"     a moment (epoch seconds or milliseconds, YYYY-MM-DD, RFC 3339) by a layout of YYYY MM DD HH mm ss;
//	             epoch moments are in UTC, the others keep their offset; what is no moment is empty
var filters = map[string]bool{"default": true, "upper": false, "lower": false, "digits": false, "e164": false, "say_digits": false, "date": true}

// parseTemplate reads a template. The error says what is wrong and where.
func parseTemplate(src string) (template, error) {
	switch {
	case len(src) > maxTemplate:
		return nil, fmt.Errorf("has %d bytes, more than %d", len(src), maxTemplate)
	case !utf8.ValidString(src):
		return nil, fmt.Errorf("is not UTF-8")
	}
	var t template
	for rest := src; rest != ""; {
		literal, after, found := strings.Cut(rest, "{{")
		if literal != "" {
			t = append(t, part{text: literal})
		}
		if !found {
			break
		}
		end := closing(after)
		if end < 0 {
			return nil, fmt.Errorf("{{ at byte %d has no }}", len(src)-len(after)-2)
		}
		p, err := parseVariable(after[:end])
		if err != nil {
			return nil, err
		}
		t = append(t, p)
		rest = after[end+2:]
		if len(t) > maxParts {
			return nil, fmt.Errorf("has more than %d parts", maxParts)
		}
	}
	return t, nil
}

// closing is the place of the }} that is not in quotes, -1 when there is none.
func closing(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case !quoted && strings.HasPrefix(s[i:], "}}"):
			return i
		}
	}
	return -1
}

func parseVariable(src string) (part, error) {
	words := splitUnquoted(src, '|')
	p := part{name: strings.TrimSpace(words[0])}
	if !variableName.MatchString(p.name) {
		return p, fmt.Errorf("%s is not the name of a variable", quote(p.name))
	}
	if len(words)-1 > maxFilters {
		return p, fmt.Errorf("{{ %s }} has more than %d filters", p.name, maxFilters)
	}
	for _, word := range words[1:] {
		name, arg, has := strings.Cut(word, ":")
		name = strings.TrimSpace(name)
		takes, known := filters[name]
		switch {
		case !known:
			return p, fmt.Errorf("%s is not a filter: default, upper, lower, digits, e164, say_digits, date", quote(name))
		case has && !takes:
			return p, fmt.Errorf("the filter %s takes no argument", name)
		case name == "default" && !has:
			return p, fmt.Errorf(`the filter default wants an argument: default:"text"`)
		}
		if has {
			arg = strings.TrimSpace(arg)
			if len(arg) < 2 || arg[0] != '"' || arg[len(arg)-1] != '"' || strings.Contains(arg[1:len(arg)-1], `"`) {
				return p, fmt.Errorf("the argument of the filter %s is not in double quotes", name)
			}
			arg = arg[1 : len(arg)-1]
		}
		p.filters = append(p.filters, filter{name, arg})
	}
	return p, nil
}

// splitUnquoted splits at a byte that is not in double quotes; always at least one element.
func splitUnquoted(s string, at byte) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == at && !quoted:
			out, start = append(out, s[start:i]), i+1
		}
	}
	return append(out, s[start:])
}

// names lists the variables it reads.
func (t template) names() []string {
	var out []string
	for _, p := range t {
		if p.name != "" && !slices.Contains(out, p.name) {
			out = append(out, p.name)
		}
	}
	return out
}

// render is expand for texts that may be cut.
func (t template) render(value func(name string) string, escape func(string) string) string {
	text, _ := t.expand(value, escape)
	return text
}

// expand fills the template in; each value passes escape (nil = as it is). The result has at most MaxValue
// bytes: with whole false it was longer, and cut at a character.
func (t template) expand(value func(name string) string, escape func(string) string) (text string, whole bool) {
	var b strings.Builder
	for _, p := range t {
		s := p.text
		if p.name != "" {
			s = value(p.name)
			for _, f := range p.filters {
				s = f.apply(s)
			}
			if escape != nil {
				s = escape(s)
			}
		}
		if b.Len()+len(s) > MaxValue {
			b.WriteString(cut(s, MaxValue-b.Len()))
			return b.String(), false
		}
		b.WriteString(s)
	}
	return b.String(), true
}

func (f filter) apply(s string) string {
	switch f.name {
	case "default":
		if s == "" {
			return f.arg
		}
		return s
	case "upper":
		return strings.ToUpper(s)
	case "lower":
		return strings.ToLower(s)
	case "digits":
		return keep(s, "0123456789")
	case "e164":
		number := keep(s, "0123456789")
		if !strings.HasPrefix(strings.TrimSpace(s), "+") {
			number = strings.TrimPrefix(number, "00")
		}
		return number
	case "say_digits":
		return strings.Join(strings.Split(keep(s, "0123456789*#"), ""), " ")
	}
	return formatDate(s, f.arg)
}

func keep(s, allowed string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(allowed, r) {
			return r
		}
		return -1
	}, s)
}

var dateTokens = strings.NewReplacer("YYYY", "2006", "MM", "01", "DD", "02", "HH", "15", "mm", "04", "ss", "05")

// formatDate writes a moment; "" when s is none. The layout's own letters are only the tokens: what else is in
// it stands as it is.
func formatDate(s, layout string) string {
	at, ok := parseMoment(strings.TrimSpace(s))
	if !ok {
		return ""
	}
	if layout == "" {
		layout = "YYYY-MM-DD"
	}
	var b strings.Builder
	for rest := layout; rest != ""; {
		n := 1
		for _, token := range []string{"YYYY", "MM", "DD", "HH", "mm", "ss"} {
			if strings.HasPrefix(rest, token) {
				n = len(token)
				b.WriteString(at.Format(dateTokens.Replace(token)))
			}
		}
		if n == 1 {
			b.WriteByte(rest[0])
		}
		rest = rest[n:]
	}
	return b.String()
}

func parseMoment(s string) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		switch {
		case n < 0 || n > 99_999_999_999_999:
			return time.Time{}, false
		case n >= 100_000_000_000: // milliseconds: as seconds it would be beyond the year 5000
			return time.UnixMilli(n).UTC(), true
		}
		return time.Unix(n, 0).UTC(), true
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02T15:04:05", time.DateTime} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// cut shortens to at most n bytes, never inside a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:max(n, 0)]
}

// quote writes a value into an error text: bounded, on one line.
func quote(s string) string {
	if len(s) > 80 {
		s = cut(s, 80) + "…"
	}
	return strconv.Quote(s)
}
