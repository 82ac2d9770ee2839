package auth

import "strings"

// readParameters reads `Digest name=value, …` with the names in lower case. Quoted values lose their quotes and keep
// their escapes. It is false for another scheme, for a parameter that is there twice, and for anything that does not
// read to the end, so that no two readers can see different things in it.
func readParameters(text string) (map[string]string, bool) {
	scheme, rest, _ := strings.Cut(trimBlank(text), " ")
	if !strings.EqualFold(scheme, "Digest") {
		return nil, false
	}
	out := map[string]string{}
	for rest = trimBlank(rest); rest != ""; {
		name, after, found := strings.Cut(rest, "=")
		name = strings.ToLower(trimBlank(name))
		if _, twice := out[name]; !found || twice || !isToken(name) {
			return nil, false
		}
		value, left, ok := readValue(trimBlank(after))
		if !ok {
			return nil, false
		}
		out[name] = value
		if rest = trimBlank(left); rest == "" {
			break
		}
		if rest[0] != ',' {
			return nil, false
		}
		rest = trimBlank(rest[1:])
	}
	return out, len(out) > 0
}

// readValue takes a token or a quoted string off the front (RFC 3261 section 25.1).
func readValue(text string) (value, rest string, ok bool) {
	if text == "" || text[0] != '"' {
		end := strings.IndexAny(text, ", \t")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], isBare(text[:end])
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return text[1:i], text[i+1:], true
		case isControl(c):
			return "", "", false
		case c == '\\':
			if i++; i == len(text) || isControl(text[i]) {
				return "", "", false
			}
		}
	}
	return "", "", false
}

func trimBlank(s string) string { return strings.Trim(s, " \t") }

func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

// isToken tests for a token of RFC 3261.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && strings.IndexByte("-.!%*_+`'~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// isBare tests a value without quotes: peers leave them off base64 and URIs too.
func isBare(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\",;\\", c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isQuotable tests that a text of ours can stand between quotes as it is.
func isQuotable(s string) bool {
	for i := range len(s) {
		if c := s[i]; isControl(c) || c == '\t' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
