package route

import (
	"strings"
	"unicode"

	"github.com/sipio/sipio/brain/api"
)

// maxDisplay bounds a display name in characters, before escaping.
const maxDisplay = 64

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
