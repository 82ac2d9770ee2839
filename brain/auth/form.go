package auth

import "strings"

// parseAlgorithm reads the algorithm parameter. The -sess forms are refused: their HA1 depends on the
// nonce, which would need the password's digest at the edge; no phone asks for them unless told to.
func parseAlgorithm(name string) (algorithm, bool) {
	switch {
	case name == "" || strings.EqualFold(name, "MD5"):
		return algMD5, true
	case strings.EqualFold(name, "SHA-256"):
		return algSHA256, true
	}
	return 0, false
}

// wellFormed tests everything about a digest that does not depend on who sends it. QOP and NC must have
// lost their quotes. Without qop, nc and cnonce play no part in the response and are not looked at.
func wellFormed(method string, d *Digest, alg algorithm) bool {
	if !within(method, maxMethod) || !within(d.Username, maxUsername) || !within(d.Realm, maxRealm) ||
		!within(d.Nonce, maxNonce) || !within(d.URI, maxURI) || len(d.Response) != alg.hexLen() {
		return false
	}
	if d.QOP == "" {
		return true
	}
	return strings.EqualFold(d.QOP, "auth") && within(d.CNonce, maxCNonce) && isNC(d.NC)
}

func within(s string, longest int) bool { return s != "" && len(s) <= longest }

// isNC tests for the eight hexadecimal digits of a nonce count (RFC 7616 section 3.4).
func isNC(s string) bool {
	if len(s) != 8 {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if (s[i] < '0' || s[i] > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// unquote takes off one pair of quotes: Kamailio's selects hand nc and qop over as they stand.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// lower appends the ASCII lower case of s to dst.
func lower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}
