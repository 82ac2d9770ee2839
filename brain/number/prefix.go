package number

import (
	"strconv"
	"strings"

	plan "github.com/nyaruka/phonenumbers"
)

// The library takes some ten microseconds for a number, most of them for patterns that tell which ranges are in use.
// What begins with a trunk or international prefix needs no pattern: the length alone tells whether it can be a number.
// So these are read here, with the prefixes and lengths of the library's tables, and the library is asked about the rest.

// prefixes is how numbers begin in a country, and how long they are.
type prefixes struct {
	code    string   // country code, 49
	exit    string   // international prefix; "" when it takes a pattern
	trunk   string   // national prefix; "" when there is none
	strip   []string // what the plan takes off the front of a number, the trunk prefix among it
	simple  bool     // strip is all that is taken off, and nothing is put in its place
	lengths uint64   // bit n: national numbers of n digits are possible
}

var (
	byCountry = map[string]*prefixes{}
	byCode    = map[string]*prefixes{} // of the country that a code is mainly for
)

func init() {
	tables, err := plan.MetadataCollection()
	if err != nil {
		panic(err) // the tables are in the program: a test would have found out
	}
	for _, m := range tables.GetMetadata() {
		p := &prefixes{code: strconv.Itoa(int(m.GetCountryCode())), trunk: m.GetNationalPrefix()}
		if exit := m.GetInternationalPrefix(); digitsOnly(exit) {
			p.exit = exit
		}
		p.simple = m.GetNationalPrefixTransformRule() == ""
		if strip := m.GetNationalPrefixForParsing(); strip != "" {
			p.strip = strings.Split(strip, "|")
		}
		for _, s := range p.strip {
			p.simple = p.simple && digitsOnly(s)
		}
		for _, n := range m.GetGeneralDesc().GetPossibleLength() {
			p.lengths |= 1 << min(max(n, 0), 63)
		}
		byCountry[m.GetId()] = p
		if plan.GetRegionCodeForCountryCode(int(m.GetCountryCode())) == m.GetId() {
			byCode[p.code] = p
		}
		for _, f := range m.GetNumberFormat() {
			if f.GetNationalPrefixOptionalWhenFormatting() {
				trunkOptional[m.GetId()] = true
			}
		}
	}
}

// trunkOptional are the countries where the trunk prefix is left out as often as not, though numbers are written with
// it: their tables say so of some of their numbers.
var trunkOptional = map[string]bool{}

// byPrefix reads a clean string that begins with a prefix, "" when that takes more than prefixes and lengths: short
// codes, and what begins with one prefix as well as with another.
func byPrefix(country, s string) string {
	p := byCountry[country]
	if p == nil || p.exit == "" || len(s) <= maxShort {
		return ""
	}
	common := exit(s)
	switch {
	case strings.HasPrefix(s, p.exit):
		if common == "" || common == s[len(p.exit):] {
			return abroad(s[len(p.exit):])
		}
	case common == "" && p.simple && p.trunk != "" && strings.HasPrefix(s, p.trunk):
		return p.number(s[len(p.trunk):])
	}
	return ""
}

// abroad reads a number with its country code in front.
func abroad(s string) string {
	for n := 1; n <= 3 && n < len(s); n++ {
		if p := byCode[s[:n]]; p != nil {
			if !p.simple {
				return ""
			}
			return p.number(s[n:])
		}
	}
	return ""
}

// needsTrunk tells whether numbers of the country are not dialed without their trunk prefix.
func (p *prefixes) needsTrunk(country string) bool {
	return strings.HasPrefix(p.trunk, "0") && !trunkOptional[country]
}

// own reads a number that begins with the country's own code.
func (p *prefixes) own(s string) string {
	rest, ok := strings.CutPrefix(s, p.code)
	if !ok || !p.simple {
		return ""
	}
	return p.number(rest)
}

// number puts the country code before a national number, "" when it has no length of the plan, fewer digits than tell it
// from an extension, or another prefix.
func (p *prefixes) number(national string) string {
	digits := len(p.code) + len(national)
	if national == "" || national[0] == '0' || digits < minE164 || digits > maxE164 || p.lengths>>len(national)&1 == 0 {
		return ""
	}
	for _, s := range p.strip {
		if strings.HasPrefix(national, s) {
			return ""
		}
	}
	return p.code + national
}

// Readings adds to dst what a string that a carrier sends may mean in a country by its prefixes alone, the likely
// first: for finding it among numbers that are known to exist. None of them need be a number.
func Readings(dst []string, country, s string) []string {
	s, ok := clean(s)
	p := byCountry[country]
	switch {
	case !ok, p == nil:
		return dst
	case s[0] == '+':
		return append(dst, s[1:])
	}
	common := exit(s)
	if common != "" {
		dst = append(dst, common)
	}
	if p.exit != "" && strings.HasPrefix(s, p.exit) && common != s[len(p.exit):] {
		dst = append(dst, s[len(p.exit):])
	}
	if p.trunk != "" && strings.HasPrefix(s, p.trunk) {
		dst = append(dst, p.code+s[len(p.trunk):])
	}
	return append(dst, p.code+s)
}
