package trunk

import (
	"net/url"
	"strconv"
	"strings"
)

// grantedBy is for how many seconds a registrar has granted a Contact: by the Contact itself, else by Expires, else as asked (RFC 3261 section
// 10.2.4). Registrars behind a border controller list it as they see it: then the one with our user counts, or, when there is none, the shortest
// that lasts at all. Never longer than asked; 0 or less: not at all.
func grantedBy(got *Response, contact string, asked int) int {
	granted, best := asked, noContact
	if n, err := strconv.Atoi(got.Get("Expires")); err == nil {
		granted = n
	}
	usual := granted
	for _, value := range got.All("Contact") {
		for _, one := range splitList(value) {
			c := readContact(one, usual)
			if c.like(contact); c.rank == noContact || c.rank > best {
				continue
			}
			if c.rank < best || granted <= 0 || c.seconds > 0 && c.seconds < granted {
				best, granted = c.rank, c.seconds
			}
		}
	}
	return min(granted, asked)
}

// How much a listed Contact is ours.
const (
	sameURI = iota
	sameUser
	another
	noContact
)

// listed is a Contact in the answer to a REGISTER.
type listed struct {
	uri     string
	timed   bool // it says how long it lasts
	seconds int
	rank    int
}

// readContact reads one Contact, in < > or not (RFC 3261 section 20.10); one that does not say lasts as long as is usual.
func readContact(text string, usual int) listed {
	c := listed{seconds: usual}
	params := ""
	if at := outsideQuotes(text, '<'); at >= 0 {
		uri, rest, closed := strings.Cut(text[at+1:], ">")
		if !closed {
			return c
		}
		c.uri, params = uri, rest
	} else {
		c.uri, params, _ = strings.Cut(text, ";")
	}
	c.uri = strings.TrimSpace(c.uri)
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		n, err := strconv.Atoi(strings.Trim(value, ` "`))
		if err == nil && strings.EqualFold(strings.TrimSpace(name), "expires") {
			c.timed, c.seconds = true, n
		}
	}
	return c
}

// like ranks it by the Contact that we have registered.
func (c *listed) like(contact string) {
	user := userOf(c.uri)
	switch {
	case c.uri == contact:
		c.rank = sameURI
	case user != "" && user == userOf(contact):
		c.rank = sameUser
	case user != "" && c.timed && c.seconds > 0:
		c.rank = another
	default:
		c.rank = noContact
	}
}

// userOf is the user of a SIP URI, "" without one.
func userOf(uri string) string {
	scheme, rest, _ := strings.Cut(uri, ":")
	user, _, ok := strings.Cut(rest, "@")
	if !ok || !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips") {
		return ""
	}
	if plain, err := url.PathUnescape(user); err == nil {
		return plain
	}
	return user
}

// splitList splits a header field at the commas that stand neither in quotes nor in < >.
func splitList(value string) (list []string) {
	quoted, angled, from := false, false, 0
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<' || c == '>':
			angled = c == '<'
		case c == ',' && !angled:
			list, from = append(list, value[from:i]), i+1
		}
	}
	return append(list, value[from:])
}

// outsideQuotes is where a byte stands first outside quotes, -1 for nowhere.
func outsideQuotes(text string, b byte) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == b && !quoted:
			return i
		}
	}
	return -1
}
