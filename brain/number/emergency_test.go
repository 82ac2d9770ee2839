package number

import (
	"slices"
	"testing"
)

func TestEmergencies(t *testing.T) {
	// Proves that the list has what Emergency says of the country, by some of which everybody knows the numbers.
	for country, want := range map[string][]string{"": {"112", "911"}, "DE": {"110", "112"}, "FR": {"15", "17", "18", "112"}, "JP": {"110", "119"}} {
		if got := Emergencies(country); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", country, got, want)
		}
	}
}
