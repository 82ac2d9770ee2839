package doctor

import (
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestExamine_JudgesEachFact(t *testing.T) {
	// Proves what is well and what is not for each kind of fact, a row for each verdict, the bounds among them; a finding
	// that is not OK says what to do.
	addrs := func(list ...string) (out []netip.Addr) {
		for _, a := range list {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	listener := func(bound ...string) Facts {
		return Facts{Listeners: []Listener{{"x", "x-listen", 8021, addrs(bound...)}}}
	}
	file := func(mode fs.FileMode, owner uint32, readers brain.KeyReaders) Facts {
		return Facts{Files: []File{{"x", brain.KeyFile{Path: "/etc/x", Mode: mode, Owner: owner}, 1000, readers}}}
	}
	secret := func(value string) Facts { return Facts{Secrets: []Secret{{"x", "/etc/x", value}}} }
	cert := func(left time.Duration) Facts {
		return Facts{Certs: []Cert{{"x", "/etc/x", []End{{"CN=a", now.Add(left)}}}}}
	}
	authorities := func(left ...time.Duration) Facts {
		c := Cert{What: "x", Path: "/etc/x"}
		for i, l := range left {
			c.Ends = append(c.Ends, End{fmt.Sprintf("CN=%d", i), now.Add(l)})
		}
		return Facts{Certs: []Cert{c}}
	}
	bans := func(b Bans) Facts { return Facts{Bans: &b} }
	clock := func(c Clock) Facts { return Facts{Clock: &c} }
	const day = 24 * time.Hour
	for _, c := range []struct {
		name  string
		facts Facts
		level Level
		says  string
	}{
		{"loopback", listener("127.0.0.1", "::1", "127.0.0.9", "::ffff:127.0.0.1"), OK, "loopback alone"},
		{"everywhere", listener("0.0.0.0"), Fail, "open on 0.0.0.0"},
		{"everywhere, IPv6", listener("::"), Fail, "open on ::"},
		{"loopback and an address", listener("127.0.0.1", "192.0.2.1"), Fail, "open on 192.0.2.1"},
		{"nobody", listener(), Warn, "nobody listens"},
		{"key of one", file(0o600, 1000, brain.OwnerReads), OK, "0600"},
		{"key of a group", file(0o640, 0, brain.GroupReads), OK, "0640"},
		{"key of a person, read by a group", file(0o640, 0, brain.OwnerReads), Fail, "open to its group"},
		{"key that a group writes", file(0o660, 0, brain.GroupReads), Fail, "by its group"},
		{"key of everybody", file(0o644, 0, brain.GroupReads), Fail, "every user"},
		{"key of a stranger", file(0o640, 1001, brain.GroupReads), Fail, "user 1001"},
		{"socket of a group", file(fs.ModeSocket|0o660, 1001, brain.GroupReads), OK, "0660"},
		{"socket of everybody", file(fs.ModeSocket|0o666, 0, brain.GroupReads), Fail, "every user"},
		{"FreeSWITCH's default", secret("ClueCon"), Fail, "everybody knows"},
		{"the sample's", secret("change-me-change-me-change-me-0000"), Fail, "everybody knows"},
		{"short", secret("k3j5h2k3j5h2k3j"), Fail, "15 characters"},
		{"monotonous", secret(strings.Repeat("ab", 20)), Fail, "2 different"},
		{"empty", secret(""), Fail, "0 characters"},
		{"middling", secret("k3j5h2w9q8e7r6t1"), Warn, "short"},
		{"good", secret("k3j5h2w9q8e7r6t1k3j5h2w9q8e7r6t1"), OK, "long"},
		{"ended", cert(0), Fail, "ended on 2026-11-22"},
		{"ends soon", cert(30*day - time.Second), Warn, "in 29 days"},
		{"good for long", cert(30 * day), OK, "2026-12-22"},
		{"no certificate", authorities(), Fail, "holds no certificate"},
		{"authorities", authorities(50*day, 40*day), OK, "(CN=1, 1 of 2) is good until 2027-01-01"},
		{"an authority that ends soon", authorities(50*day, 9*day), Warn, "(CN=1, 1 of 2) ends on 2026-12-01, in 9 days"},
		{"an authority that ended", authorities(50*day, 0), Warn, "(CN=1, 1 of 2) ended on 2026-11-22"},
		{"authorities that ended", authorities(0, -day), Fail, "ended on 2026-11-21"},
		{"no table wanted", bans(Bans{}), Warn, "none"},
		{"no table there", bans(Bans{Table: "sipio"}), Fail, "no table inet sipio"},
		{"table of an agent that may not", bans(Bans{Table: "sipio", Present: true, Agent: true}), Fail, "CAP_NET_ADMIN"},
		{"table in a kernel that counts no connections", bans(Bans{Table: "sipio", Present: true, Agent: true, Able: true, Uncounted: "no such file"}), Warn, "no such file: connections"},
		{"table", bans(Bans{Table: "sipio", Present: true, Agent: true, Able: true}), OK, "inet sipio"},
		{"clock by itself", clock(Clock{}), Warn, "synchronized"},
		{"clock", clock(Clock{Synchronized: true, Brain: "b", Ahead: -4 * time.Second}), OK, "synchronized"},
		{"clock off", clock(Clock{Synchronized: true, Brain: "b", Ahead: -5 * time.Second}), Warn, "5s off"},
		{"clock lost", clock(Clock{Synchronized: true, Brain: "b", Ahead: time.Minute}), Fail, "1m0s off"},
		{"brain", Facts{Asked: []Asked{{What: "x", URL: "http://b", KeyFile: "/k"}}}, OK, "takes the key in /k"},
		{"no brain", Facts{Asked: []Asked{{What: "x", URL: "http://b", Error: "refused"}}}, Fail, "refused"},
		{"unread", Facts{Unread: []Unread{{"x", "permission denied"}}}, Warn, "permission denied"},
	} {
		found := Examine(now, c.facts)
		if len(found) != 1 || found[0].Level != c.level || !strings.Contains(found[0].Text, c.says) || (found[0].Cure == "") != (c.level == OK) {
			t.Errorf("%s: %+v, want %s with %q", c.name, found, c.level, c.says)
		}
		if len(found) == 1 && Worst(found) != c.level {
			t.Errorf("%s: worst is %s", c.name, Worst(found))
		}
	}
}

func TestExamine_NoFindingShowsASecret(t *testing.T) {
	// Proves that the value of a secret, good or bad, is in no finding.
	for _, value := range []string{"Plan7ed", "Plan7ed-Plan7ed-Plan7ed", "Plan7ed-k3j5h2w9q8e7r6t1k3j5h2w9q8e7r6t1", "change-me-Plan7ed"} {
		for _, f := range Examine(now, Facts{Secrets: []Secret{{"x", "/etc/x", value}}}) {
			if strings.Contains(f.Text+f.Cure+f.What, "Plan7ed") {
				t.Errorf("%+v", f)
			}
		}
	}
}

func TestExamine_KnowsVersionsWithHoles(t *testing.T) {
	// Proves which versions have which hole: by series, since fixes were carried back, and by Debian's packages, as the
	// programs write them; what is no version is told.
	for _, c := range []struct {
		program, text string
		holes         []string
	}{
		{"kamailio", "kamailio 5.6.3 (x86_64/linux)", nil},
		{"kamailio", "version: kamailio 5.3.9 (x86_64/linux)", []string{"CVE-2020-28361"}},
		{"kamailio", "kamailio 5.4.0 (x86_64/linux)", nil},
		{"kamailio", "kamailio 5.1.1 (x86_64/linux)", []string{"CVE-2018-8828", "CVE-2020-28361"}},
		{"rtpengine", "Version: 10.5.3.5-1+deb12u1", []string{"CVE-2023-51275"}},
		{"rtpengine", "Version: 10.5.3.5-1+deb12u2", []string{"CVE-2023-51275"}},
		{"rtpengine", "Version: 10.5.3.5-1", []string{"CVE-2025-53399", "CVE-2023-51275"}},
		{"rtpengine", "Version: 10.5.6.2-0~mr10.5.6.2", []string{"CVE-2025-53399"}},
		{"rtpengine", "Version: 10.5.9.1-0~mr10.5.9.1", nil},
		{"rtpengine", "Version: 11.3.1.20", []string{"CVE-2025-53399", "CVE-2023-51275"}},
		{"rtpengine", "Version: 11.5.1.40", []string{"CVE-2025-53399", "CVE-2025-53399 (SRTP)"}},
		{"rtpengine", "Version: 11.5.1.41", []string{"CVE-2025-53399 (SRTP)"}},
		{"rtpengine", "Version: 11.5.1.50", nil},
		{"rtpengine", "Version: 12.4.1.9", []string{"CVE-2025-53399", "CVE-2025-53399 (SRTP)"}},
		{"rtpengine", "Version: 12.5.1.31-1", []string{"CVE-2025-53399", "CVE-2025-53399 (SRTP)"}},
		{"rtpengine", "Version: 12.5.1.35", []string{"CVE-2025-53399 (SRTP)"}},
		{"rtpengine", "Version: 12.5.1.47", []string{"CVE-2025-53399 (SRTP)"}},
		{"rtpengine", "Version: 12.5.1.48", nil},
		{"rtpengine", "Version: 13.0.1.9", []string{"CVE-2025-53399", "CVE-2025-53399 (SRTP)"}},
		{"rtpengine", "Version: 13.3.1.6", []string{"CVE-2025-53399 (SRTP)"}},
		{"rtpengine", "mr13.4.1.1", nil},
		{"rtpengine", "Version: 13.5.1.0", nil},
		{"freeswitch", "FreeSWITCH Version 1.10.12-release", nil},
		{"freeswitch", "1.10.6-release-18-1ff9d0a60e~64bit", []string{"CVE-2021-41145", "CVE-2023-51443"}},
		{"freeswitch", "1.11.1", nil},
	} {
		var holes []string
		for _, f := range Examine(now, Facts{Versions: []Version{{c.program, "here", c.text}}}) {
			if f.Level == OK {
				continue
			}
			_, id, _ := strings.Cut(f.Text, " has ")
			id, _, _ = strings.Cut(id, ":")
			holes = append(holes, id)
		}
		if !reflect.DeepEqual(holes, c.holes) {
			t.Errorf("%s %q: %q, want %q", c.program, c.text, holes, c.holes)
		}
	}
	for _, text := range []string{"", "unknown", "x-1.2", "1", "u"} {
		if found := Examine(now, Facts{Versions: []Version{{"kamailio", "here", text}}}); len(found) != 1 || found[0].Level != Warn {
			t.Errorf("%q: %+v", text, found)
		}
	}
	for _, h := range Holes {
		if h.Source == "" || len(h.Fixed) == 0 || h.Level == OK || h.What == "" {
			t.Errorf("%+v", h)
		}
	}
}
