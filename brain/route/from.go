package route

import (
	"cmp"
	"strings"
	"unicode"

	"github.com/sipio/sipio/brain/api"
)

// maxDisplay bounds a display name in characters, before escaping.
const maxDisplay = 64

// noDomain stands in From for the domain of an account that has none (RFC 2606 section 2).
const noDomain = "sipio.invalid"

// identity returns the headers that say who calls, nil when From stands as it should: a phone's is forced to
// what its digest proves; a number from outside, or that of the call a leg belongs to, is shown as one of the
// account's domain, so that it can be called back.
func (p *plan) identity(req *api.RouteRequest) *api.RouteHeaders {
	if p.caller.User != nil {
		return forcedFrom(p.caller, req)
	}
	number := p.shown(req)
	name := sanitize(unquote(req.FromName))
	if number == "" {
		return &api.RouteHeaders{From: &api.NameAddr{Display: `"Anonymous"`, URI: "sip:anonymous@anonymous.invalid"}}
	}
	if name == "" {
		name = number
	}
	return &api.RouteHeaders{From: &api.NameAddr{Display: quote(name), URI: "sip:" + number + "@" + cmp.Or(p.acct.PrimaryDomain, noDomain)}}
}

// from is the caller as call lists show him.
func (p *plan) from(req *api.RouteRequest) string {
	if p.caller.User != nil {
		return p.caller.User.Username
	}
	if n := p.shown(req); n != "" {
		return n
	}
	return "anonymous"
}

// callerNumber is the number that a caller shows: a phone's own extension, else what came with the call. "": withheld.
// Who is anonymous in From, or asks for privacy, does not want to be known, whatever the network asserts of him (RFC 3325 section 7); of
// a leg of the media server, From alone tells what is to be shown.
func callerNumber(caller *Caller, req *api.RouteRequest) string {
	switch {
	case caller.User != nil:
		return caller.User.Username
	case anonymous(req.FromUser), caller.Trunk != nil && withholds(req):
		return ""
	}
	for _, s := range []string{req.Asserted, req.FromUser} {
		if caller.Media && s == req.Asserted {
			continue
		}
		if s != "" && len(s) <= maxDialed && numberLike(s) {
			return s
		}
	}
	return ""
}

// numberLike tells whether s can stand in a SIP URI as it is and names somebody: digits, + in front, or an
// extension's letters. "anonymous" names nobody.
func numberLike(s string) bool {
	if anonymous(s) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("+-_.*", c) >= 0) {
			return false
		}
	}
	return true
}

// anonymous tells whether s is what networks write instead of a number that is withheld.
func anonymous(s string) bool {
	return strings.EqualFold(s, "anonymous") || strings.EqualFold(s, "restricted") || strings.EqualFold(s, "unavailable")
}

// unquote reads a display name as it stands in From, with its quotes or, as edges send it, without them. Names that have no quotes
// have no backslash either (RFC 3261 section 25.1).
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// forcedFrom returns the headers that put the authenticated identity into From, nil when the phone wrote
// exactly that itself. The URI is the user's name in the device's realm, so that calling back works; the
// name is the user's, never the phone's.
func forcedFrom(caller Caller, req *api.RouteRequest) *api.RouteHeaders {
	user, realm := caller.User.Username, strings.ToLower(caller.Device.Realm)
	name := sanitize(caller.User.DisplayName)
	if name == "" {
		name = sanitize(user)
	}
	if req.FromUser == user && strings.EqualFold(req.FromDomain, realm) && sameName(req.FromName, name) {
		return nil
	}
	return &api.RouteHeaders{From: &api.NameAddr{Display: quote(name), URI: "sip:" + user + "@" + realm}}
}

// sanitize makes a text fit for display by a phone: valid UTF-8, no control characters, none that turn
// the direction of writing (with those a name can be made to look like another), at most maxDisplay.
func sanitize(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(s, "") {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			continue
		}
		if n++; n > maxDisplay {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// plain tells whether s is printable ASCII without surrounding blanks and not too long: nearly every name.
func plain(s string) bool {
	if len(s) > maxDisplay || strings.TrimSpace(s) != s {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// quote writes a sanitized name as a quoted-string (RFC 3261 section 25.1).
func quote(s string) string {
	if !strings.ContainsAny(s, `\"`) {
		return `"` + s + `"`
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r == '\\' || r == '"' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	return b.String()
}

// sameName compares the display name of a request, quoted or not, with a sanitized one.
func sameName(given, name string) bool { return given == name || given == quote(name) }

// sayVerstat explains what became of the caller's Identity.
func (p *plan) sayVerstat() {
	c := &p.caller
	if c.Verstat == "" {
		return
	}
	p.say("; caller ", c.Verstat)
	for _, more := range []string{c.Attest, c.StirWhy} {
		if more != "" {
			p.say(", ", more)
		}
	}
}
