package route

import (
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/number"
)

// sentNumber is a number as a trunk is sent it: by the rules of the route when it has any, else in the trunk's format;
// then by the trunk's rules. "": nothing is left of it.
func sentNumber(country, e164 string, l line) string {
	var n string
	if r := l.route; r != nil && (r.Strip > 0 || r.Prefix != "") {
		n = rewrite(e164, r.Strip, r.Prefix)
	} else {
		n = formatted(country, e164, l.trunk.NumberFormat)
	}
	if l.trunk.Strip > 0 || l.trunk.Prefix != "" {
		n = rewrite(n, l.trunk.Strip, l.trunk.Prefix)
	}
	return n
}

// rewrite takes digits off the front and puts a prefix before the rest; either takes the + with it. "": fewer digits are there
// than are taken off, or as many.
func rewrite(n string, strip int, prefix string) string {
	n = strings.TrimPrefix(n, "+")
	if strip >= len(n) {
		return ""
	}
	return prefix + n[strip:]
}

// formatted writes an E.164 number as a trunk wants numbers.
func formatted(country, e164 string, format brain.NumberFormat) string {
	switch format {
	case brain.FormatE164:
		return e164
	case brain.FormatNational:
		if s := number.Display(country, e164); s != "" && s[0] != '+' && s != e164 {
			return digitsOf(s)
		}
		return "00" + e164
	}
	return "+" + e164
}

// digitsOf is what is left of a number without its visual separators.
func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

// escapeUser writes what is dialed or named as the user part of a SIP URI (RFC 3261 section 25.1): what may stand there as it
// is, everything else as %XX.
func escapeUser(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !plainUser(r) }) < 0 {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plainUser(rune(c)) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func plainUser(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r < 0x80 && strings.ContainsRune("+-_.*~!'()&=$,", r)
}

// hostport tells whether s can stand in a SIP URI as host or host:port.
func hostport(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-._:[]", c) >= 0) {
			return false
		}
	}
	return s != "" && len(s) <= 262
}

// hostOf is a proxy without its port.
func hostOf(proxy string) string {
	if i := strings.LastIndexByte(proxy, ':'); i >= 0 && !strings.HasSuffix(proxy, "]") {
		return proxy[:i]
	}
	return proxy
}

// transport is the URI parameter of a trunk's transport; UDP needs none.
func transport(t *brain.SIPTrunk) string {
	switch t.Transport {
	case "tcp", "tls":
		return ";transport=" + string(t.Transport)
	}
	return ""
}
