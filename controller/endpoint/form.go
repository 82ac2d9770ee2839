package endpoint

import (
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxText = 4 << 10 // bytes of a field
	maxID   = 256     // bytes of an identifier or a word
	maxPort = 65535
	// maxPairs bounds the name=value pairs of a form. No question has more than 64 fields.
	maxPairs = 128
)

// field is one field of a question: its name, where it lands, and how long it may be.
type field[T any] struct {
	name  string
	max   int              // bytes of text, or the largest number
	lines bool             // line feeds may stand in the text
	loose bool             // names nobody: what is no clean text is made that
	text  func(*T) *string // one of these three is set
	num   func(*T) *int
	ms    func(*T) *int64 // epoch milliseconds; max does not bound them
}

// fieldSet is every field of a question. The table is made once; nothing is looked up by reflection
// while a call waits.
type fieldSet[T any] struct {
	fields []field[T] // at most 64: decodeForm keeps a bit for each
	index  map[string]int
}

func newFieldSet[T any](fields ...[]field[T]) fieldSet[T] {
	set := fieldSet[T]{index: make(map[string]int)}
	for _, list := range fields {
		for _, f := range list {
			set.index[f.name] = len(set.fields)
			set.fields = append(set.fields, f)
		}
	}
	return set
}

// decodeForm fills into from application/x-www-form-urlencoded (WHATWG URL, section 5.1). Unlike
// net/url it refuses what it does not know, what comes twice, and bytes that are not clean text.
// An empty value is an absent one.
func (set *fieldSet[T]) decodeForm(body string, into *T) error {
	var seen uint64
	for pairs := 0; body != ""; pairs++ {
		if pairs == maxPairs {
			return badBody(http.StatusBadRequest, countBadSyntax, "a form has at most %d fields", maxPairs)
		}
		var pair string
		pair, body, _ = strings.Cut(body, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		i, err := set.find(name)
		if err != nil {
			return err
		}
		if seen&(1<<i) != 0 {
			return badField(countBadDuplicate, set.fields[i].name, "given twice")
		}
		seen |= 1 << i
		if err := set.fields[i].setForm(into, value); err != nil {
			return err
		}
	}
	return nil
}

// find returns the index of a field by its name as it stands in a form.
func (set *fieldSet[T]) find(name string) (int, error) {
	if i, ok := set.index[name]; ok {
		return i, nil
	}
	plain, ok := unescape(name)
	if i, known := set.index[plain]; ok && known {
		return i, nil
	}
	return 0, badField(countBadUnknownField, quote(name), "there is no such field")
}

func (f *field[T]) setForm(into *T, value string) error {
	text, c := value, classify(value)
	if c&(classEscape|classSemicolon) != 0 {
		var ok bool
		if text, ok = unescape(value); !ok {
			return badField(countBadSyntax, f.name, "not form-encoded")
		}
		c = classify(text)
	}
	if f.text != nil {
		if f.loose && c&(classControl|classHigh) != 0 {
			text = f.clean(text)
			c = classify(text)
		}
		*f.text(into) = text
		if f.lines {
			return f.checkLines(text)
		}
		return checkClassified(f.name, text, f.max, c)
	}
	if text == "" {
		return nil
	}
	if f.ms != nil {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return badField(countBadType, f.name, "%s is not a time in milliseconds", quote(text))
		}
		*f.ms(into) = int64(n)
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return badField(countBadType, f.name, "%s is not a number", quote(text))
	}
	*f.num(into) = int(n)
	return f.checkNum(int(n))
}

// check holds every field against its bounds, for a body whose fields were set by other means.
func (set *fieldSet[T]) check(v *T) error {
	for i := range set.fields {
		f := &set.fields[i]
		var err error
		if f.loose {
			*f.text(v) = f.clean(*f.text(v))
		}
		switch {
		case f.lines:
			err = f.checkLines(*f.text(v))
		case f.text != nil:
			err = checkText(f.name, *f.text(v), f.max)
		case f.ms != nil:
			if n := *f.ms(v); n < 0 {
				err = badField(countBadType, f.name, "%d is below 0", n)
			}
		default:
			err = f.checkNum(*f.num(v))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// clean makes text of what a phone or a trunk wrote where anything may stand: of each control character a space, for a header that is
// folded or a name with a tab is no reason to refuse a call; bytes that are not UTF-8 are left out.
func (f *field[T]) clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !(r == '\n' && f.lines) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// checkLines holds a text of several lines against its bounds.
func (f *field[T]) checkLines(s string) error {
	return checkText(f.name, strings.ReplaceAll(s, "\n", " "), f.max)
}

func (f *field[T]) checkNum(n int) error {
	if n < 0 || n > f.max {
		return badField(countBadType, f.name, "%d is not between 0 and %d", n, f.max)
	}
	return nil
}

// checkText holds a text against its bounds: its length, UTF-8, and no control character. A CR or LF
// would become a header of its own wherever the edge writes the text into a message; no name, number
// or URI needs one.
func checkText(name, s string, limit int) error { return checkClassified(name, s, limit, classify(s)) }

func checkClassified(name, s string, limit int, c class) error {
	switch {
	case len(s) > limit:
		return badField(countBadTooLong, name, "longer than %d bytes", limit)
	case c&(classControl|classHigh) == 0:
		return nil
	case c&classHigh != 0 && !utf8.ValidString(s):
		return badField(countBadEncoding, name, "is not UTF-8")
	}
	for i, r := range s {
		if unicode.IsControl(r) {
			return badField(countBadControl, name, "has the control character U+%04X at byte %d", r, i)
		}
	}
	return nil
}

// unescape undoes form encoding: + is a space, %XX a byte. It reports false for a broken escape and
// for a raw ';', which some decoders take for '&'. Text without an escape is returned as it is.
func unescape(s string) (string, bool) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case ';':
			return "", false
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(s) || unhex[s[i+1]] < 0 || unhex[s[i+2]] < 0 {
				return "", false
			}
			c = byte(unhex[s[i+1]]<<4 | unhex[s[i+2]])
			i += 2
		}
		out = append(out, c)
	}
	return string(out), true
}

// class is what kinds of bytes a text has.
type class uint8

const (
	classControl   class = 1 << iota // 0x00–0x1f and 0x7f
	classHigh                        // not ASCII
	classEscape                      // % and +
	classSemicolon                   // ;
	classQuote                       // " and \
)

// classify looks at a text once, so that the plain ones, nearly all, need no further look.
func classify(s string) (c class) {
	for i := range len(s) {
		c |= classOf[s[i]]
	}
	return c
}

var classOf = func() (table [256]class) {
	for i := range table {
		switch c := byte(i); {
		case c < 0x20 || c == 0x7f:
			table[i] = classControl
		case c >= utf8.RuneSelf:
			table[i] = classHigh
		case c == '%' || c == '+':
			table[i] = classEscape
		case c == ';':
			table[i] = classSemicolon
		case c == '"' || c == '\\':
			table[i] = classQuote
		}
	}
	return table
}()

// unhex is the value of a hexadecimal digit, -1 for any other byte.
var unhex = func() (table [256]int16) {
	for c := range table {
		table[c] = -1
		if n, err := strconv.ParseUint(string(rune(c)), 16, 8); err == nil && c < utf8.RuneSelf {
			table[c] = int16(n)
		}
	}
	return table
}()
