package stir

import (
	"strings"
)

// Bounds of what others send. A SHAKEN header has about 700 bytes.
const (
	maxIdentity   = 8 << 10 // bytes of one Identity header
	maxIdentities = 8       // headers of a request that are looked at
	maxParams     = 16
)

// Identity is one Identity header: a token, and where its certificate is.
type Identity struct {
	Token
	Info string // info=, the same as the X5U of the token
}

// ParseIdentity reads the value of an Identity header in full form (RFC 8224 section 4). Parameters that it does not know
// are passed over. Whatever is wrong is a Refusal.
func ParseIdentity(value string) (*Identity, *Refusal) {
	value = strings.Trim(value, " \t")
	switch {
	case value == "":
		return nil, &Refusal{Reason: NoIdentity}
	case len(value) > maxIdentity:
		return nil, refuse(Malformed, "longer than %d bytes", maxIdentity)
	}
	token, rest, _ := strings.Cut(value, ";")
	params, refusal := parseParams(rest)
	if refusal != nil {
		return nil, refusal
	}
	info, ok := params["info"]
	if !ok || !strings.HasPrefix(info, "<") {
		return nil, refuse(Malformed, "no info=<URI>")
	}
	t, refusal := ParsePASSporT(strings.TrimRight(token, " \t"))
	if refusal != nil {
		return nil, refusal
	}
	id := &Identity{Token: *t, Info: strings.Trim(info, "<>")}
	alg, hasAlg := params["alg"]
	ppt, hasPPT := params["ppt"]
	switch {
	case hasAlg && alg != algorithm:
		return nil, refuse(AlgUnsupported, "alg=%s", alg)
	case hasPPT && ppt != id.PPT:
		return nil, refuse(Malformed, "ppt=%s, and the token has %q", ppt, id.PPT)
	case id.Info != id.X5U:
		return nil, refuse(InfoMismatch, "info=<%s>, and the token has %s", id.Info, id.X5U)
	}
	return id, nil
}

// Select reads the Identity headers of a request and returns the one to verify: the first that can be, a shaken one
// before a base one (RFC 8224 section 6.2). When there is none, the refusal is that of the first header.
func Select(values []string) (*Identity, *Refusal) {
	var base *Identity
	first := &Refusal{Reason: NoIdentity}
	for i, value := range values[:min(len(values), maxIdentities)] {
		id, refusal := ParseIdentity(value)
		switch {
		case refusal != nil && i == 0:
			first = refusal
		case refusal != nil:
		case id.PPT == Shaken:
			return id, nil
		case base == nil:
			base = id
		}
	}
	if base != nil {
		return base, nil
	}
	return nil, first
}

// parseParams reads name=value pairs between semicolons, names in lower case. A value in angle brackets keeps them, one in
// quotes loses them. No name may come twice.
func parseParams(text string) (map[string]string, *Refusal) {
	params := map[string]string{}
	for text = strings.Trim(text, " \t"); text != ""; {
		end := strings.IndexAny(text, ";=<\"")
		if end < 0 {
			end = len(text)
		}
		name := strings.ToLower(strings.TrimRight(text[:end], " \t"))
		value := ""
		if text = text[end:]; strings.HasPrefix(text, "=") {
			if value, text = cutValue(strings.TrimLeft(text[1:], " \t")); value == "" {
				return nil, refuse(Malformed, "parameter without a value")
			}
		}
		text = strings.TrimLeft(text, " \t")
		if text != "" {
			if text[0] != ';' || len(text) == 1 {
				return nil, refuse(Malformed, "parameters are not name=value between semicolons")
			}
			text = strings.TrimLeft(text[1:], " \t")
		}
		if _, twice := params[name]; twice || !visible(name) || len(params) == maxParams {
			return nil, refuse(Malformed, "parameter without a name, twice, or more than %d", maxParams)
		}
		params[name] = value
	}
	return params, nil
}

// cutValue cuts a value off: <…>, "…" or a token. "" is none.
func cutValue(text string) (value, rest string) {
	switch {
	case strings.HasPrefix(text, "<"):
		if end := strings.IndexByte(text, '>'); end > 1 && visible(text[:end]) {
			return text[:end+1], text[end+1:]
		}
		return "", text
	case strings.HasPrefix(text, `"`):
		if end := strings.IndexByte(text[1:], '"'); end > 0 && visible(text[1:end+1]) {
			return text[1 : end+1], text[end+2:]
		}
		return "", text
	}
	end := strings.IndexAny(text, "; \t")
	if end < 0 {
		end = len(text)
	}
	if !visible(text[:end]) || strings.ContainsAny(text[:end], "<>\"=,") {
		return "", text
	}
	return text[:end], text[end:]
}

// header writes the value of an Identity header.
func header(token, x5u, ppt string) string {
	value := token + ";info=<" + x5u + ">;alg=" + algorithm
	if ppt != "" {
		value += ";ppt=" + ppt
	}
	return value
}
