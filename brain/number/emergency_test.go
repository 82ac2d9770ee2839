package number

import (
	"slices"
	"testing"
)

func TestHelp_IsTheNumberOfTheCountry(t *testing.T) {
	// Proves what is called for who asks for help by no number, and that it is an emergency number wherever there is one.
	for country, want := range map[string]string{"": "112", "DE": "112", "US": "911", "CA": "911", "AU": "000", "NZ": "111", "GB": "112", "JP": "110"} {
		if got := Help(country); got != want || !Emergency(country, got) {
			t.Errorf("%s: %q, want %q", country, got, want)
		}
	}
	for dialed, want := range map[string]bool{"+112": true, "+110": true, "+1-1-2": true, "++112": false, "+": false, "+911": false, "+11234567": false, "+4930112": false} {
		if got := Emergency("DE", dialed); got != want {
			t.Errorf("%s: %v", dialed, got)
		}
	}
}

func TestEmergencies(t *testing.T) {
	// Proves that the list has what Emergency says of the country, by some of which everybody knows the numbers.
	for country, want := range map[string][]string{"": {"112", "911"}, "DE": {"110", "112"}, "FR": {"15", "17", "18", "112"}, "JP": {"110", "119"}} {
		if got := Emergencies(country); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", country, got, want)
		}
	}
}
