package route

import (
	"cmp"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// handed is what an answered call knows: what the question says of it, and what the configuration hands on. Most calls
// ring phones, so it is put together only when it is wanted.
func (p *plan) handed() brain.Vars {
	vars := brain.Vars{
		"caller_number": p.shown(p.req), "called_number": p.req.RURIUser,
		"account_name": p.acct.Account.Name, "direction": p.caller.direction(p.req),
		"caller_verstat": p.caller.Verstat, "caller_attest": p.caller.Attest,
	}
	if u := p.caller.User; u != nil {
		vars["caller_name"], vars["caller_user_id"] = sanitize(u.DisplayName), u.ID
	} else if p.caller.Trunk != nil && withholds(p.req) {
		vars["caller_name"] = "Anonymous"
	} else {
		vars["caller_name"] = sanitize(unquote(p.req.FromName))
	}
	if withholds(p.req) {
		vars[brain.VarWithheld] = "1"
	}
	if p.caller.Trunk != nil {
		if n := p.diversions(); n > 0 {
			vars["caller_diverted"] = strconv.Itoa(n)
		}
		if number, did := called(p.acct, p.req.RURIUser); did != nil {
			vars["called_number"] = number
		}
	}
	maps.Copy(vars, p.vars)
	return vars
}

// own are the variables that the platform itself goes by. They come first, so that what a configuration hands on
// cannot push them out when there is no room for all.
var own = []string{"record", brain.VarAction, "direction", "caller_user_id", "caller_diverted", brain.VarWithheld, "caller_number", "caller_verstat", "caller_attest", "called_number", "did_label", "caller_name", "account_name"}

// form writes variables as api.HeaderVars wants them, as many as there is room for: the platform's own, then the
// others by name.
func form(vars brain.Vars) string {
	names := slices.Sorted(maps.Keys(vars))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	var b strings.Builder
	for _, name := range names {
		if vars[name] == "" {
			continue
		}
		pair := escape(name) + "=" + escape(vars[name])
		if base64.RawURLEncoding.EncodedLen(b.Len()+len(pair)+1) > api.MaxVars {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(pair)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(b.String()))
}

// rank is the place of a variable among the platform's own, behind them for all others.
func rank(name string) int {
	if i := slices.Index(own, name); i >= 0 {
		return i
	}
	return len(own)
}

// escape writes every byte that is not a letter, a digit or one of - . _ ~ as %XX (RFC 3986).
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// unescape is what escape made s of; a % without two hex digits stands for itself.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// pairs reads what form wrote, for people: one "name=value" each, nil when it is no such thing.
func pairs(form string) []string {
	raw, err := base64.RawURLEncoding.DecodeString(form)
	if err != nil || len(raw) == 0 {
		return nil
	}
	list := strings.Split(string(raw), "&")
	for i, pair := range list {
		list[i] = unescape(pair)
	}
	return list
}
