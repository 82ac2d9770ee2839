package route

import (
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// How often a call has been sent on is what its Diversions say, counters included, or its History-Info when that is more: the edge has
// counted both together, and the first entry of History-Info is no diversion.
func TestDiversions_CountersAreBelieved(t *testing.T) {
	for _, c := range []struct {
		diversion     string
		counted, want int
	}{
		{"", 0, 0},
		{"", 3, 2},
		{"", 1, 0},
		{"<sip:1@a.test>, <sip:2@a.test>", 5, 2},
		{"<sip:1@a.test>", 5, 3},
		{"<sip:1@a.test>", 1, 1},
		{"<sip:1@a.test>;reason=no-answer;counter=4", 3, 4},
		{"<sip:1@a.test>,<sip:2@a.test>;Counter = 3;privacy=off, <sip:3@a.test>;counter=1", 3, 5},
		{"<sip:1@a.test>;counter=-7", 1, 1},
		{"<sip:1@a.test>;counter=100", 1, 1},
		{"<sip:1@a.test>;counter=x;counter", 1, 1},
	} {
		p := plan{caller: Caller{Trunk: &brain.SIPTrunk{}}, req: &api.RouteRequest{Diversion: c.diversion, Diverted: c.counted}}
		if got := p.diversions(); got != c.want {
			t.Errorf("%q, counted %d: %d, want %d", c.diversion, c.counted, got, c.want)
		}
		if p.caller.Trunk = nil; p.diversions() != 0 {
			t.Errorf("%q is believed of a phone", c.diversion)
		}
	}
}

// A display name is the same whether the edge has taken its quotes off or not.
func TestUnquote_WithAndWithoutQuotes(t *testing.T) {
	for name, want := range map[string]string{
		``: ``, `"`: `"`, `""`: ``, `Bob`: `Bob`, `"Bob"`: `Bob`, `a \"b\" \\`: `a "b" \`, `"a \"b\" \\"`: `a "b" \`, `trailing\`: `trailing\`, `"x\"`: `x\`,
	} {
		if got := unquote(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
