package number

import "testing"

// Proves which country a number belongs to where several share a country code, also in ranges that no pattern knows, and that
// satellites and networks of no country are International.
func TestRegion_OfSharedCodesAndOfNoCountry(t *testing.T) {
	for e164, want := range map[string]string{
		"4930100": "DE", "49405551234": "DE", "33142685300": "FR", "442079460000": "GB", "447400123456": "GB", "447911123456": "GG",
		"12125551234": "US", "14165551234": "CA", "18765551234": "JM", "18760001234": "JM", "18095551234": "DO", "12645551234": "AI", "19991234567": "US",
		"441534123456": "JE", "79161234567": "RU", "77011234567": "KZ", "390612345678": "IT", "390669812345": "VA",
		"870776000000": International, "881612345678": International, "882161234567": International, "883510001234567": International, "80012345678": International,
		"9991234567": "", "": "",
	} {
		if got := Region(e164); got != want {
			t.Errorf("%s: %q, want %q", e164, got, want)
		}
	}
}
