package brain

import (
	"strconv"
	"strings"
)

// domain checks a SIP domain or realm as it is stored: lower case, a DNS name, an IPv4 address, or an
// IPv6 reference in brackets (RFC 3261 section 25.1, host).
func (c *checker) domain(path, s string) {
	switch {
	case s == "":
		c.add(path, "is required")
	case s != strings.ToLower(s):
		c.add(path, "must be in lower case: %s", quote(s))
	case !isHost(s):
		c.add(path, "must be a DNS name or an IP address (IPv6 in brackets), not %s", quote(s))
	}
}

// isHost takes no part in resolving: it keeps out what could not stand in a SIP URI.
func isHost(s string) bool {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		inner, ok := strings.CutSuffix(rest, "]")
		return ok && isIPv6(inner)
	}
	labels := strings.Split(s, ".")
	if only(labels[len(labels)-1], isDigit) {
		return isIPv4(labels) // no top-level domain is numeric (RFC 1123 section 2.1)
	}
	if len(s) > maxDomainBytes {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > maxLabelBytes || l[0] == '-' || l[len(l)-1] == '-' || !only(l, isLabelByte) {
			return false
		}
	}
	return true
}

func isLabelByte(b byte) bool { return isAlnum(b) || b == '-' }

func isIPv4(parts []string) bool {
	if len(parts) != 4 {
		return false
	}
	for _, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n > 255 || strconv.Itoa(n) != p {
			return false
		}
	}
	return true
}

// isIPv6 takes the eight groups of RFC 4291 section 2.2 with at most one "::", no zone and no embedded IPv4.
func isIPv6(s string) bool {
	head, tail, short := strings.Cut(s, "::")
	groups := 0
	for _, side := range []string{head, tail} {
		if side == "" {
			continue
		}
		for _, g := range strings.Split(side, ":") {
			if g == "" || len(g) > 4 || strings.Trim(g, "0123456789abcdef") != "" {
				return false
			}
			groups++
		}
	}
	if short {
		return groups < 8
	}
	return groups == 8
}
