package number

import (
	"strconv"

	plan "github.com/nyaruka/phonenumbers"
)

// International is the country of numbers that are of none: satellites (+870, +881), networks that span the world (+882, +883),
// numbers free of charge everywhere (+800). It is the library's name for them (UN M.49).
const International = "001"

// Region is the country that a valid number belongs to. Several share a country code, +1 or +44: there the patterns of the plan
// decide, and what none of them knows is of the main country. It is "" when no country has the code.
func Region(e164 string) string {
	for n := 1; n <= 3 && n < len(e164); n++ {
		code, err := strconv.Atoi(e164[:n])
		if err != nil || byCode[e164[:n]] == nil {
			continue
		}
		main := plan.GetRegionCodeForCountryCode(code)
		if !shared(code) {
			return main
		}
		if number, ok := parse("+"+e164, ""); ok {
			if region := plan.GetRegionCodeForNumber(number); region != "" {
				return region
			}
		}
		return main
	}
	return ""
}

// shared tells whether several countries have a country code.
func shared(code int) bool { return len(plan.GetRegionCodesForCountryCode(code)) > 1 }
