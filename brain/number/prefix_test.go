package number

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	plan "github.com/nyaruka/phonenumbers"
)

// Proves over every country that what is read by its prefix is what the whole plan makes of it: for each example number
// and 15 random ones, with each exit code, each trunk prefix, and the country's own code bare.
func TestByPrefix_AgreesWithThePlan(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	taken := 0
	for country, p := range byCountry {
		if country == "001" {
			continue
		}
		var nationals []string
		for kind := plan.FIXED_LINE; kind <= plan.VOICEMAIL; kind++ {
			if n := plan.GetExampleNumberForType(country, kind); n != nil {
				nationals = append(nationals, plan.GetNationalSignificantNumber(n))
			}
		}
		for range 15 {
			nationals = append(nationals, randomDigits(r, 3+r.IntN(11)))
		}
		for _, national := range nationals {
			for _, s := range []string{p.exit + p.code + national, p.trunk + national, p.trunk + p.trunk + national, p.exit + "49" + national, p.exit + "39" + national, p.exit + "7" + national,
				p.exit + p.code + p.trunk + national} {
				if Emergency(country, s) {
					continue
				}
				if got := byPrefix(country, s); got != "" {
					taken++
					if want, why := byPlan(country, s); got != want {
						t.Errorf("%s in %s: %s by its prefix, %q %s by the plan", s, country, got, want, why)
					}
				}
			}
		}
	}
	if taken < 5_000 {
		t.Errorf("only %d were read by their prefix", taken)
	}
}

func randomDigits(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '0' + byte(r.IntN(10))
	}
	return string(b)
}

// Proves that what a carrier may send for a number that exists is among the readings, in every country whose prefixes
// are plain.
func TestReadings_HoldTheNumber(t *testing.T) {
	for country, p := range byCountry {
		example := plan.GetExampleNumber(country)
		if example == nil || country == "001" {
			continue
		}
		e164 := digitsOf(example)
		national := plan.GetNationalSignificantNumber(example)
		for _, s := range []string{"+" + e164, "00" + e164, "011" + e164, p.exit + e164, p.trunk + national, national} {
			if p.exit == "" && s == e164 {
				continue // that is the number itself
			}
			if got := Readings(nil, country, s); !slices.Contains(got, e164) || len(got) > 4 {
				t.Errorf("%s in %s: %v, want %s", s, country, got, e164)
			}
		}
	}
	for _, s := range []string{"", "x", strings.Repeat("1", maxDialed+1)} {
		if got := Readings(nil, "DE", s); got != nil {
			t.Errorf("%.20q: %v", s, got)
		}
	}
	if got := Readings(nil, "", "030"); got != nil {
		t.Errorf("without a country: %v", got)
	}
}
