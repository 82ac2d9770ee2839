package trunk

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// Proves when a trunk turns: each letter is a second, + an answer, - none, C a call that failed at a trunk without pings,
// a dot nothing (a trunk with dots is not pinged but by hand); u, d and ? are what it is then.
func TestHealth_TurnsWithHysteresis(t *testing.T) {
	for _, c := range []struct{ what, happens, states string }{
		{"the first answer decides", "+", "u"},
		{"the first silence decides", "-", "d"},
		{"one silence is none", "+-+-+", "uuuuu"},
		{"two in a row are", "+--", "uud"},
		{"one answer does not bring it back", "+--+-+", "uudddd"},
		{"two in a row do", "+--++", "uuddu"},
		{"after coming back it takes two again", "--++-+--", "ddduuuud"},
		{"without further pings nobody knows", "--" + strings.Repeat(".", 30), strings.Repeat("d", 31) + "?"},
		{"a failed call, then nobody knows", "C" + strings.Repeat(".", 30), strings.Repeat("d", 30) + "?"},
		{"the last failed call counts", "C........." + "C" + strings.Repeat(".", 30), strings.Repeat("d", 40) + "?"},
	} {
		h := newHealth(0)
		var got strings.Builder
		for i, happens := range c.happens {
			now := int64(i) * 1000
			if h.state == api.TrunkDown {
				h.expire(now, strings.Contains(c.happens, "-") && !strings.Contains(c.happens, "."))
			}
			switch happens {
			case '+':
				h.heard(now, true)
			case '-':
				h.heard(now, false)
			case 'C':
				h.failed(now)
			}
			got.WriteByte(map[string]byte{api.TrunkUp: 'u', api.TrunkDown: 'd', api.TrunkUnknown: '?'}[h.state])
		}
		if got.String() != c.states {
			t.Errorf("%s: %s makes %s, want %s", c.what, c.happens, got.String(), c.states)
		}
	}
}

// Proves which answers show that somebody is there.
func TestAlive_IsEveryAnswerButTwo(t *testing.T) {
	for code, want := range map[int]bool{0: false, 100: false, 200: true, 401: true, 403: true, 404: true, 405: true, 408: false, 480: true, 500: true, 503: false, 603: true} {
		if alive(code) != want {
			t.Errorf("%d: %v", code, !want)
		}
	}
}
