package stir

import (
	"errors"
	"fmt"
	"strings"
)

// maxNumber is the length of the longest telephone number in digits (E.164; RFC 8226 section 9).
const maxNumber = 15

// maxURI bounds a URI in bytes.
const maxURI = 1024

var errNumber = errors.New("not a telephone number")

// Number brings a telephone number into the form in which numbers are signed (RFC 8224 section 8.3): digits, # and *, no
// plus, no separators. It adds no country code: that is the dial plan's, before.
func Number(text string) (string, error) {
	if len(text) > maxURI {
		return "", errNumber
	}
	var b strings.Builder
	for i, r := range strings.TrimPrefix(text, "+") {
		switch {
		case r >= '0' && r <= '9', r == '#', r == '*':
			b.WriteRune(r)
		case i > 0 && strings.ContainsRune(" -.()", r), r == '(':
		default:
			return "", fmt.Errorf("%q: %w", text, errNumber)
		}
	}
	if b.Len() == 0 || b.Len() > maxNumber {
		return "", fmt.Errorf("%q: %w: 1 to %d digits", text, errNumber, maxNumber)
	}
	return b.String(), nil
}

// Party is one side of a call as it is signed: a number or a URI, never both.
type Party struct {
	TN  string // canonical number
	URI string // sip:user@host, the host in lower case, without parameters
}

func (p Party) String() string { return p.TN + p.URI }

// ParseParty reads a number, a tel URI or a sip URI (RFC 8224 section 8.1). The user part of a sip URI is a number when it
// begins with a plus or user=phone stands there; anything else with a host is a URI.
func ParseParty(text string) (Party, error) {
	if len(text) > maxURI || !visible(text) && !isNumber(text) {
		return Party{}, fmt.Errorf("not a number nor a URI within %d bytes", maxURI)
	}
	scheme, rest, ok := strings.Cut(text, ":")
	switch scheme = strings.ToLower(scheme); {
	case !ok:
		tn, err := Number(text)
		return Party{TN: tn}, err
	case scheme == "tel":
		rest, _, _ = strings.Cut(rest, ";")
		tn, err := Number(rest)
		return Party{TN: tn}, err
	case scheme != "sip" && scheme != "sips":
		return Party{}, fmt.Errorf("%q: scheme is neither tel nor sip", text)
	}
	rest, _, _ = strings.Cut(rest, "?")
	user, host, ok := strings.Cut(rest, "@")
	if !ok || user == "" {
		return Party{}, fmt.Errorf("%q: no user before the host", text)
	}
	host, params, _ := strings.Cut(host, ";")
	number, _, _ := strings.Cut(user, ";")
	number, _, _ = strings.Cut(number, ":")
	if strings.HasPrefix(number, "+") || hasUserPhone(params) {
		tn, err := Number(number)
		return Party{TN: tn}, err
	}
	if number == "" || host == "" || strings.ContainsAny(host, "@,") || strings.ContainsAny(text, "<>\"\\") {
		return Party{}, fmt.Errorf("%q is no sip:user@host", text)
	}
	return Party{URI: "sip:" + number + "@" + strings.ToLower(host)}, nil
}

func isNumber(text string) bool {
	_, err := Number(text)
	return err == nil
}

func hasUserPhone(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		if strings.EqualFold(p, "user=phone") {
			return true
		}
	}
	return false
}

// visible tells whether text is made of visible ASCII alone, and not empty.
func visible(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return text != ""
}
