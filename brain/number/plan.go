package number

import (
	"strconv"
	"strings"

	plan "github.com/nyaruka/phonenumbers"
)

// clean takes the visual separators out of a dialed string: what is left is digits, at most one + in front. It is false
// for anything else. The library would take letters for digits of a keypad and cut what it does not understand.
func clean(s string) (string, bool) {
	if s == "" || len(s) > maxDialed {
		return "", false
	}
	if digitsOnly(strings.TrimPrefix(s, "+")) {
		return s, true
	}
	b := make([]byte, 0, maxDialed)
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '+' && len(b) == 0:
			b = append(b, c)
		case strings.IndexByte(" -./()", c) < 0:
			return "", false
		}
	}
	return string(b), digitsOnly(strings.TrimPrefix(string(b), "+"))
}

// digitsOnly is false for "".
func digitsOnly(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// parse has the library read a clean string. It is false for what has no country code, or more or fewer digits than any
// number.
func parse(s, country string) (*plan.PhoneNumber, bool) {
	if country != "" && !Known(country) {
		return nil, false
	}
	n, err := plan.ParseAndKeepRawInput(s, country)
	if err != nil || n.GetCountryCode() <= 0 || len(digitsOf(n)) > maxE164 {
		return nil, false
	}
	return n, true
}

// digitsOf is the number itself, the leading zeros of Italy kept.
func digitsOf(n *plan.PhoneNumber) string {
	return strconv.Itoa(int(n.GetCountryCode())) + plan.GetNationalSignificantNumber(n)
}

// good tells whether a number can be called: a pattern of the plan knows it, or it has a length of the plan and more
// digits than any extension. Plans change faster than programs. What begins with 0 and is no known number has a prefix
// too many.
func good(n *plan.PhoneNumber) bool {
	if plan.IsValidNumber(n) {
		return true
	}
	return len(digitsOf(n)) >= minE164 && plan.GetNationalSignificantNumber(n)[0] != '0' && plan.IsPossibleNumberWithReason(n) == plan.IS_POSSIBLE
}

// lacksPrefix tells whether s was read as a national number though it has no trunk prefix and numbers of its kind need
// one: it is an extension, or a number of the caller's own town, which only he knows.
func lacksPrefix(n *plan.PhoneNumber, s, country string) bool {
	nsn := plan.GetNationalSignificantNumber(n)
	if n.GetCountryCodeSource() != plan.PhoneNumber_FROM_DEFAULT_COUNTRY || nsn != s {
		return false
	}
	if !plan.IsValidNumber(n) {
		return true
	}
	return !trunkOptional[country] && plan.NormalizeDigitsOnly(plan.Format(n, plan.NATIONAL)) != nsn
}

// short tells whether s is a short code of the country.
func short(s, country string) bool {
	if len(s) > maxShort {
		return false
	}
	n, ok := parse(s, country)
	return ok && plan.IsValidShortNumberForRegion(n, country)
}
