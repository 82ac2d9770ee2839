package route

import (
	"slices"
	"strings"
	"testing"
)

func TestMedia_WhoseRTPALegIs(t *testing.T) {
	// Proves for each kind of leg how far it can be taken over: only the media server's has its address before it sends; phones
	// are looked for by preference and kept; a trunk may go on from elsewhere; nobody's address is believed at once or anew.
	m := media()
	for _, row := range []struct {
		name, flags, learning string
		strict, source        bool
	}{
		{"phone", m.FromPhone, "endpoint-learning-heuristic", true, false},
		{"phone behind NAT", m.FromNAT, "endpoint-learning-heuristic", true, true},
		{"trunk", m.FromTrunk, "endpoint-learning-heuristic", false, false},
		{"media server", m.FromMedia, "endpoint-learning-off", true, false},
	} {
		flags := strings.Fields(row.flags)
		if !slices.Contains(flags, row.learning) || strings.Count(row.flags, "endpoint-learning") != 1 {
			t.Errorf("%s: %q, want %s alone", row.name, row.flags, row.learning)
		}
		if slices.Contains(flags, "strict-source") != row.strict || slices.Contains(flags, "SIP-source-address") != row.source {
			t.Errorf("%s: %q, want strict %t, source of SIP %t", row.name, row.flags, row.strict, row.source)
		}
		for _, open := range []string{"media-handover", "asymmetric", "trust-address"} {
			if slices.Contains(flags, open) {
				t.Errorf("%s: %q opens the call by %s", row.name, row.flags, open)
			}
		}
	}
}
