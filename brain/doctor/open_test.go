package doctor

import (
	"net/netip"
	"strings"
	"testing"
)

func TestExamine_JudgesWhatIsOpen(t *testing.T) {
	// Proves what is well and what is not of settings and sockets that open a machine, a row for each verdict; a finding that is not OK says what to do.
	nets := func(list ...string) Facts {
		n := Nets{What: "x", Setting: "X", Widest: [2]int{8, 16}}
		for _, p := range list {
			n.List = append(n.List, netip.MustParsePrefix(p))
		}
		return Facts{Nets: []Nets{n}}
	}
	for _, c := range []struct {
		name  string
		facts Facts
		level Level
		says  string
	}{
		{"networks", nets("10.0.0.0/8", "2001::/16"), OK, "no wider"},
		{"half of IPv4", nets("128.0.0.0/1"), Fail, "128.0.0.0/1 is wider than a /8"},
		{"all of IPv6", nets("10.0.0.0/8", "::/0"), Fail, "::/0 is wider"},
		{"ports guarded", Facts{Ports: &Ports{[]uint16{5060, 5061}, []uint16{5061, 5060, 8443}}}, OK, "all"},
		{"a port that is not guarded", Facts{Ports: &Ports{[]uint16{5060, 5070}, []uint16{5060}}}, Warn, "listens on 5070 too"},
		{"heuristic learning", Facts{Learning: &Learning{"/etc/x", "heuristic"}}, OK, "heuristic"},
		{"other learning", Facts{Learning: &Learning{"/etc/x", ""}}, Warn, `"" in /etc/x`},
		{"a daemon that is mended", Facts{Mends: []Mend{{"rtpengine", "x.so", true}}}, OK, "x.so is loaded"},
		{"a daemon that is not", Facts{Mends: []Mend{{"rtpengine", "x.so", false}}}, Fail, "runs without x.so"},
		{"no foreign socket", Facts{Scanned: true}, OK, "none"},
		{"a foreign socket", Facts{Scanned: true, Sockets: []Socket{{"udp", netip.MustParseAddrPort("0.0.0.0:5090")}}}, Warn, "udp 0.0.0.0:5090"},
	} {
		found := Examine(now, c.facts)
		if len(found) != 1 || found[0].Level != c.level || !strings.Contains(found[0].Text, c.says) || (found[0].Cure == "") != (c.level == OK) {
			t.Errorf("%s: %+v, want %s with %q", c.name, found, c.level, c.says)
		}
	}
}
