package fsim

import (
	"strings"
)

// variables are those of a channel, in the order they were first set.
type variables struct {
	order  []string
	values map[string]string
}

func (v *variables) get(name string) string { return v.values[name] }

// set replaces a variable; an empty value takes it away, as on the real one.
func (v *variables) set(name, value string) {
	if v.values == nil {
		v.values = map[string]string{}
	}
	_, known := v.values[name]
	switch {
	case value == "" && known:
		delete(v.values, name)
		for i, n := range v.order {
			if n == name {
				v.order = append(v.order[:i:i], v.order[i+1:]...)
				break
			}
		}
	case value == "":
	case known:
		v.values[name] = value
	default:
		v.values[name] = value
		v.order = append(v.order, name)
	}
}

// push makes a list of a variable that is set already.
func (v *variables) push(name, value string) {
	old := v.get(name)
	switch {
	case old == "":
		v.set(name, value)
	case strings.HasPrefix(old, arrayMark):
		v.set(name, old+"|:"+value)
	default:
		v.set(name, arrayMark+old+"|:"+value)
	}
}

// brackets takes the variables off the front of text: {a=b,c=d}rest or [a=b]rest. ^^: changes the separator and
// \, or a comma in single quotes is no separator.
func brackets(text string, open, end byte) (pairs [][2]string, rest string) {
	for {
		text = strings.TrimLeft(text, " ")
		if text == "" || text[0] != open {
			return pairs, text
		}
		stop := closing(text, open, end)
		if stop < 0 {
			return pairs, text
		}
		for _, item := range splitPairs(text[1:stop]) {
			if name, value, ok := strings.Cut(item, "="); ok {
				pairs = append(pairs, [2]string{strings.TrimSpace(name), unquote(value)})
			}
		}
		text = text[stop+1:]
	}
}

// closing is where the bracket that text begins with ends, -1 without an end.
func closing(text string, open, end byte) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case open:
			depth++
		case end:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func splitPairs(text string) []string {
	separator := byte(',')
	if strings.HasPrefix(text, "^^") && len(text) > 2 {
		separator, text = text[2], text[3:]
	}
	return splitOutside(text, separator)
}

// splitOutside splits text at a separator that stands neither in quotes, nor in brackets, nor behind a backslash.
func splitOutside(text string, separator byte) []string {
	var list []string
	var item strings.Builder
	quote, depth := false, 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text) && (text[i+1] == separator || text[i+1] == '\''):
			i++
			item.WriteByte(text[i])
			continue
		case c == '\'':
			quote = !quote
		case strings.IndexByte("{[<", c) >= 0:
			depth++
		case strings.IndexByte("}]>", c) >= 0:
			depth--
		}
		if c == separator && !quote && depth <= 0 {
			list = append(list, item.String())
			item.Reset()
			continue
		}
		item.WriteByte(c)
	}
	return append(list, item.String())
}

func unquote(value string) string {
	value = strings.TrimSpace(value)
	if len(value) >= 2 && value[0] == '\'' && value[len(value)-1] == '\'' {
		return value[1 : len(value)-1]
	}
	return value
}

// expand replaces ${name} by what lookup says.
func expand(text string, lookup func(name string) string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, rest, ended := strings.Cut(after, "}")
		if !ended {
			b.WriteString("${" + after)
			return b.String()
		}
		b.WriteString(lookup(name))
		text = rest
	}
}

// truth is how FreeSWITCH reads a yes.
func truth(value string) bool {
	switch strings.ToLower(value) {
	case "yes", "on", "true", "t", "enabled", "active", "allow":
		return true
	}
	return value != "" && value != "0" && strings.Trim(value, "0123456789") == ""
}
