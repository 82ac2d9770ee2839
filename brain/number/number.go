// Package number reads and writes telephone numbers by the dial plan of a country. It is the one door to the library
// that knows the plans (a port of libphonenumber, whose tables are in the program: nothing is loaded or fetched later).
//
// A number is E.164 without + here, as the configuration stores it. A country is ISO 3166 alpha-2 in capitals; "" is an
// account that names none, for which only international forms are numbers. Functions are pure, may be called at once
// from anywhere, and take any bytes; what is longer than maxDialed is refused unread.
package number

import (
	"fmt"
	"strings"

	plan "github.com/nyaruka/phonenumbers"
)

// Bounds. E.164 allows 15 digits; a prefix of a foreign country and visual separators come on top.
const (
	maxDialed = 64
	maxE164   = 15
	minE164   = 8 // digits that are a number by their length alone, when no pattern of the plan knows them
)

// Reason says why a dialed string is no number, "" when it is one. It is for operators and ends a sentence that names
// what was dialed.
type Reason string

const (
	Unreadable Reason = "is not made of digits"
	Emergent   Reason = "is an emergency number"
	ShortCode  Reason = "is a short code of the country"
	Prefixless Reason = "lacks an area code or the country's trunk prefix" // extensions, numbers of the same town
	Impossible Reason = "fits no dial plan"
	NoCountry  Reason = "is in national form, and the account names no country"
)

// Known tells whether there is a dial plan for a country.
func Known(country string) bool { return plan.GetSupportedRegions()[country] }

// ValidE164 tells whether a number has a country code that exists and a length its plan allows. Whether the number is
// in service nobody can tell; new ranges pass.
func ValidE164(e164 string) bool {
	if !digitsOnly(e164) || len(e164) > maxE164 || e164[0] == '0' {
		return false
	}
	n, ok := parse("+"+e164, "")
	return ok && good(n)
}

// Emergency tells whether a dialed string calls for help in a country: the whole string, since 1125 may be an
// extension. Phones that write every number with + write this one so too; no number of E.164 is as short. Without a country 112 and
// 911 do, which every mobile phone knows (3GPP TS 22.101 section 10.1.1).
func Emergency(country, dialed string) bool {
	s, ok := clean(dialed)
	if rest, plus := strings.CutPrefix(s, "+"); ok && plus {
		if s = rest; len(s) > maxListed {
			return false
		}
	}
	if !ok || len(s) > maxShort {
		return false
	}
	if country == "" {
		return s == "112" || s == "911"
	}
	return plan.IsEmergencyNumber(s, country)
}

// maxListed bounds the emergency numbers that Emergencies finds, in digits.
const maxListed = 4

// Emergencies lists the emergency numbers of a country, as they are dialed. It takes some milliseconds: whoever asks often keeps them.
func Emergencies(country string) (list []string) {
	for digits, end := 2, 100; digits <= maxListed; digits, end = digits+1, end*10 {
		for n := range end {
			if s := fmt.Sprintf("%0*d", digits, n); Emergency(country, s) {
				list = append(list, s)
			}
		}
	}
	return list
}

// Help is the emergency number of a country for whoever asks for help by no number (urn:service:sos, RFC 5031): the one that people
// know there, else 112, else the first.
func Help(country string) string {
	best := []string{"112", "911"}
	switch p := byCountry[country]; {
	case country == "AU":
		best = []string{"000", "112"} // 112 is for mobiles
	case country == "NZ":
		best = []string{"111", "112"}
	case p != nil && p.code == "1":
		best = []string{"911", "112"}
	}
	for _, s := range best {
		if Emergency(country, s) {
			return s
		}
	}
	if list := Emergencies(country); len(list) > 0 {
		return list[0]
	}
	return ""
}

// minReceived is where a string of digits alone may begin to be a number: shorter ones are extensions and short codes,
// and not worth asking the plan.
const minReceived = 5

// maxShort bounds short codes and emergency numbers in digits; the longest of the world have 8.
const maxShort = 8

// Normalize reads what somebody in a country dials: international with +, the country's own prefix, 00 or 011; national
// with the trunk prefix, and without where people leave it out. Visual separators do not count. It returns the number,
// or why there is none.
func Normalize(country, dialed string) (e164 string, why Reason) {
	s, ok := clean(dialed)
	switch {
	case !ok:
		return "", Unreadable
	case s[0] == '+':
		return international(s[1:])
	case Emergency(country, s):
		return "", Emergent
	case country == "":
		if rest := exit(s); rest != "" {
			return international(rest)
		}
		return "", NoCountry
	}
	if e164 = byPrefix(country, s); e164 != "" {
		return e164, ""
	}
	return byPlan(country, s)
}

// byPlan has the library read a clean string without a +.
func byPlan(country, s string) (e164 string, why Reason) {
	n, ok := parse(s, country)
	if ok && plan.IsValidNumber(n) && !lacksPrefix(n, s, country) {
		return digitsOf(n), ""
	}
	if rest := exit(s); rest != "" { // not the country's own, but what half of the world dials
		if e164 = abroadByPlan(rest); e164 != "" {
			return e164, ""
		}
	}
	switch {
	case short(s, country):
		return "", ShortCode
	case !ok:
		return "", Impossible
	case lacksPrefix(n, s, country):
		if len(s) < minE164 || plan.IsValidNumber(n) {
			return "", Prefixless
		}
	case good(n):
		return digitsOf(n), ""
	}
	return "", Impossible
}

// Received reads a number as a carrier sends it, which is less strict than what people dial: a national number may lack
// its trunk prefix, and an international one its +. Of these two the national reading comes first where people dial
// that way too (US, ES), else the international one. It returns "" for what neither is: short codes, extensions of a
// PBX, names, nonsense. What begins with + is taken as it is when it has the form of E.164. Without a country all else
// is "".
func Received(country, s string) string {
	if len(s) > minE164 && s[0] == '+' && s[1] != '0' && len(s) <= maxE164+1 && digitsOnly(s[1:]) {
		return s[1:]
	}
	s, ok := clean(s)
	switch {
	case !ok:
		return ""
	case s[0] == '+':
		e164, _ := international(s[1:])
		return e164
	case country == "", len(s) < minReceived:
		return ""
	}
	if p := byCountry[country]; p != nil && p.needsTrunk(country) && s[0] != '0' {
		if e164 := p.own(s); e164 != "" {
			return e164
		}
		if e164 := abroadByPlan(s); e164 != "" {
			return e164
		}
	}
	if e164, _ := Normalize(country, s); e164 != "" {
		return e164
	}
	if e164 := abroadByPlan(s); e164 != "" {
		return e164
	}
	if n, ok := parse(s, country); ok && plan.IsValidNumber(n) {
		return digitsOf(n)
	}
	return ""
}

// Display writes a number as people in a country do: in national form when it has the country's own code and what they
// would dial then is that number (of mobiles in Argentina it is not), else in international form with +. What is no
// number stands as it is.
func Display(country, e164 string) string {
	if !ValidE164(e164) {
		return e164
	}
	n, _ := parse("+"+e164, "")
	if Known(country) && plan.GetCountryCodeForRegion(country) == int(n.GetCountryCode()) {
		national := plan.Format(n, plan.NATIONAL)
		if meant, _ := Normalize(country, national); meant == e164 {
			return national
		}
	}
	return plan.Format(n, plan.INTERNATIONAL)
}

// international reads what follows the +.
func international(s string) (string, Reason) {
	if n, ok := parse("+"+s, ""); ok && good(n) {
		return digitsOf(n), ""
	}
	return "", Impossible
}

// abroadByPlan reads digits that begin with a country code, "" when a pattern of the plan does not know the number.
func abroadByPlan(s string) string {
	if n, ok := parse("+"+s, ""); ok && plan.IsValidNumber(n) {
		return digitsOf(n)
	}
	return ""
}

// exit is what follows one of the two exit codes that most of the world knows, "" when neither is there.
func exit(s string) string {
	if rest, ok := strings.CutPrefix(s, "00"); ok {
		return rest
	}
	rest, ok := strings.CutPrefix(s, "011")
	if !ok {
		return ""
	}
	return rest
}
